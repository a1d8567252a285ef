"""Gradients at every name: those of backward, those of finite differences, and through edits."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref import ops, run_with_activations, run_with_gradients
from levit_ref.inspection import Overwrite, patch, switch_off_head, uniform_attention
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array
from tests.gradcheck import differentiate
from tests.nn.names import expected_names
from tests.nn.networks import tiny

NAMES = expected_names(stem_convs=2, depths=(1, 2), two_heads=True)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_gradients_are_those_of_backward(training: bool, backend: str, images: Array) -> None:
    model, plain = tiny(dtype=np.float32), tiny(dtype=np.float32)
    for each in (model, plain):
        each.train(training)
    logits, grads = run_with_gradients(model, images, "*", of=2)
    assert list(grads) == NAMES

    expected: dict[str, Array] = {}
    np.testing.assert_array_equal(logits, plain(images))
    dlogits = np.zeros((3, 5), np.float32)
    dlogits[:, 2] = 1
    plain.backward(dlogits, FunctionTap(lambda name, gradient: expected.__setitem__(name, gradient.copy())))
    for name in NAMES:
        np.testing.assert_array_equal(grads[name], expected[name], err_msg=name)
        assert not grads[name].flags.writeable
    np.testing.assert_array_equal(model.flat_buffers, plain.flat_buffers)


def test_what_is_differentiated(model: LeViT, images: Array) -> None:
    logits, predicted = run_with_gradients(model, images, ["logits", "images"])
    classes = logits.argmax(axis=1)
    np.testing.assert_array_equal(predicted["logits"], np.eye(5)[classes])
    _, chosen = run_with_gradients(model, images, ["images"], of=classes)
    np.testing.assert_array_equal(chosen["images"], predicted["images"])
    for i in range(3):  # images do not see each other
        _, alone = run_with_gradients(model, images[i : i + 1], ["images"], of=int(classes[i]))
        np.testing.assert_allclose(alone["images"][0], chosen["images"][i], rtol=1e-3, atol=1e-6)

    labels = np.array([0, 4, 1])

    def loss(logits: Array) -> Array:
        _, saved = ops.cross_entropy_forward(logits, labels)
        return ops.cross_entropy_backward(1.0, saved)

    _, grads = run_with_gradients(model, images, ["logits", "head"], of=loss)
    probabilities, _ = ops.softmax_forward(logits)
    np.testing.assert_allclose(grads["logits"], (probabilities - np.eye(5)[labels]) / 3, atol=1e-6)
    np.testing.assert_allclose(grads["head"], grads["logits"] / 2)  # the logits are the mean of two heads


@pytest.mark.parametrize(
    "inner", ["pooled", "stages.1.blocks.0.attn.probs", "stem.act1", "stages.0.blocks.0.attn.scores_biased"]
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_inner_values_are_differentiated_too(inner: str, training: bool, rng: np.random.Generator) -> None:
    model = tiny()
    model.train(training)
    images = rng.standard_normal((3, 3, 16, 16))
    _, acts = run_with_activations(model, images, inner)
    weights = rng.standard_normal(acts[inner].shape)
    _, grads = run_with_gradients(model, images, [inner, "stem.conv1.linear", "logits"], of={inner: weights})
    np.testing.assert_array_equal(grads[inner], weights)
    assert not grads["logits"].any()  # nothing after the value is part of it

    direction = rng.uniform(-1, 1, grads["stem.conv1.linear"].shape)

    def pushed(step: float) -> Array:
        push = {"stem.conv1.linear": lambda x: x + step * direction}
        return run_with_activations(model, images, inner, edits=push)[1][inner]

    numeric = differentiate(pushed, weights)
    analytic = float(np.vdot(grads["stem.conv1.linear"], direction))
    assert abs(numeric - analytic) < 1e-6 * max(abs(numeric), float(np.linalg.norm(grads["stem.conv1.linear"])))


EDITS = {
    "head": switch_off_head("stages.0.blocks.0.attn", 1),
    "uniform": uniform_attention("stages.1.blocks.0.attn", 0),
    "one token": {"stages.0.blocks.0.resid_post": Overwrite(0.5, (slice(None), 3))},
    "everything": {"stages.1.blocks.0.mlp": Overwrite(0)},
}


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
def test_gradients_flow_through_edits(edits: dict[str, Overwrite], rng: np.random.Generator) -> None:
    model = tiny()
    model.eval()
    images, direction = rng.standard_normal((2, 3, 3, 16, 16))
    logits, grads = run_with_gradients(model, images, "*", of=1, edits=edits)
    edited, _ = run_with_activations(model, images, [], edits=edits)
    np.testing.assert_array_equal(logits, edited)

    def pushed(step: float) -> Array:
        return run_with_activations(model, images + step * direction, [], edits=edits)[0]

    numeric = differentiate(pushed, grads["logits"])
    assert abs(numeric - float(np.vdot(grads["images"], direction))) < 1e-6 * float(np.linalg.norm(grads["images"]))
    name = next(iter(edits))
    assert grads[name].all()  # what flows on has a gradient, overwritten or not


def test_no_gradient_reaches_the_picture_through_a_patch(model: LeViT, images: Array) -> None:
    name = "stages.0.blocks.0.resid_post"
    _, acts = run_with_activations(model, images[:1], name)
    _, grads = run_with_gradients(model, images, [name, "images"], edits=patch(acts))
    assert grads[name].any()
    assert not grads["images"].any()


def test_the_model_stays_as_it_was(rng: np.random.Generator, images: Array) -> None:
    model, untouched = tiny(dtype=np.float32), tiny(dtype=np.float32)
    dlogits = rng.standard_normal((3, 5)).astype(np.float32)
    for each in (model, untouched):
        each(images)
        each.flat_grad[...] = 0.25  # gradients that someone adds up
    run_with_gradients(model, images[::-1].copy(), "images", edits=None)
    np.testing.assert_array_equal(model.flat_grad, untouched.flat_grad)
    np.testing.assert_array_equal(model.backward(dlogits), untouched.backward(dlogits))
    np.testing.assert_array_equal(model.flat_grad, untouched.flat_grad)


def test_a_failure_leaves_no_trace(images: Array) -> None:
    def fail(logits: Array) -> Array:
        raise KeyError("loss")

    model, untouched = tiny(dtype=np.float32, drop_path=0.3), tiny(dtype=np.float32, drop_path=0.3)
    with pytest.raises(KeyError):
        run_with_gradients(model, images, "*", of=fail)
    assert not model.flat_grad.any()
    for (name, array), (_, other) in zip(model.state_dict().items(), untouched.state_dict().items(), strict=True):
        np.testing.assert_array_equal(array, other, err_msg=name)
    np.testing.assert_array_equal(model(images), untouched(images))


def test_what_cannot_be_differentiated_is_refused(model: LeViT, images: Array) -> None:
    for of in (5, -1, [0, 1, 5]):
        with pytest.raises(ValueError, match="of: classes go from 0 to 4"):
            run_with_gradients(model, images, "images", of=of)
    for of in (0.5, [0, 1]):
        with pytest.raises(ValueError, match="of: expected a class, one class for each of 3 images"):
            run_with_gradients(model, images, "images", of=of)
    with pytest.raises(ValueError, match=r"of\(logits\) has shape \(3,\), expected \(3, 5\)"):
        run_with_gradients(model, images, "images", of=lambda logits: logits[:, 0])
    with pytest.raises(ValueError, match=r"of\['pooled'\] has shape \(12,\), expected \(3, 12\)"):
        run_with_gradients(model, images, "images", of={"pooled": np.ones(12)})
    with pytest.raises(ValueError, match="of: there is no value 'poled'; the nearest are pooled"):
        run_with_gradients(model, images, "images", of={"poled": np.ones(12)})
    with pytest.raises(ValueError, match="names: there is no value 'image'; the nearest are images"):
        run_with_gradients(model, images, "image")
    with pytest.raises(TypeError, match="the edit of pooled has no gradient"):
        run_with_gradients(model, images, "images", edits={"pooled": np.abs})
