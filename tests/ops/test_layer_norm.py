"""What is particular to layer normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.ops import layer_norm_backward, layer_norm_forward
from tests.ops.case import relative_error
from tests.ops.composed import batch_norm_backward, batch_norm_forward


def test_worked_by_hand() -> None:
    x = np.array([[1.0, 3.0, 5.0, 7.0]])  # mean 4, variance 5
    weight = np.array([1.0, 2.0, 0.0, 1.0])
    y, saved = layer_norm_forward(x, weight, np.array([0.0, 0.0, 0.5, 0.0]), eps=0.0)
    n = np.array([-3, -1, 1, 3]) / np.sqrt(5)
    np.testing.assert_allclose(y, [[n[0], 2 * n[1], 0.5, n[3]]], rtol=1e-15)

    dx, dweight, dbias = layer_norm_backward(np.array([[0.0, 1.0, 0.0, 0.0]]), saved)
    dn = np.array([0, 2, 0, 0])
    np.testing.assert_allclose(dx[0], (dn - 0.5 - n * n[1] * 2 / 4) / np.sqrt(5), rtol=1e-14)
    np.testing.assert_allclose(dweight, [0, n[1], 0, 0], rtol=1e-15)
    np.testing.assert_array_equal(dbias, [0, 1, 0, 0])


def test_it_is_batch_normalisation_of_the_transpose(rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 6, 5))
    y, saved = layer_norm_forward(x, np.ones(5), np.zeros(5))
    one, zero = np.ones(6), np.zeros(6)
    y_batch, saved_batch = batch_norm_forward(x.T, one, zero, zero, one, training=True)
    np.testing.assert_allclose(y, y_batch.T, rtol=1e-12)
    np.testing.assert_allclose(
        layer_norm_backward(dy, saved)[0], batch_norm_backward(dy.T, saved_batch)[0].T, rtol=1e-11
    )


def test_every_token_is_normalised_by_itself(rng: np.random.Generator) -> None:
    x, weight, bias = rng.standard_normal((3, 4, 6)), rng.standard_normal(6), rng.standard_normal(6)
    y, _ = layer_norm_forward(x, weight, bias)
    np.testing.assert_allclose(y[1, 2], layer_norm_forward(x[1, 2], weight, bias)[0], rtol=1e-14)


def test_one_channel_gives_the_bias_and_no_gradient(rng: np.random.Generator) -> None:
    y, saved = layer_norm_forward(rng.standard_normal((4, 1)), np.array([2.0]), np.array([0.5]))
    np.testing.assert_array_equal(y, 0.5)
    np.testing.assert_array_equal(layer_norm_backward(rng.standard_normal((4, 1)), saved)[0], 0)


def test_two_channels_become_minus_one_and_one(rng: np.random.Generator) -> None:
    y, saved = layer_norm_forward(np.array([[0.0, 4.0], [5.5, 5.0]]), np.ones(2), np.zeros(2), eps=0.0)
    np.testing.assert_allclose(y, [[-1, 1], [1, -1]], rtol=1e-15)
    np.testing.assert_allclose(layer_norm_backward(rng.standard_normal((2, 2)), saved)[0], 0, atol=1e-14)


def test_a_mean_far_from_zero_costs_no_digits(rng: np.random.Generator) -> None:
    x = (1000 + 0.1 * rng.standard_normal((3, 64))).astype(np.float32)
    y, _ = layer_norm_forward(x, np.ones(64, np.float32), np.zeros(64, np.float32))
    exact, _ = layer_norm_forward(x.astype(np.float64), np.ones(64), np.zeros(64))
    assert relative_error(y, exact) < 1e-3


def test_a_parameter_of_one_value_is_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"layer_norm: weight has shape \(1,\), expected \(3,\)"):
        layer_norm_forward(np.ones((2, 3)), np.ones(1), np.ones(3))
    with pytest.raises(ValueError, match=r"layer_norm: bias has shape \(1,\), expected \(3,\)"):
        layer_norm_forward(np.ones((2, 3)), np.ones(3), np.ones(1))
