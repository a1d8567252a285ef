"""A model goes into a file, with what is known about it, and comes back as it was."""

from __future__ import annotations

import json
import resource
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import levit_ref
from levit_ref.checkpoints import (
    About,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    pack,
    read_about,
    read_file,
    save_checkpoint,
    unpack,
    write_file,
)
from levit_ref.configs import VARIANTS
from levit_ref.nn import LeViT, LeViTConfig, StemConv
from levit_ref.preprocessing import Preprocessing

CONFIG = LeViTConfig("tiny", (16, 24), 8, (2, 3), (1, 1), (StemConv(8), StemConv(16)), image_size=16)
HOW = Preprocessing((16, 24), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), crop_fraction=0.9, interpolation="bilinear")
ABOUT = About(HOW, ("cat", "dog", "é"), "pets", 1 / 3, {"commands": ["levit-ref train"], "epochs": 3})


def tiny(size: int | tuple[int, int] = 16, dtype: Any = np.float32, about: About | None = None) -> Checkpoint:
    """A small model that has seen some images."""
    model = LeViT(CONFIG, num_classes=3, image_size=size, seed=3, dtype=dtype)
    model(np.random.default_rng(0).standard_normal((4, 3, *model.image_size)).astype(dtype))
    return Checkpoint(model, about or About(Preprocessing(model.image_size)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(tmp_path: Path, dtype: Any) -> None:
    checkpoint = tiny((16, 24), dtype, ABOUT)
    save_checkpoint(checkpoint, tmp_path / "m.safetensors")
    back = load_checkpoint(tmp_path / "m.safetensors")
    model, about = back.model, back.about
    assert (model.config, model.num_classes, model.image_size, model.dtype) == (CONFIG, 3, (16, 24), dtype)
    assert about == checkpoint.about == read_about(tmp_path / "m.safetensors")
    assert (about.config, about.num_classes, about.dtype) == (CONFIG, 3, np.dtype(dtype).name)
    for name in "preprocessing", "class_names", "dataset", "accuracy", "training":
        assert getattr(about, name) == getattr(ABOUT, name)
    for name, array in checkpoint.model.state_dict().items():
        assert model.state_dict()[name].tobytes() == array.tobytes(), name
    images = np.random.default_rng(1).standard_normal((4, 3, 16, 24)).astype(dtype)
    assert model(images).tobytes() == checkpoint.model.eval()(images).tobytes()


def test_a_model_out_of_a_file_is_in_evaluation_mode(tmp_path: Path) -> None:
    checkpoint = tiny()
    assert checkpoint.model.training
    save_checkpoint(checkpoint, tmp_path / "m.safetensors")
    assert checkpoint.model.training  # writing changes nothing
    again = load_checkpoint(tmp_path / "m.safetensors").model
    assert not any(module.training for _, module in again.named_modules())
    assert not unpack(*pack(checkpoint), "here").model.training
    assert not levit_ref.load_pretrained("levit_1m_32px-cifar10").training


def test_no_weights_are_drawn_to_be_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tiny(), tmp_path / "m.safetensors")

    class Unwilling:
        """A generator that says so when numbers are drawn."""

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"a number was drawn by {name}")

    monkeypatch.setattr(np.random, "default_rng", lambda *_: Unwilling())
    with pytest.raises(AssertionError, match="a number was drawn by uniform"):
        LeViT(CONFIG)
    load_checkpoint(tmp_path / "m.safetensors")
    levit_ref.create_model("levit_250k_32px", seed=None)


def test_a_large_model_is_read_in_well_under_a_second(tmp_path: Path) -> None:
    model = levit_ref.create_model("levit_384", seed=None)
    save_checkpoint(Checkpoint(model, About(Preprocessing(model.image_size))), tmp_path / "m.safetensors")
    load_checkpoint("levit_1m_32px-cifar10")  # imports
    start = time.process_time()
    load_checkpoint(tmp_path / "m.safetensors")
    assert time.process_time() - start < 0.9


def test_the_header_is_read_without_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    checkpoint = tiny()
    save_checkpoint(checkpoint, path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    size = 64 << 30  # bytes of zeros that are on no disk
    header["other.array"] = {"dtype": "U8", "shape": [size], "data_offsets": [len(content) - 8 - length] * 2}
    header["other.array"]["data_offsets"][1] += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + content[8 + length :])
        file.truncate(file.tell() + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    assert read_about(path) == checkpoint.about
    assert load_checkpoint(path).model.num_classes == 3  # what is not the model's is not read either
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_rounds_what_has_two_axes_and_nothing_else(tmp_path: Path, dtype: Any) -> None:
    model = LeViT(CONFIG, num_classes=3, image_size=(16, 24), seed=3, dtype=dtype)
    model(100 * np.random.default_rng(0).standard_normal((4, 3, 16, 24)).astype(dtype))  # variances beyond float16
    assert model.head.bn is not None
    model.head.bn.running_var.data[0] = 1e6
    save_checkpoint(Checkpoint(model, ABOUT), tmp_path / "m.safetensors", half=True)
    tensors, _ = read_file(tmp_path / "m.safetensors")
    back = load_checkpoint(tmp_path / "m.safetensors")
    assert back.model.dtype == dtype and back.about.dtype == np.dtype(dtype).name
    assert back.about.class_names == ABOUT.class_names
    for name, array in model.state_dict().items():
        stored, loaded = tensors[f"model.{name}"], back.model.state_dict()[name]
        if array.ndim > 1:
            assert stored.dtype == np.float16 and loaded.dtype == dtype
            np.testing.assert_array_equal(loaded, array.astype(np.float16).astype(dtype))
            # the nearest float16: half of the last of 11 bits, below 2**-14 half of the smallest number
            assert (np.abs(loaded - array) <= np.maximum(np.abs(array) * 2.0**-11, 2.0**-25)).all(), name
        else:
            assert (stored.dtype, stored.tobytes()) == (array.dtype, array.tobytes()), name
            assert loaded.tobytes() == array.tobytes(), name


def test_half_does_not_make_infinity_of_a_number(tmp_path: Path) -> None:
    checkpoint = tiny()
    weight = checkpoint.model.head.linear.weight.data
    weight[1, 2] = -65504
    save_checkpoint(checkpoint, tmp_path / "m.safetensors", half=True)  # the last number that fits
    weight[1, 2] = -70000
    with pytest.raises(
        ValueError, match=r"model\.head\.linear\.weight has a number of size 70000; float16 ends at 65504"
    ):
        save_checkpoint(checkpoint, tmp_path / "new.safetensors", half=True)
    assert not (tmp_path / "new.safetensors").exists()


def test_names_in_the_file_are_the_model_s(tmp_path: Path) -> None:
    checkpoint = tiny()
    save_checkpoint(checkpoint, tmp_path / "m.safetensors")
    tensors, metadata = read_file(tmp_path / "m.safetensors")
    assert {f"model.{name}" for name in checkpoint.model.state_dict()} == set(tensors)
    assert set(metadata) == {"model"}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_the_sizes_that_are_compared_before_it_is_built(name: str) -> None:
    model = levit_ref.create_model(name, num_classes=7, image_size=None if "32px" in name else 96, seed=None)
    back = unpack(*pack(Checkpoint(model, About(Preprocessing(model.image_size)))), "here").model
    assert (back.config, back.image_size) == (model.config, model.image_size)


def test_a_checkpoint_is_of_one_model() -> None:
    model = LeViT(CONFIG, num_classes=3, image_size=16)
    how = Preprocessing(16)
    assert Checkpoint(model, About(how)).about.num_classes == 3
    assert Checkpoint(model, About(how)).preprocessing == how
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        Checkpoint(model, About(how, ("a", "b")))
    with pytest.raises(ValueError, match=r"makes pictures of \(16, 24\), the model takes \(16, 16\)"):
        Checkpoint(model, ABOUT)
    with pytest.raises(ValueError, match="num_classes is 3 in the model, 5 in about"):
        Checkpoint(model, About(how, num_classes=5))
    with pytest.raises(TypeError, match="model must be a LeViT, got None"):
        Checkpoint(None, About(how))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="about must be an About, got Preprocessing"):
        Checkpoint(model, how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preprocessing": None}, "preprocessing must be a Preprocessing, got None"),
        ({"class_names": "abc"}, "class_names must be a list of strings, got 'abc'"),
        ({"class_names": (1, 2)}, "class_names must be strings, got 1"),
        ({"dataset": 5}, "dataset must be a str, got 5"),
        ({"accuracy": "good"}, "accuracy must be a number or None, got 'good'"),
        ({"accuracy": 86.0}, "accuracy must be between 0 and 1, got 86.0"),
        ({"accuracy": float("nan")}, "accuracy must be between 0 and 1, got nan"),
        ({"training": [1]}, r"training must be a Mapping, got \[1\]"),
    ],
)
def test_what_is_said_about_a_model_is_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        About(**{"preprocessing": HOW, **fields})


def test_files_that_hold_no_model_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_file(path, {}, {"something": "else"})
    for function in load_checkpoint, read_about:
        with pytest.raises(CheckpointError, match=r"m\.safetensors: holds no model"):
            function(path)
    save_checkpoint(tiny(), path)
    tensors, metadata = read_file(path)
    for version in 1, 99, [1], None, True:
        write_file(path, tensors, {"model": metadata["model"] | {"format_version": version}})
        with pytest.raises(CheckpointError, match=r"format version .*, this version of levit_ref reads 2"):
            load_checkpoint(path)
    for name in "head.linear.bias", "head.linear.weight", "stages.1.blocks.0.attn.qkv.linear.weight":
        write_file(path, {n: array for n, array in tensors.items() if n != f"model.{name}"}, metadata)
        with pytest.raises(CheckpointError, match=rf"m\.safetensors: .*missing: {name}|(?s:missing: {name})"):
            load_checkpoint(path)
    write_file(path, tensors | {"model.head.linear.bias": np.zeros(3, bool)}, metadata)
    with pytest.raises(CheckpointError, match=r"m\.safetensors: head\.linear\.bias has dtype bool"):
        load_checkpoint(path)
    write_file(path, tensors, {"model": metadata["model"] | {"colour": "red"}})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: unknown field 'colour'"):
        load_checkpoint(path)


def changed(metadata: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy of a file's metadata with another value at a dotted place."""
    copy: dict[str, Any] = json.loads(json.dumps(metadata))
    *way, last = place.split(".")
    inner: Any = copy["model"]
    for name in way:
        inner = inner[int(name) if name.isdecimal() else name]
    inner[int(last) if last.isdecimal() else last] = value
    return copy


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("num_classes", 10**9, r"head\.linear\.weight is \(3, 24\), its configuration asks for \(1000000000, 24\)"),
        ("num_classes", 10**30, r"head\.linear\.weight is"),
        ("num_classes", 2.5, "num_classes must be a whole number, at least 1, got 2.5"),
        ("num_classes", True, "num_classes must be"),
        ("num_classes", -1, "num_classes must be"),
        ("dtype", "object", "dtype must be float32 or float64, got 'object'"),
        ("dtype", "float16", "dtype must be"),
        ("dtype", ["float32"], "dtype must be"),
        ("class_names", [1, 2, 3], "class_names must be strings, got 1"),
        ("class_names", ["a"], "1 class names for 3 classes"),
        ("class_names", None, "class_names must be a list of strings"),
        ("dataset", ["x"], "dataset must be a str"),
        ("accuracy", "x", "accuracy must be a number"),
        ("accuracy", -0.1, "accuracy must be between"),
        ("training", 3, "training must be a Mapping"),
        ("preprocessing", None, "preprocessing must be an object"),
        ("preprocessing.size", [20_000, 20_000], r"attention_biases is \(2, 16\), its configuration asks for"),
        ("preprocessing.size", [0, 16], "preprocessing: size must be"),
        ("preprocessing.size", "large", "preprocessing: size must be"),
        ("preprocessing.size", [True, 16], "preprocessing: size must be"),
        ("preprocessing.std", [0, 0, 0], "preprocessing: std must be positive"),
        ("preprocessing.std", [1, 1], "preprocessing: std must be three finite numbers"),
        ("preprocessing.std", [1, 1, 10**400], "preprocessing: std must be three finite numbers"),
        ("preprocessing.mean", ["a", "b", "c"], "preprocessing: mean must be three finite numbers"),
        ("preprocessing.mean", [None] * 3, "preprocessing: mean must be three finite numbers"),
        ("preprocessing.mean", float("nan"), "preprocessing: mean must be"),
        ("preprocessing.crop_fraction", 0, "preprocessing: crop_fraction must be"),
        ("preprocessing.interpolation", [], "preprocessing: interpolation must be one of"),
        ("preprocessing.colour", "red", "preprocessing: unknown field colour"),
        ("config", None, "config must be an object"),
        ("config", [1], "config must be an object"),
        ("config", {}, "config: LeViTConfig: missing keys"),
        ("config.name", 3, "config: name must be a string"),
        ("config.embed_dims", [16, 2**40], "config: .*embed_dims must be positive numbers"),
        ("config.embed_dims", [16, 2**30], r"kv\.linear\.weight|attn\.qkv|mlp\.ln1"),
        ("config.embed_dims", [], "config: .*embed_dims must be"),
        ("config.key_dim", 0, "config: .*key_dim must be a positive number"),
        ("config.key_dim", 8.0, "config: .*key_dim must be"),
        ("config.depths", [10**6, 1], r"missing: stages\.0\.blocks\.1"),
        ("config.depths", [1, "x"], "config: .*depths must be 2 positive numbers"),
        ("config.num_heads", {"a": 1}, "config: .*num_heads must be"),
        ("config.downsample_heads", [2**20], r"kv\.linear\.weight is"),
        ("config.attn_ratio", float("inf"), "config: .*attn_ratio must"),
        ("config.attn_ratio", -2, "config: .*attn_ratio must"),
        ("config.attn_ratio", 1e308, "config: .*attn_ratio must"),
        ("config.mlp_ratio", 10**6, r"mlp\.ln1\.linear\.weight is"),
        ("config.mlp_ratio", 0, "config: .*mlp_ratio must"),
        ("config.downsample_mlp_ratio", None, "config: .*downsample_mlp_ratio must"),
        ("config.stem", None, "config: LeViTConfig: stem must be a list"),
        ("config.stem", [], "config: .*the stem must end"),
        ("config.stem.0.stride", 0, "config: StemConv: .*must be positive"),
        ("config.stem.0.stride", 0.0, "config: StemConv: .*must be positive"),
        ("config.stem.0.padding", -1, "config: StemConv: padding"),
        ("config.stem.0.colour", 1, "config: LeViTConfig: stem: .*colour"),
        ("config.drop_path", "x", "config: .*drop_path must"),
        ("config.distillation", 1, "config: .*distillation must"),
        ("config.distillation", False, r"unknown: head_dist"),
        ("config.activation", ["silu"], "config: .*activation must be one of"),
        ("config.norm", "layer", "missing"),
        ("config.position", "embedding", r"missing: pos_embed"),
        ("config.colour", 1, "config: LeViTConfig: unknown keys colour"),
    ],
)
def test_every_field_of_a_file_is_checked_before_anything_is_built(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(tiny(), path)
    tensors, metadata = read_file(path)
    write_file(path, tensors, changed(metadata, place, value))
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=rf"m\.safetensors: (?s:.*)({message})"):
        load_checkpoint(path)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("field", ["num_classes", "preprocessing", "config", "training", "class_names"])
def test_no_field_may_be_missing(tmp_path: Path, field: str) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(tiny(), path)
    tensors, metadata = read_file(path)
    del metadata["model"][field]
    write_file(path, tensors, metadata)
    with pytest.raises(CheckpointError, match=rf"m\.safetensors: missing field '{field}'"):
        read_about(path)
