"""Softmax of rows, and the exponential under it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from tests.native.agreement import EPS, assert_close, assert_same_bits_for_any_threads, few, misaligned, normal, sizes


@few
@given(M=sizes, n=sizes, scale=st.sampled_from([0.01, 1.0, 50.0]))
def test_forward_and_backward(M: int, n: int, scale: float) -> None:
    x, dy = scale * normal(0, M, n), normal(1, M, n)
    y, saved = F.softmax_forward(x)
    expected, _ = ops.softmax_forward(x.astype(np.float64))
    # every entry to a few units of its own last place, not only the large ones; x - max x is rounded too
    np.testing.assert_allclose(y, expected, rtol=1e-6 + EPS * float(np.ptp(x)), atol=1e-44)
    dx = ops.softmax_backward(dy.astype(np.float64), expected)
    assert_close(F.softmax_backward(dy, saved), dx, terms=n, scale=float(np.abs(dy).max()))


def test_leading_axes_strides_and_alignment() -> None:
    x, dy = normal(0, 3, 5, 4, 23), normal(1, 3, 5, 4, 23)
    y, _ = F.softmax_forward(x)
    dx = F.softmax_backward(dy, y)
    assert y.shape == x.shape
    for a, da in ((np.asfortranarray(x), np.asfortranarray(dy)), (misaligned(x), misaligned(dy))):
        np.testing.assert_array_equal(F.softmax_forward(a)[0], y)
        np.testing.assert_array_equal(F.softmax_backward(da, y), dx)


def test_the_exponential_within_two_units_of_the_last_place() -> None:
    """With a second entry of 0, the first of two is e^x / (e^x + 1); below e^-20 that is e^x up to the last place."""
    x = np.linspace(-103, -20, 200_001, dtype=np.float32)
    y, _ = F.softmax_forward(np.stack([x, np.zeros_like(x)], axis=1))
    true = np.exp(x.astype(np.float64))
    assert float((np.abs(y[:, 0] - true) / np.spacing(true.astype(np.float32))).max()) < 2


def test_nan_and_infinity_spread_as_in_numpy() -> None:
    x = normal(0, 6, 19)
    x[1, 3], x[2, 4], x[3, 5], x[4, :] = np.nan, np.inf, -np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        got, expected = F.softmax_forward(x)[0], ops.softmax_forward(x)[0]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(got == 0, expected == 0)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    x, dy = normal(0, 1000, 37), normal(1, 1000, 37)
    assert_same_bits_for_any_threads(lambda: (F.softmax_forward(x)[0], F.softmax_backward(dy, x)))


def test_float64_is_served_by_numpy() -> None:
    x = normal(0, 4, 5).astype(np.float64)
    y, saved = F.softmax_forward(x)
    np.testing.assert_array_equal(y, ops.softmax_forward(x)[0])
    assert F.softmax_backward(y, saved).dtype == np.float64
