"""The linear layer's three matrix products against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_close, assert_same_bits_for_any_threads, few, misaligned, normal, sizes


def double(*arrays: np.ndarray | None) -> list[np.ndarray | None]:
    return [None if a is None else a.astype(np.float64) for a in arrays]


@few
@given(M=sizes, C_in=sizes, C_out=sizes, with_bias=st.booleans(), activation=st.sampled_from(list(ops.ACTIVATIONS)))
def test_forward_and_backward(M: int, C_in: int, C_out: int, with_bias: bool, activation: str) -> None:
    x, weight, dy = normal(0, M, C_in), normal(1, C_out, C_in), normal(2, M, C_out)
    bias = normal(3, C_out) if with_bias else None
    y, saved = F.linear_forward(x, weight, bias, activation=activation)
    y_numpy, saved_numpy = ops.linear_forward(*double(x, weight, bias), activation=activation)
    assert_close(y, y_numpy, terms=C_in, scale=float(np.abs(x).max() * np.abs(weight).max() * np.sqrt(C_in)))
    gradients = F.linear_backward(dy, saved)
    expected = ops.linear_backward(dy.astype(np.float64), saved_numpy)
    for got, right, terms in zip(gradients, expected, (C_out, M, M), strict=True):
        if right is None:
            assert got is None
        else:
            # an activation's slope jumps, and where it does a rounding of the sum may pick the other side
            assert_close(got, right, terms=terms + 50 * (activation != "identity"), scale=3 * np.sqrt(terms))


def test_batch_axes_strides_and_alignment() -> None:
    x, weight = normal(0, 2, 3, 5, 24), normal(1, 33, 24)
    y, saved = F.linear_forward(x, weight)
    assert y.shape == (2, 3, 5, 33)
    turned = np.asfortranarray(x)
    np.testing.assert_array_equal(F.linear_forward(turned, np.asfortranarray(weight))[0], y)
    np.testing.assert_array_equal(F.linear_forward(misaligned(x), misaligned(weight))[0], y)
    dy = normal(2, 2, 3, 5, 66)[..., ::2]
    dx, dweight, _ = F.linear_backward(dy, saved)
    dx2, dweight2, _ = F.linear_backward(misaligned(np.ascontiguousarray(dy)), saved)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dx, dx2)
    np.testing.assert_array_equal(dweight, dweight2)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    # rows and columns that no vector divides, in the middle of guarded memory
    for M, C_in, C_out in [(1, 1, 1), (15, 17, 33), (29, 3, 10)]:
        guard = np.full((3, C_out * M + 64), np.nan, np.float32)
        x = guard[0, 16 : 16 + M * C_in].reshape(M, C_in) if M * C_in <= M * C_out else normal(0, M, C_in)
        x[...] = normal(0, M, C_in)
        y, _ = F.linear_forward(x, normal(1, C_out, C_in))
        assert np.isfinite(y).all()  # a NaN of the guard would be in a sum
        dweight = extension.linear_backward_weight(normal(2, M, C_out), np.ascontiguousarray(x))
        assert np.isfinite(dweight).all()


@few
@given(M=sizes, C_in=sizes, C_out=sizes)
def test_the_gradient_of_the_weight_is_added(M: int, C_in: int, C_out: int) -> None:
    x, weight, dy, before = normal(0, M, C_in), normal(1, C_out, C_in), normal(2, M, C_out), normal(3, C_out, C_in)
    _, saved = F.linear_forward(x, weight)
    _, alone, _ = F.linear_backward(dy, saved)
    for add_to in (np.zeros_like(before), before.copy(), misaligned(before), np.asfortranarray(before)):
        expected = alone.astype(np.float64) + add_to
        _, dweight, _ = F.linear_backward(dy, saved, add_to=add_to)
        assert dweight is add_to
        assert_close(add_to, expected, terms=M + 1, scale=3 * np.sqrt(M + 1))


def test_the_gradient_of_the_weight_needs_room() -> None:
    _, saved = F.linear_forward(normal(0, 4, 5), normal(1, 3, 5))
    dy = normal(2, 4, 3)
    with pytest.raises(ValueError, match=r"add_to has shape \(5, 3\), expected \(3, 5\) \(the shape of the weight\)"):
        F.linear_backward(dy, saved, add_to=np.zeros((5, 3), np.float32))
    with pytest.raises(TypeError, match="add_to is float64 but dy is float32"):
        F.linear_backward(dy, saved, add_to=np.zeros((3, 5)))
    read_only = np.zeros((3, 5), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="add_to"):
        F.linear_backward(dy, saved, add_to=read_only)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    x, weight, dy = normal(0, 700, 96), normal(1, 80, 96), normal(2, 700, 80)

    def compute() -> tuple[np.ndarray, ...]:
        y, saved = F.linear_forward(x, weight, normal(3, 80))
        return (y, *F.linear_backward(dy, saved))

    assert_same_bits_for_any_threads(compute)


def test_nan_and_infinity_spread_as_in_numpy() -> None:
    x, weight = normal(0, 40, 30), normal(1, 20, 30)
    x[3, 4], x[17, 2], weight[5, 6] = np.nan, np.inf, -np.inf
    got, expected = F.linear_forward(x, weight)[0], ops.linear_forward(x, weight)[0]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


def test_float64_is_served_by_numpy() -> None:
    x, weight = normal(0, 4, 5).astype(np.float64), normal(1, 3, 5).astype(np.float64)
    y, saved = F.linear_forward(x, weight)
    np.testing.assert_array_equal(y, ops.linear_forward(x, weight)[0])
    assert F.linear_backward(y, saved)[0].dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 3)), np.zeros((4, 3), np.float32)), "x must be float32, got float64"),
        (
            (np.zeros((2, 3), np.float32), np.zeros((4, 5), np.float32)),
            r"weight has shape \(4, 5\), expected \(any, 3\)",
        ),
        ((np.zeros((3, 2), np.float32).T, np.zeros((4, 3), np.float32)), "x must be contiguous in memory"),
        ((np.zeros(3, np.float32), np.zeros((4, 3), np.float32)), r"x has shape \(3,\), expected \(any, any\)"),
    ],
)
def test_the_binding_refuses_what_the_kernel_cannot_read(arguments: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        extension.linear_forward(*arguments, None, "identity")
