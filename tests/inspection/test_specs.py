"""The catalogue of activations: complete, in order, and true."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import levit_ref
from levit_ref.nn import FunctionTap, LeViT, Module
from levit_ref.ops import Array
from tests.nn.names import expected_names
from tests.nn.networks import tiny


@pytest.mark.parametrize(
    ("variant", "names"),
    [
        ("levit_128s", expected_names(stem_convs=4, depths=(2, 3, 4), two_heads=True)),
        ("levit_250k_32px", expected_names(stem_convs=3, depths=(1, 1), two_heads=False)),
    ],
)
def test_names_and_their_order_are_a_promise(variant: str, names: list[str]) -> None:
    model = levit_ref.create_model(variant, num_classes=10)
    assert [spec.name for spec in model.activation_specs()] == names


def test_axes_shapes_and_bytes_of_the_paper_s_smallest_model() -> None:
    specs = {spec.name: spec for spec in levit_ref.create_model("levit_128s").activation_specs(batch_size=2)}
    expected = {
        "images": ("B C H W", (2, 3, 224, 224), (2, 224, 224, 3)),
        "stem.conv1.linear": ("B C H W", (2, 16, 112, 112), (2, 112, 112, 16)),
        "stem.act3": ("B C H W", (2, 64, 28, 28), (2, 28, 28, 64)),
        "stem.tokens": ("B N C", (2, 196, 128), (2, 14, 14, 128)),
        "stages.0.blocks.1.attn.q": ("B heads N_q D", (2, 4, 196, 16), (2, 4, 14, 14, 16)),
        "stages.0.blocks.1.attn.v": ("B heads N_k E", (2, 4, 196, 32), (2, 4, 14, 14, 32)),
        "stages.0.blocks.1.attn.bias": ("heads N_q N_k", (4, 196, 196), (4, 14, 14, 14, 14)),
        "stages.1.downsample.attn_downsample.q.down": ("B N C", (2, 49, 128), (2, 7, 7, 128)),
        "stages.1.downsample.attn_downsample.probs": ("B heads N_q N_k", (2, 8, 49, 196), (2, 8, 7, 7, 14, 14)),
        "stages.1.downsample.attn_downsample.context": ("B heads N_q E", (2, 8, 49, 64), (2, 8, 7, 7, 64)),
        "stages.2.blocks.3.mlp.act": ("B N C", (2, 16, 768), (2, 4, 4, 768)),
        "stages.2.blocks.3.resid_post": ("B N C", (2, 16, 384), (2, 4, 4, 384)),
        "pooled": ("B C", (2, 384), None),
        "head_dist": ("B classes", (2, 1000), None),
    }
    for name, (axes, shape, grid) in expected.items():
        spec = specs[name]
        assert (" ".join(spec.axes), spec.shape, spec.grid) == (axes, shape, grid), name
        assert spec.nbytes == 4 * np.prod(shape), name
        assert spec.meaning, name


VARIANTS = {
    "plain": {},
    "layer norm": {"norm": "layer"},
    "position embedding": {"position": "embedding"},
    "one head": {"distillation": False},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("size", [16, (18, 27)], ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_specs_are_what_a_tap_sees(
    changes: dict[str, object], size: int | tuple[int, int], training: bool, rng: np.random.Generator
) -> None:
    model = tiny(size, **changes)
    model.train(training)
    seen: list[tuple[str, tuple[int, ...], np.dtype]] = []
    tap = FunctionTap(lambda name, value: seen.append((name, value.shape, value.dtype)))
    model(rng.standard_normal((3, 3, *model.image_size)), tap)
    specs = model.activation_specs(batch_size=3)
    assert [(spec.name, spec.shape, spec.dtype) for spec in specs] == seen
    assert all(len(spec.axes) == len(spec.shape) for spec in specs)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("size", [16, (18, 27), 4, (1, 2)], ids=str)
def test_maps_are_those_of_the_components(changes: dict[str, object], size: int | tuple[int, int]) -> None:
    """Also where two maps have the same number of tokens: of 1x1 tokens, shrinking leaves 1x1."""
    model = tiny(size, **changes)
    grids = {spec.name: spec.grids for spec in model.activation_specs()}
    pixels, first, stem = model.stem.grids
    shrinking = model.stages[1].downsample.attn_downsample  # type: ignore[union-attr]
    keys, queries = shrinking.keys, shrinking.queries
    last = model.stages[1].grid
    down = "stages.1.downsample"
    expected = {
        "images": (pixels,),
        "stem.conv1.linear": (first,),
        "stem.act1": (first,),
        "stem.conv2.linear": (stem,),
        "stem.tokens": (stem,),
        "stages.0.blocks.0.attn.probs": (stem, stem),
        "stages.0.blocks.0.resid_post": (stem,),
        f"{down}.resid_pre": (keys,),
        f"{down}.attn_downsample.kv.linear": (keys,),
        f"{down}.attn_downsample.q.down": (queries,),
        f"{down}.attn_downsample.q.ln.linear": (queries,),
        f"{down}.attn_downsample.q": (queries,),
        f"{down}.attn_downsample.k": (keys,),
        f"{down}.attn_downsample.v": (keys,),
        f"{down}.attn_downsample.scores": (queries, keys),
        f"{down}.attn_downsample.probs": (queries, keys),
        f"{down}.attn_downsample.context": (queries,),
        f"{down}.attn_downsample.proj.act": (queries,),
        f"{down}.resid_mid": (queries,),
        f"{down}.mlp.ln1.linear": (queries,),
        f"{down}.resid_post": (queries,),
        "stages.1.blocks.0.attn.bias": (last, last),
        "stages.1.blocks.1.mlp.act": (last,),
        "pooled": (),
        "head.linear": (),
        "logits": (),
    }
    if changes.get("norm") == "layer":
        expected[f"{down}.attn_downsample.norm"] = (keys,)
    if changes.get("position") == "embedding":
        expected["pos_embed"] = (stem,)
        expected = {name: maps for name, maps in expected.items() if not name.endswith(".bias")}
    assert {name: grids[name] for name in expected} == expected
    assert keys.pitch == 4
    assert queries.pitch == 8


def test_a_value_that_does_not_fit_the_map_of_its_component_is_reported() -> None:
    model = tiny()
    model.stages[0].grid = model.stages[1].grid
    with pytest.raises(LookupError, match=r"stages.0.blocks.0.resid_pre has shape \(1, 16, 8\), which does not fit"):
        model.activation_specs()


def test_every_description_is_of_a_value_that_exists() -> None:
    described: set[tuple[type[Module], str]] = set()
    used: set[tuple[type[Module], str]] = set()
    for changes in VARIANTS.values():
        model = tiny(**changes)
        modules = dict(model.named_modules())
        described |= {(type(module), name) for module in modules.values() for name in module.taps}
        for spec in model.activation_specs():
            component, _, name = spec.name.rpartition(".")
            used.add((type(modules[component]), name.rstrip("0123456789")))
    assert used == described


def test_asking_leaves_the_model_as_it_was(rng: np.random.Generator) -> None:
    images, dlogits = rng.standard_normal((3, 3, 16, 16)), rng.standard_normal((3, 5))
    asked, untouched = tiny(drop_path=0.3), tiny(drop_path=0.3)
    for model in (asked, untouched):
        model(images)
    asked.activation_specs()
    assert asked.training
    np.testing.assert_array_equal(asked.backward(dlogits), untouched.backward(dlogits))
    np.testing.assert_array_equal(asked.flat_buffers, untouched.flat_buffers)
    np.testing.assert_array_equal(asked(images), untouched(images))


def test_the_catalogue_follows_a_model_that_changes() -> None:
    model = tiny()
    before = len(model.activation_specs())
    twin = copy.deepcopy(model)
    del model.stages[1].blocks[1]
    assert len(model.activation_specs()) < before
    assert len(twin.activation_specs()) == before
    model.flatten(np.float32)
    assert {spec.dtype for spec in model.activation_specs()} == {np.dtype(np.float32)}


def test_a_value_without_a_description_is_reported() -> None:
    class Curious(LeViT):
        def forward(self, x: Array, tap=levit_ref.nn.no_tap) -> Array:  # type: ignore[no-untyped-def]
            return tap("surprise", super().forward(x, tap))

    model = Curious(tiny().config, num_classes=5, image_size=16)
    with pytest.raises(LookupError, match=r"Curious shows its tap a value 'surprise'"):
        model.activation_specs()


def test_empty_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        tiny().activation_specs(0)
