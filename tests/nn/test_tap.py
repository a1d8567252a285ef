"""Looking inside: what is seen, that seeing changes nothing, and that what a tap returns is what flows on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from levit_ref.nn import FunctionTap, LeViT, SelectiveTap, no_tap
from levit_ref.ops import Array
from tests.gradcheck import differentiate
from tests.nn.names import expected_names
from tests.nn.networks import tiny


@pytest.fixture
def images(rng: np.random.Generator) -> Array:
    return rng.standard_normal((3, 3, 16, 16))


NAMES = expected_names(stem_convs=2, depths=(1, 2), two_heads=True)
"""Of the small network."""


def record(values: dict[str, Array]) -> FunctionTap:
    return FunctionTap(lambda name, value: values.__setitem__(name, value.copy()))


def test_names_and_their_order(images: Array) -> None:
    seen: list[str] = []
    tiny()(images, FunctionTap(lambda name, _: seen.append(name)))
    assert seen == NAMES
    assert max(Counter(seen).values()) == 1


def test_backward_sees_every_name_once_and_the_shapes_of_forward(images: Array, rng: np.random.Generator) -> None:
    model = tiny()
    forward: dict[str, Array] = {}
    seen: list[str] = []
    model(images, record(forward))
    backward: dict[str, Array] = {}

    def see(name: str, gradient: Array) -> None:
        seen.append(name)
        backward[name] = gradient

    model.backward(rng.standard_normal((3, 5)), FunctionTap(see))
    assert sorted(seen) == sorted(NAMES)
    for name in NAMES:
        assert backward[name].shape == forward[name].shape, name


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_recording_changes_no_bit(training: bool, images: Array, rng: np.random.Generator) -> None:
    plain, watched = tiny(dtype=np.float32, drop_path=0.3), tiny(dtype=np.float32, drop_path=0.3)
    dlogits = rng.standard_normal((3, 5)).astype(np.float32)
    values: dict[str, Array] = {}
    for model in (plain, watched):
        model.train(training)
        model.drop_path.seed(np.random.default_rng(5))
    logits = plain(images)
    np.testing.assert_array_equal(watched(images, record(values)), logits)
    np.testing.assert_array_equal(watched.backward(dlogits, record({})), plain.backward(dlogits))
    np.testing.assert_array_equal(watched.flat_grad, plain.flat_grad)
    np.testing.assert_array_equal(watched.flat_buffers, plain.flat_buffers)
    np.testing.assert_array_equal(values["logits"], logits)


def test_recorded_values_are_what_their_names_say(images: Array) -> None:
    model = tiny()
    model.eval()
    values: dict[str, Array] = {}
    model(images, record(values))
    attention = model.stages[0].blocks[0].attn
    prefix = "stages.0.blocks.0.attn."
    q, k, v = (values[prefix + name] for name in "qkv")
    assert (q.shape, k.shape, v.shape) == ((3, 2, 16, 4), (3, 2, 16, 4), (3, 2, 16, 8))
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) * attention.scale
    np.testing.assert_allclose(values[prefix + "scores"], scores, atol=1e-12)
    np.testing.assert_allclose(values[prefix + "scores_biased"], scores + values[prefix + "bias"], atol=1e-12)
    np.testing.assert_allclose(values[prefix + "probs"].sum(axis=-1), 1)
    context = np.einsum("bhqk,bhkd->bhqd", values[prefix + "probs"], v)
    np.testing.assert_allclose(values[prefix + "context"], context, atol=1e-12)
    np.testing.assert_allclose(values["pooled"], values["stages.1.blocks.1.resid_post"].mean(axis=1))
    np.testing.assert_allclose(values["logits"], (values["head"] + values["head_dist"]) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_tap_returns_flows_on(name: str, images: Array, rng: np.random.Generator) -> None:
    model = tiny()
    model.eval()

    def replace(seen: str, value: Array) -> Array | None:
        return rng.standard_normal(value.shape) if seen == name else None

    assert np.abs(model(images, FunctionTap(replace)) - model(images)).max() > 1e-6


@pytest.mark.parametrize("name", [n for n in NAMES if n != "logits"])
def test_putting_the_recorded_value_back_is_neutral(name: str, images: Array) -> None:
    model = tiny()
    model.eval()
    values: dict[str, Array] = {}
    logits = model(images, record(values))
    tap = FunctionTap(lambda seen, _: values[name] if seen == name else None)
    np.testing.assert_array_equal(model(images, tap), logits)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_seen_under_a_name_is_that_of_the_value(
    name: str, training: bool, images: Array, rng: np.random.Generator
) -> None:
    """Push the value along a random direction with a forward tap; the logits must move as the gradient says."""
    model = tiny()
    model.train(training)
    dlogits = rng.standard_normal((3, 5))
    values: dict[str, Array] = {}
    gradients: dict[str, Array] = {}
    model(images, record(values))
    model.backward(dlogits, record(gradients))
    direction = rng.uniform(-1, 1, values[name].shape)

    def pushed(step: float) -> Array:
        return model(images, FunctionTap(lambda seen, x: x + step * direction if seen == name else None))

    numeric = differentiate(pushed, dlogits)
    analytic = float(np.vdot(gradients[name], direction))
    assert abs(numeric - analytic) < 1e-6 * max(abs(numeric), float(np.linalg.norm(gradients[name])))


@pytest.mark.parametrize("name", ["stem.act1", "stages.0.blocks.0.attn.probs", "stages.1.blocks.1.mlp.act", "head"])
def test_an_exception_inside_a_tap_leaves_the_model_usable(name: str, images: Array, rng: np.random.Generator) -> None:
    def fail(seen: str, value: Array) -> None:
        if seen == name:
            raise KeyError(seen)

    model, untouched = tiny(), tiny()
    model.eval()
    untouched.eval()
    with pytest.raises(KeyError):
        model(images, FunctionTap(fail))
    dlogits = rng.standard_normal((3, 5))
    np.testing.assert_array_equal(model(images), untouched(images))
    np.testing.assert_array_equal(model.backward(dlogits), untouched.backward(dlogits))
    np.testing.assert_array_equal(model.flat_grad, untouched.flat_grad)


def test_scopes_add_up() -> None:
    seen: list[str] = []
    tap = FunctionTap(lambda name, _: seen.append(name)).scope("stages.0").scope("attn")
    value = np.zeros(1)
    assert tap("probs", value) is value
    assert seen == ["stages.0.attn.probs"]


def test_a_selective_tap_sees_what_was_asked_for(images: Array) -> None:
    wanted = {"stem.act1", "stages.1.blocks.0.attn.probs", "stages.1.blocks.0.mlp"}
    seen: list[str] = []
    tiny()(images, SelectiveTap(lambda name, _: seen.append(name), wanted))
    assert seen == [name for name in NAMES if name in wanted]


def test_a_selective_tap_is_no_tap_where_nothing_was_asked_for() -> None:
    tap = SelectiveTap(lambda name, value: None, ["stages.1.blocks.0.attn.probs", "stages.1.blocks.0.mlp"])
    assert tap.scope("stem") is no_tap
    block = tap.scope("stages.1").scope("blocks.0")
    assert block.scope("attn") is not no_tap
    assert block.scope("attn").scope("proj") is no_tap
    assert block.scope("mlp") is no_tap  # the output of the MLP is seen outside of it
    assert tap.scope("stages.1").scope("blocks.1") is no_tap


def test_no_tap_hands_values_through() -> None:
    value = np.zeros(1)
    assert no_tap("anything", value) is value
    assert no_tap.scope("anywhere") is no_tap


def test_position_embeddings_have_a_name(images: Array) -> None:
    model: LeViT = tiny(position="embedding")
    values: dict[str, Array] = {}
    model(images, record(values))
    assert model.pos_embed is not None
    np.testing.assert_array_equal(values["pos_embed"], values["stem.tokens"] + model.pos_embed.data)
    assert not any(name.endswith(".bias") for name in values)
