"""The checker is checked: right derivatives pass, slightly wrong ones do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from tests.gradcheck import Array, check_gradients, differentiate, directional_error, elementwise_error


def smooth(x: Array, weight: Array) -> Array:
    return np.sin(x) * weight


def gradients_of_smooth(dy: Array, x: Array, weight: Array) -> dict[str, Array]:
    return {"x": dy * weight * np.cos(x), "weight": dy * np.sin(x)}


@pytest.fixture
def problem(rng: np.random.Generator) -> tuple[dict[str, Array], Array]:
    inputs: dict[str, Array] = {"x": rng.standard_normal((3, 4)), "weight": rng.standard_normal((3, 4))}
    return inputs, rng.standard_normal((3, 4))


def check(problem: tuple[Mapping[str, Array], Array], gradients: Mapping[str, Array], *, elementwise: bool) -> None:
    inputs, dy = problem
    check_gradients(smooth, inputs, gradients, dy, np.random.default_rng(0), elementwise=elementwise)


@pytest.mark.parametrize(
    ("curve", "slope"),
    [
        (lambda t: np.exp(2 + t), np.exp(2)),
        (lambda t: np.sin(40 * t), 40.0),
        (lambda t: 1 / (1 + t), -1.0),
        (lambda t: 1e3 + (0.3 + t) ** 3, 3 * 0.3**2),
        (lambda t: np.float64(5.0), 0.0),
    ],
    ids=["exp", "fast", "pole", "offset", "constant"],
)
def test_derivative_of_known_curves(curve: Callable[[float], Array], slope: float) -> None:
    assert differentiate(curve, np.float64(1)) == pytest.approx(slope, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("elementwise", [False, True])
def test_right_gradients_pass(problem: tuple[dict[str, Array], Array], elementwise: bool) -> None:
    inputs, dy = problem
    check(problem, gradients_of_smooth(dy, **inputs), elementwise=elementwise)


def test_the_error_of_a_right_gradient_is_far_below_the_limit(problem: tuple[dict[str, Array], Array]) -> None:
    inputs, dy = problem
    for name, gradient in gradients_of_smooth(dy, **inputs).items():
        assert directional_error(smooth, inputs, name, gradient, dy, np.random.default_rng(0)) < 1e-10
        assert elementwise_error(smooth, inputs, name, gradient, dy) < 1e-10


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("name", ["x", "weight"])
def test_a_derivative_wrong_in_the_sixth_digit_is_caught(
    problem: tuple[dict[str, Array], Array], name: str, elementwise: bool
) -> None:
    inputs, dy = problem
    gradients = gradients_of_smooth(dy, **inputs)
    gradients[name] = gradients[name] * (1 + 2e-6)
    with pytest.raises(AssertionError, match=f"d{name}: relative error"):
        check(problem, gradients, elementwise=elementwise)


def test_one_wrong_entry_is_caught(problem: tuple[dict[str, Array], Array]) -> None:
    inputs, dy = problem
    for index in np.ndindex(3, 4):
        gradients = gradients_of_smooth(dy, **inputs)
        gradients["x"][index] += 1e-5
        with pytest.raises(AssertionError, match="dx: relative error"):
            check(problem, gradients, elementwise=False)


def test_two_swapped_entries_and_a_sign_are_caught(problem: tuple[dict[str, Array], Array]) -> None:
    inputs, dy = problem
    right = gradients_of_smooth(dy, **inputs)
    for wrong in (right["x"][::-1], right["x"][:, ::-1], -right["x"], 0 * right["x"]):
        with pytest.raises(AssertionError, match="dx: relative error"):
            check(problem, {"x": wrong}, elementwise=False)


def test_a_gradient_that_is_nan_is_caught(problem: tuple[dict[str, Array], Array]) -> None:
    with pytest.raises(AssertionError, match="relative error nan"):
        check(problem, {"x": np.full((3, 4), np.nan)}, elementwise=False)


def test_a_gradient_of_the_wrong_shape_is_caught(problem: tuple[dict[str, Array], Array]) -> None:
    with pytest.raises(AssertionError, match=r"dx has shape \(4, 3\), x has \(3, 4\)"):
        check(problem, {"x": np.zeros((4, 3))}, elementwise=False)


def test_a_zero_gradient_of_a_constant_function_passes(rng: np.random.Generator) -> None:
    x = rng.standard_normal(5)
    check_gradients(lambda x: np.ones(5), {"x": x}, {"x": np.zeros(5)}, rng.standard_normal(5), rng, elementwise=True)


def test_misuse_is_refused(problem: tuple[dict[str, Array], Array], rng: np.random.Generator) -> None:
    inputs, dy = problem
    with pytest.raises(ValueError, match="gradient 'bias' has no input; the inputs are x, weight"):
        check(problem, {"bias": dy}, elementwise=False)
    single = {name: array.astype(np.float32) for name, array in inputs.items()}
    with pytest.raises(TypeError, match="input 'x' is float32; finite differences need float64"):
        check_gradients(smooth, single, {"x": dy}, dy, rng)
