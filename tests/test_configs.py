"""Every variant: its published numbers, its names, its way through JSON, its gradients, and that it trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import levit_ref
from levit_ref.configs import VARIANTS
from levit_ref.inspection import count_macs, count_parameters
from levit_ref.nn import LeViT, LeViTConfig, StemConv
from levit_ref.ops import Array, cross_entropy_backward, cross_entropy_forward

ABLATIONS = levit_ref.list_models("_a")
SMALL_BASES = [name for name in levit_ref.list_models("_32px") if name.endswith("_32px")]


# --- the published numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("levit_128s", 7_777_058, 305_108_946),
        ("levit_128", 9_213_936, 406_114_880),
        ("levit_192", 10_947_069, 657_601_916),
        ("levit_256", 18_893_876, 1_128_024_056),
        ("levit_384", 39_128_836, 2_352_935_380),
        # The later ones: parameters as in timm, which does not count multiply-adds.
        ("levit_384_s8", 39_118_960, None),
        ("levit_512_s8", 74_046_696, None),
        ("levit_512", 95_173_700, None),
        ("levit_256d", 26_210_788, None),
        ("levit_512d", 92_497_538, None),
    ],
)
def test_published_variants(name: str, parameters: int, macs: int | None) -> None:
    """They build, cost what the official code counts, and classify."""
    model = levit_ref.create_model(name)
    assert (model.num_classes, model.image_size) == (1000, (224, 224))
    assert count_parameters(model) == parameters
    assert macs is None or count_macs(model) == macs
    with model.inference():
        logits = model(np.zeros((1, 3, 224, 224), np.float32))
    assert logits.shape == (1, 1000)
    assert np.isfinite(logits).all()


def test_one_head_less() -> None:
    assert count_parameters(levit_ref.create_model("levit_128s", distillation=False)) == 7_391_290


def test_128s_for_small_images() -> None:
    model = levit_ref.create_model("levit_128s_32px", num_classes=10)
    assert model.image_size == (32, 32)
    assert model.head_dist is None
    assert model.stem.grid.shape == (8, 8)
    assert round(count_parameters(model) / 1e6, 2) == 6.98


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("levit_250k_32px", 0.2e6, 0.3e6), ("levit_1m_32px", 0.9e6, 1.1e6), ("levit_3m_32px", 2.7e6, 3.3e6)],
)
def test_small_variants_are_as_small_as_they_say(name: str, low: float, high: float) -> None:
    assert low < count_parameters(levit_ref.create_model(name, num_classes=10)) < high


@pytest.mark.parametrize(
    ("ablation", "million_parameters", "million_macs"),
    [
        ("", "7.4", "305"),
        ("_a1_no_pyramid", "1.2", "308"),
        ("_a2_no_conv_stem", None, "275"),
        ("_a3_layer_norm", "7.4", "305"),
        ("_a4_no_distillation", "7.4", "305"),
        ("_a5_no_attention_bias", "7.4", "305"),
        ("_a6_plain_width", "6.2", "312"),
        ("_a7_no_attention_activation", "7.4", "305"),
    ],
)
def test_ablations_of_128s_cost_what_the_paper_prints(
    ablation: str, million_parameters: str | None, million_macs: str
) -> None:
    """The paper's table of ablations counts one head, and gives no number of parameters for A2."""
    model = levit_ref.create_model(f"levit_128s{ablation}", distillation=False)
    assert f"{count_macs(model) / 1e6:.0f}" == million_macs
    if million_parameters is not None:
        assert f"{count_parameters(model) / 1e6:.1f}" == million_parameters


def test_each_ablation_changes_what_its_name_says_and_nothing_else() -> None:
    for base_name in ("levit_128s", *SMALL_BASES):
        base = VARIANTS[base_name]
        same = {
            "a2_no_conv_stem": {"stem"},
            "a3_layer_norm": {"norm"},
            "a4_no_distillation": {"distillation"},
            "a5_no_attention_bias": {"position"},
            "a7_no_attention_activation": {"attention_activation"},
        }
        for ablation, expected in same.items():
            config = VARIANTS[f"{base_name}_{ablation}"]
            changed = {key for key, value in config.to_dict().items() if value != base.to_dict()[key]} - {"name"}
            # the small family has one head to begin with, so that A4 is the base itself
            assert changed == (expected if base.distillation or ablation[:2] != "a4" else set()), config.name
        assert len(VARIANTS[f"{base_name}_a1_no_pyramid"].embed_dims) == 1
        plain = VARIANTS[f"{base_name}_a6_plain_width"]
        ratios = plain.attn_ratio, plain.mlp_ratio, plain.downsample_attn_ratio, plain.downsample_mlp_ratio
        assert ratios == (1, 4, 1, 4)


# --- names -------------------------------------------------------------------------------------------------------


def timm_names(depths: tuple[int, ...]) -> Iterator[str]:
    """Names of the arrays of timm's ``levit_128s`` and its relatives, written down from a listing of timm 1.0."""
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    def linear_norm(prefix: str) -> Iterator[str]:
        yield f"{prefix}.linear.weight"
        yield from (f"{prefix}.bn.{leaf}" for leaf in norm)

    def mlp(prefix: str) -> Iterator[str]:
        yield from linear_norm(f"{prefix}.ln1")
        yield from linear_norm(f"{prefix}.ln2")

    for i in (1, 2, 3, 4):
        yield from linear_norm(f"stem.conv{i}")
    for stage, depth in enumerate(depths):
        if stage:
            shrinking = f"stages.{stage}.downsample.attn_downsample"
            yield f"{shrinking}.attention_biases"
            for part in ("kv", "q.ln", "proj.ln"):
                yield from linear_norm(f"{shrinking}.{part}")
            yield from mlp(f"stages.{stage}.downsample.mlp")
        for block in range(depth):
            attention = f"stages.{stage}.blocks.{block}.attn"
            yield f"{attention}.attention_biases"
            for part in ("qkv", "proj.ln"):
                yield from linear_norm(f"{attention}.{part}")
            yield from mlp(f"stages.{stage}.blocks.{block}.mlp")
    for head in ("head", "head_dist"):
        yield from (f"{head}.bn.{leaf}" for leaf in norm)
        yield from (f"{head}.linear.weight", f"{head}.linear.bias")


def test_names_are_timms_and_in_its_order() -> None:
    names = list(levit_ref.create_model("levit_128s").state_dict())
    assert len(names) == 325
    assert names == list(timm_names((2, 3, 4)))
    for spelled_out in (
        "stem.conv1.linear.weight",
        "stages.0.blocks.0.attn.attention_biases",
        "stages.1.downsample.attn_downsample.q.ln.bn.num_batches_tracked",
        "stages.2.blocks.3.mlp.ln2.bn.running_var",
        "head_dist.linear.bias",
    ):
        assert spelled_out in names


def test_shapes_of_128s() -> None:
    shapes = {name: array.shape for name, array in levit_ref.create_model("levit_128s").state_dict().items()}
    assert shapes["stem.conv1.linear.weight"] == (16, 3, 3, 3)
    assert shapes["stages.0.blocks.0.attn.qkv.linear.weight"] == (4 * (16 + 16 + 32), 128)
    assert shapes["stages.0.blocks.0.attn.attention_biases"] == (4, 14 * 14)
    assert shapes["stages.1.downsample.attn_downsample.kv.linear.weight"] == (8 * (16 + 64), 128)
    assert shapes["stages.1.downsample.attn_downsample.q.ln.linear.weight"] == (8 * 16, 128)
    assert shapes["stages.1.downsample.attn_downsample.attention_biases"] == (8, 14 * 14)
    assert shapes["stages.2.blocks.0.attn.attention_biases"] == (8, 4 * 4)
    assert shapes["head.linear.weight"] == (1000, 384)
    assert shapes["head.bn.num_batches_tracked"] == ()


# --- configurations as data --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", levit_ref.list_models())
def test_round_trip_through_json(name: str) -> None:
    config = levit_ref.get_config(name)
    assert config.name == name
    assert LeViTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_there_are_all_variants_and_ablations() -> None:
    assert {"levit_128s", "levit_128", "levit_192", "levit_256", "levit_384"} < set(VARIANTS)
    assert {"levit_384_s8", "levit_512", "levit_512_s8", "levit_256d", "levit_512d"} < set(VARIANTS)
    assert SMALL_BASES == ["levit_250k_32px", "levit_1m_32px", "levit_3m_32px", "levit_128s_32px"]
    for base in ("levit_128s", *SMALL_BASES):
        numbers = [name.removeprefix(f"{base}_a")[0] for name in ABLATIONS if name.startswith(f"{base}_a")]
        assert numbers == list("1234567"), base


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"no model 'levit_182s'; did you mean .*levit_128s"):
        levit_ref.create_model("levit_182s")
    with pytest.raises(ValueError, match=r"no model 'resnet50'; levit_ref.list_models\(\) has all names"):
        levit_ref.get_config("resnet50")


def test_unknown_keys_are_refused() -> None:
    data = levit_ref.get_config("levit_128s").to_dict() | {"patch_size": 16}
    with pytest.raises(ValueError, match="unknown keys patch_size; known are activation, "):
        LeViTConfig.from_dict(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": (4, 6)}, r"num_heads must be 3 positive numbers, got \(4, 6\)"),
        ({"depths": (2, 0, 4)}, r"depths must be 3 positive numbers, got \(2, 0, 4\)"),
        ({"downsample_heads": (8,)}, r"downsample_heads must be 2 positive numbers, got \(8,\)"),
        ({"stem": (StemConv(64),)}, r"the stem must end with 128 channels"),
        ({"stem": ()}, r"the stem must end with 128 channels, got \(\)"),
        ({"activation": "swish"}, "activation must be one of .*hardswish.*, got 'swish'"),
        ({"attention_activation": "none"}, "attention_activation must be one of .*, got 'none'"),
        ({"norm": "group"}, "norm must be one of batch, layer, got 'group'"),
        ({"position": "none"}, "position must be one of attention_bias, embedding, got 'none'"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and below 1, got 1.0"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"levit_128s: {message}"):
        replace(levit_ref.get_config("levit_128s"), **change)


def test_configurations_do_not_change() -> None:
    config = levit_ref.get_config("levit_128s")
    with pytest.raises(FrozenInstanceError):
        config.key_dim = 32


def test_options_of_create_model_replace_those_of_the_variant() -> None:
    assert levit_ref.create_model("levit_384", num_classes=10, image_size=64).config.drop_path == 0.1
    model = levit_ref.create_model(
        "levit_1m_32px", num_classes=7, image_size=(32, 48), distillation=True, drop_path=0.25, dtype=np.float64
    )
    assert (model.num_classes, model.image_size, model.dtype) == (7, (32, 48), np.dtype(np.float64))
    assert (model.config.distillation, model.config.drop_path) == (True, 0.25)
    assert levit_ref.get_config("levit_1m_32px").drop_path == 0.0


# --- each of them builds, differentiates and trains ---------------------------------------------------------------


@pytest.mark.parametrize("name", [*ABLATIONS, *SMALL_BASES])
def test_small_variants_and_ablations_classify(name: str) -> None:
    model = levit_ref.create_model(name, num_classes=3)
    with model.inference():
        logits = model(np.zeros((1, 3, *model.image_size), np.float32))
    assert logits.shape == (1, 3)
    assert np.isfinite(logits).all()


def small_network(name: str, rng: np.random.Generator) -> tuple[LeViT, Array]:
    """A variant for images just large enough to have several tokens left in its last stage, with random norms."""
    config = levit_ref.get_config(name)
    size = 80 if config.image_size == 224 else 20
    model = LeViT(config, num_classes=4, image_size=size, dtype=np.float64)
    for parameter_name, parameter in model.named_parameters():
        if parameter.data.ndim == 1 or parameter_name.endswith("attention_biases"):
            # Zero-initialised norms would hide the branch behind them from the check.
            parameter.data = parameter.data + rng.uniform(0.2, 0.6, parameter.shape)
    return model, rng.standard_normal((4, 3, size, size))


@pytest.mark.parametrize("name", [*ABLATIONS, *SMALL_BASES])
def test_gradients_of_the_whole_network(name: str, rng: np.random.Generator) -> None:
    """One random direction through all parameters at once, and one through the images, in training mode."""
    model, images = small_network(name, rng)
    dlogits = rng.standard_normal((len(images), model.num_classes))
    start = model.flat_data.copy()
    model(images)
    dimages = model.backward(dlogits)
    directions = [rng.standard_normal(shape) for shape in (start.shape, images.shape)]
    directions = [direction / np.linalg.norm(direction) for direction in directions]

    def loss(step: float, through_parameters: bool) -> float:
        model.flat_data[:] = start + (step * directions[0] if through_parameters else 0)
        return float(np.vdot(dlogits, model(images if through_parameters else images + step * directions[1])))

    # Of some hundred thousand values a few are always near a kink of hardswish; a tiny step hardly moves one across.
    step = 1e-5
    for through_parameters, gradient in (True, model.flat_grad), (False, dimages):
        numeric = (loss(step, through_parameters) - loss(-step, through_parameters)) / (2 * step)
        analytic = np.vdot(gradient, directions[not through_parameters])
        error = abs(numeric - analytic) / max(abs(numeric), np.linalg.norm(gradient))
        assert error < 1e-5, f"{'parameters' if through_parameters else 'images'}: relative error {error:.1e}"


@pytest.mark.parametrize("name", [*ABLATIONS, *SMALL_BASES])
def test_it_trains(name: str, rng: np.random.Generator) -> None:
    """From its own initial weights, a few steps of plain gradient descent fit a fixed batch."""
    config = levit_ref.get_config(name)
    size = 64 if config.image_size == 224 else 16
    model = LeViT(config, num_classes=4, image_size=size)
    images = rng.standard_normal((8, 3, size, size), dtype=np.float32)
    labels = np.arange(8) % 4
    losses = []
    for _ in range(12 if config.norm == "batch" else 60):  # layer normalisation bears small steps only
        head, head_dist = model.forward_heads(images)
        loss, saved = cross_entropy_forward(head, labels)
        losses.append(float(loss))
        dhead = cross_entropy_backward(1.0, saved)
        model.zero_grad()
        model.backward_heads(dhead, None if head_dist is None else np.zeros_like(head_dist))
        model.flat_data -= (0.05 if config.norm == "batch" else 0.002) * model.flat_grad
    assert abs(losses[0] - np.log(4)) < 0.3, losses  # it knew nothing
    assert losses[-1] < 0.5 * losses[0], losses
