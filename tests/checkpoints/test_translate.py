"""Names of three implementations: transformers as the oracle of its own, the official code's by its rules."""

from __future__ import annotations

import dataclasses
import doctest

import numpy as np
import pytest
import torch
from transformers import LevitConfig, LevitForImageClassification, LevitForImageClassificationWithTeacher

from levit_ref.checkpoints import (
    FORMATS,
    About,
    Checkpoint,
    detect_format,
    from_format,
    load_weights,
    read_tensors,
    save_checkpoint,
    to_format,
    write_file,
)
from levit_ref.checkpoints.formats import official, timm, transformers
from levit_ref.nn import LeViT, LeViTConfig, StemConv
from levit_ref.preprocessing import Preprocessing


def small_config(**changes) -> LeViTConfig:
    """Three stages of different depths, as small as transformers can build."""
    stem = tuple(StemConv(c) for c in (4, 8, 16, 32))
    config = LeViTConfig("small", (32, 48, 64), 8, (2, 3, 4), (2, 1, 3), stem, image_size=64)
    return dataclasses.replace(config, **changes)


def random_state(config, seed=0):
    """A state of our model in which no two arrays are equal."""
    rng = np.random.default_rng(seed)
    state = LeViT(config, num_classes=5, image_size=64).state_dict()
    return {
        name: np.array(seed + i) if array.dtype == np.int64 else rng.random(array.shape, np.float32)
        for i, (name, array) in enumerate(state.items())
    }


def official_names(config: LeViTConfig) -> list[str]:
    """The keys of the official code, from its own construction: one list of branches, counted through."""
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    def pair(prefix):
        return [f"{prefix}.c.weight", *(f"{prefix}.bn.{leaf}" for leaf in norm)]

    def mlp(n):
        return [*pair(f"blocks.{n}.m.0"), *pair(f"blocks.{n}.m.2")]

    names = [name for n in range(0, 2 * len(config.stem), 2) for name in pair(f"patch_embed.{n}")]
    n = 0
    for stage, depth in enumerate(config.depths):
        for _ in range(depth):
            names += [f"blocks.{n}.m.attention_biases", f"blocks.{n}.m.attention_bias_idxs"]
            names += [*pair(f"blocks.{n}.m.qkv"), *pair(f"blocks.{n}.m.proj.1"), *mlp(n + 1)]
            n += 2
        if stage < len(config.depths) - 1:
            names += [f"blocks.{n}.attention_biases", f"blocks.{n}.attention_bias_idxs"]
            names += [*pair(f"blocks.{n}.kv"), *pair(f"blocks.{n}.q.1"), *pair(f"blocks.{n}.proj.1"), *mlp(n + 1)]
            n += 2
    for head in ["head", "head_dist"] if config.distillation else ["head"]:
        names += [*(f"{head}.bn.{leaf}" for leaf in norm), f"{head}.l.weight", f"{head}.l.bias"]
    return names


def assert_equal_states(a, b):
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("distillation", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_there_and_back(format, distillation):
    config = small_config(distillation=distillation)
    state = random_state(config)
    theirs = to_format(state, config, format)
    assert detect_format(theirs) == format
    assert_equal_states(from_format(theirs, config), state)


@pytest.mark.parametrize("distillation", [True, False])
def test_official_names(distillation):
    config = small_config(distillation=distillation)
    assert set(to_format(random_state(config), config, "official")) == set(official_names(config))


def test_official_names_of_128s_that_are_known_by_heart():
    config = LeViTConfig(
        "levit_128s", (128, 256, 384), 16, (4, 6, 8), (2, 3, 4), tuple(StemConv(c) for c in (16, 32, 64, 128))
    )
    model = LeViT(config, num_classes=1000, image_size=224)
    theirs = to_format(model.state_dict(), config, "official")
    assert len(theirs) == 336 and len(model.state_dict()) == 325
    shapes = {
        "patch_embed.0.c.weight": (16, 3, 3, 3),
        "blocks.0.m.qkv.bn.running_mean": (256,),
        "blocks.0.m.attention_bias_idxs": (196, 196),
        "blocks.4.kv.c.weight": (640, 128),
        "blocks.4.attention_bias_idxs": (49, 196),
        "blocks.5.m.2.bn.weight": (256,),
        "blocks.12.proj.1.c.weight": (384, 1024),
        "head_dist.l.weight": (1000, 384),
    }
    assert {name: theirs[name].shape for name in shapes} == shapes


def transformers_model(config, kind=LevitForImageClassificationWithTeacher):
    """A transformers model of the same shape, every array random, in eval mode."""
    torch.manual_seed(0)
    model = kind(
        LevitConfig(
            image_size=64,
            hidden_sizes=list(config.embed_dims),
            num_attention_heads=list(config.num_heads),
            depths=list(config.depths),
            key_dim=[config.key_dim] * 3,
            num_labels=5,
        )
    )
    with torch.no_grad():
        for array in model.state_dict().values():
            if array.is_floating_point():
                array.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("kind", [LevitForImageClassificationWithTeacher, LevitForImageClassification])
def test_transformers_reads_and_writes_our_names(kind):
    config = small_config(distillation=kind is LevitForImageClassificationWithTeacher)
    model = transformers_model(config, kind)
    theirs = {name: array.numpy() for name, array in model.state_dict().items()}
    ours = LeViT(config, num_classes=5, image_size=64, dtype=np.float32)
    ours.load_state_dict(from_format(theirs, config))
    back = to_format(ours.state_dict(), config, "transformers")
    assert back.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_the_translated_network_computes_the_same_logits():
    config = small_config()
    theirs = transformers_model(config).double()
    ours = LeViT(config, num_classes=5, image_size=64, dtype=np.float64)
    ours.load_state_dict(from_format({name: array.numpy() for name, array in theirs.state_dict().items()}, config))
    ours.eval()
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).logits.numpy()
    np.testing.assert_allclose(ours(images), expected, rtol=1e-9)


def test_convolution_form_and_wrapping():
    config = small_config()
    state = random_state(config)
    theirs = to_format(state, config, "official")
    convolutions = {
        name: array[:, :, None, None] if array.ndim == 2 and name.endswith(".c.weight") else array
        for name, array in theirs.items()
    }
    assert convolutions["blocks.0.m.qkv.c.weight"].ndim == 4
    assert_equal_states(from_format({"model": convolutions}, config), state)


def test_a_stem_of_1x1_convolutions_stays_one():
    config = small_config(stem=(StemConv(32, kernel_size=1, stride=16, padding=0),))
    state = random_state(config)
    assert from_format(to_format(state, config, "official"), config)["stem.conv1.linear.weight"].shape == (32, 3, 1, 1)


@pytest.mark.parametrize("name", ["blocks.0.m.attention_bias_idxs", "blocks.4.attention_bias_idxs"])
def test_a_stored_index_table_of_another_numbering_is_refused(name):
    config = small_config()
    theirs = to_format(random_state(config), config, "official")
    theirs[name] = theirs[name].copy()
    theirs[name][0, [1, 2]] = theirs[name][0, [2, 1]]
    with pytest.raises(ValueError, match=f"{name}: the stored index table is not"):
        from_format(theirs, config)


def test_missing_and_unknown_names_are_listed_with_the_nearest():
    config = small_config()
    theirs = to_format(random_state(config), config, "transformers")
    theirs["classifier.linear.wieght"] = theirs.pop("classifier.linear.weight")
    with pytest.raises(ValueError) as caught:
        from_format(theirs, config)
    message = str(caught.value)
    assert "1 names missing and 1 unknown" in message
    assert "missing: classifier.linear.weight" in message
    assert "unknown: classifier.linear.wieght; did you mean classifier.linear.weight?" in message


def test_a_long_list_is_cut():
    with pytest.raises(ValueError, match=r"and \d+ more"):
        from_format({"stem.conv1.linear.weight": np.zeros(1)}, small_config())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["conv1.weight", "fc.bias"], "of no known format.*conv1.weight, fc.bias"),
        ([], "no names at all"),
        (["stem.conv1.bn.bias", "patch_embed.0.bn.bias"], "a mixture of timm and official"),
    ],
)
def test_unknown_formats(names, message):
    with pytest.raises(ValueError, match=message):
        detect_format(names)


def test_a_wrong_format_is_named():
    config = small_config()
    with pytest.raises(ValueError, match="format must be one of timm, native, official, transformers; got 'jax'"):
        to_format(random_state(config), config, "jax")


@pytest.mark.parametrize("change", [{"norm": "layer"}, {"position": "embedding"}])
def test_ablations_without_a_counterpart_are_refused(change):
    config = small_config(**change)
    with pytest.raises(ValueError, match="have names for batch normalisation and attention biases only"):
        from_format({"head.l.weight": np.zeros(1)}, config, "official")


def test_load_weights_reads_a_foreign_file(tmp_path):
    config = small_config()
    state = random_state(config)
    write_file(tmp_path / "hf.safetensors", to_format(state, config, "transformers"), {})
    model = LeViT(config, num_classes=5, image_size=64)
    load_weights(tmp_path / "hf.safetensors", model)
    assert_equal_states(model.state_dict(), state)
    other = LeViT(config, num_classes=7, image_size=64)
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"hf.safetensors: state does not fit"):
        load_weights(tmp_path / "hf.safetensors", other)
    assert_equal_states(other.state_dict(), before)


def test_load_weights_reads_a_checkpoint_of_this_package_and_leaves_the_optimiser_alone(tmp_path):
    config = small_config()
    source = LeViT(config, num_classes=5, image_size=64, seed=1)
    save_checkpoint(Checkpoint(source, About(Preprocessing(64))), tmp_path / "m.safetensors")
    tensors = read_tensors(tmp_path / "m.safetensors") | {"optimizer.m": np.zeros(3)}
    write_file(tmp_path / "m.safetensors", tensors, {})
    model = LeViT(config, num_classes=5, image_size=64, seed=2)
    load_weights(tmp_path / "m.safetensors", model)
    assert_equal_states(model.state_dict(), source.state_dict())


@pytest.mark.parametrize("module", [official, timm, transformers])
def test_examples_of_the_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


def test_a_name_without_a_counterpart_is_refused():
    with pytest.raises(ValueError, match=r"pos_embed has no counterpart in other implementations"):
        official.name_of("pos_embed", small_config())
