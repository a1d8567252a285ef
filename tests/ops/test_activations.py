"""What is particular to the activations: their values, their kinks and their limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from levit_ref import ops

TORCH = {"hardswish": F.hardswish, "relu": torch.relu, "silu": F.silu, "gelu": F.gelu, "identity": torch.clone}


def value_and_slope(name: str, x: Any) -> tuple[Any, Any]:
    x = np.asarray(x)
    y, saved = getattr(ops, f"{name}_forward")(x)
    return y, getattr(ops, f"{name}_backward")(np.ones_like(x), saved)


def test_every_name_has_its_two_functions() -> None:
    assert set(ops.ACTIVATIONS) == set(TORCH)
    for name in ops.ACTIVATIONS:
        value_and_slope(name, [1.0])


# sigmoid(1) = 1 / (1 + e^-1), Phi(1) and phi(1) from tables of the normal distribution
@pytest.mark.parametrize(
    ("name", "x", "y", "slope"),
    [
        ("hardswish", -4.0, 0.0, 0.0),
        ("hardswish", -1.5, -1.5 * 1.5 / 6, 0.0),
        ("hardswish", 0.0, 0.0, 0.5),
        ("hardswish", 1.0, 4 / 6, 5 / 6),
        ("hardswish", 5.0, 5.0, 1.0),
        ("relu", -2.0, 0.0, 0.0),
        ("relu", 2.0, 2.0, 1.0),
        ("silu", 0.0, 0.0, 0.5),
        ("silu", 1.0, 0.7310585786300049, 0.7310585786300049 * (1 + 0.2689414213699951)),
        ("gelu", 0.0, 0.0, 0.5),
        ("gelu", 1.0, 0.8413447460685429, 0.8413447460685429 + 0.24197072451914337),
        ("identity", -7.0, -7.0, 1.0),
    ],
)
def test_worked_by_hand(name: str, x: float, y: float, slope: float) -> None:
    value, derivative = value_and_slope(name, [x])
    np.testing.assert_allclose([value[0], derivative[0]], [y, slope], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_the_kinks_and_beside_them_as_pytorch(name: str, dtype: type[np.floating[Any]]) -> None:
    kinks = np.array([-3, -0.0, 0, 3], dtype)
    x = np.concatenate([kinks, np.nextafter(kinks, dtype(9)), np.nextafter(kinks, dtype(-9))])
    y, slope = value_and_slope(name, x)
    tensor = torch.tensor(x, requires_grad=True)
    expected = TORCH[name](tensor)
    (expected_slope,) = torch.autograd.grad(expected.sum(), tensor)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, expected_slope.numpy(), rtol=1e-5, atol=1e-6)


def test_the_slopes_at_the_kinks_are_one_of_the_two_sides() -> None:
    np.testing.assert_allclose(value_and_slope("hardswish", [-3.0, 3.0])[1], [0, 1], rtol=1e-15)
    np.testing.assert_array_equal(value_and_slope("relu", [0.0])[1], [0])


@pytest.mark.parametrize("name", ["hardswish", "silu", "gelu", "relu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_they_are_zero_and_the_identity_without_overflow(name: str, dtype: type[np.floating[Any]]) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, slope = value_and_slope(name, np.array([-1000, 1000], dtype))
    np.testing.assert_allclose(y, [0, 1000], rtol=1e-6)
    np.testing.assert_allclose(slope, [0, 1], rtol=1e-6)


def test_relations_between_them() -> None:
    """``x s(x) - (-x) s(-x) = x`` for every gate with ``s(x) + s(-x) = 1``, and each gate has it."""
    x = np.linspace(-6, 6, 97)
    for name in ("hardswish", "silu", "gelu", "relu"):
        (y, slope), (y_mirrored, slope_mirrored) = value_and_slope(name, x), value_and_slope(name, -x)
        np.testing.assert_allclose(y - y_mirrored, x, rtol=1e-14, atol=1e-14)
        away = (x != 0) & (np.abs(x) != 3)
        np.testing.assert_allclose((slope + slope_mirrored)[away], 1, rtol=1e-14)


def test_nan_is_not_hidden() -> None:
    for name in ops.ACTIVATIONS:
        assert np.isnan(value_and_slope(name, [np.nan])[0]).all(), name
