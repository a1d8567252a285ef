"""Input gradients against finite differences; integrated gradients against what they must sum to."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.inspection import draw_saliency, input_gradient, integrated_gradients
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from tests.gradcheck import check_gradients
from tests.nn.networks import tiny

CLASSES = [4, 0, 2]


def test_input_gradient_against_finite_differences(model64: LeViT, images64: Array, rng: np.random.Generator) -> None:
    def chosen_logits(images: Array) -> Array:
        return model64(images)[np.arange(3), CLASSES]

    found = input_gradient(model64, images64, CLASSES)
    check_gradients(chosen_logits, {"images": images64}, {"images": found.gradient}, np.ones(3), rng)
    assert found.classes.tolist() == CLASSES
    np.testing.assert_array_equal(found.saliency, np.abs(found.gradient).max(axis=1))


def test_the_predicted_class_is_the_default(model64: LeViT, images64: Array) -> None:
    predicted = model64(images64).argmax(axis=1)
    for found in (input_gradient(model64, images64), integrated_gradients(model64, images64, steps=2)):
        np.testing.assert_array_equal(found.classes, predicted)


def test_completeness(model64: LeViT, images64: Array) -> None:
    logits, start = model64(images64), model64(np.zeros_like(images64))
    found = integrated_gradients(model64, images64, CLASSES, steps=40)
    rise = (logits - start)[np.arange(3), CLASSES]
    assert np.abs(rise).min() > 1e-3
    np.testing.assert_allclose(found.attributions.sum(axis=(1, 2, 3)), rise, rtol=1e-7)
    np.testing.assert_allclose(found.logits - found.baseline_logits, rise)
    np.testing.assert_allclose(found.saliency.sum(axis=(1, 2)), rise, rtol=1e-7)
    assert np.abs(found.completeness_error).max() < 1e-7


def test_completeness_with_a_baseline_of_ones_own(model64: LeViT, images64: Array, rng: np.random.Generator) -> None:
    baseline = rng.standard_normal((3, 16, 16))
    found = integrated_gradients(model64, images64, 1, baseline=baseline, steps=40)
    np.testing.assert_allclose(found.baseline_logits, model64(baseline[None])[0, 1])
    assert np.abs(found.completeness_error).max() < 1e-6
    nothing = integrated_gradients(model64, images64, 1, baseline=images64, steps=2)
    np.testing.assert_array_equal(nothing.attributions, 0)


def test_one_step_is_the_gradient_half_way(model64: LeViT, images64: Array) -> None:
    found = integrated_gradients(model64, images64, 3, steps=1)
    np.testing.assert_allclose(found.attributions, images64 * input_gradient(model64, images64 / 2, 3).gradient)


def test_more_steps_are_closer_with_kinks_and_many_at_once() -> None:
    model = tiny(activation="hardswish", attention_activation="hardswish", dtype=np.float32)
    model.eval()
    images = 3 * np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32)
    errors = [np.abs(integrated_gradients(model, images, 0, steps=n).completeness_error).max() for n in (2, 100)]
    assert errors[1] < errors[0] / 10


def test_the_model_stays_as_it_was(images64: Array, rng: np.random.Generator) -> None:
    model = tiny()  # in training mode, with gradients and a forward pass of its own
    model.flat_grad[...] = rng.standard_normal(model.flat_grad.shape)
    dlogits = rng.standard_normal((3, 5))
    model(images64)
    gradients, statistics = model.flat_grad.copy(), model.flat_buffers.copy()
    first = input_gradient(model, images64, 1).gradient
    integrated_gradients(model, images64, 1, steps=2)
    assert model.training
    np.testing.assert_array_equal(model.flat_grad, gradients)
    np.testing.assert_array_equal(model.flat_buffers, statistics)
    model.backward(dlogits)  # of the pass before
    model.eval()
    np.testing.assert_array_equal(input_gradient(model, images64, 1).gradient, first)


def test_refusals(model64: LeViT, images64: Array, picture: Array) -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        integrated_gradients(model64, images64, steps=0)
    for classes in (5, -1, 1.5):
        with pytest.raises(ValueError, match="integers from 0 to 4"):
            input_gradient(model64, images64, classes)
    with pytest.raises(ValueError, match="give a gradient"):
        draw_saliency(picture)


@pytest.mark.parametrize("both", [True, False])
def test_drawing(both: bool, model64: LeViT, images64: Array, picture: Array, rendered) -> None:
    integrated = integrated_gradients(model64, images64, CLASSES, steps=2)
    gradient = input_gradient(model64, images64, CLASSES) if both else None
    figure = draw_saliency(picture, gradient, integrated, image=2, class_names=("a", "b", "cat", "d", "e"))
    rendered(figure)
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 2 + both
    np.testing.assert_array_equal(panels[-1].images[0].get_array(), integrated.saliency[2])
    low, high = panels[-1].images[0].get_clim()
    assert -low == high > 0
    assert "cat" in figure.get_suptitle()
