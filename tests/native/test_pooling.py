"""Global average pooling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import (
    assert_close,
    assert_same_bits_for_any_threads,
    few,
    misaligned,
    normal,
    sizes,
)


@few
@given(B=st.integers(1, 4), N=sizes, C=sizes)
def test_global_average_pool(B: int, N: int, C: int) -> None:
    x, dy = normal(0, B, N, C), normal(1, B, C)
    y, saved = F.global_average_pool_forward(x)
    assert saved == x.shape
    assert_close(y, x.astype(np.float64).mean(axis=1), terms=N, scale=1.0)
    np.testing.assert_array_equal(
        F.global_average_pool_backward(dy, saved), ops.global_average_pool_backward(dy, saved)
    )


def every_result(x: np.ndarray, dpooled: np.ndarray) -> tuple[np.ndarray, ...]:
    pooled, shape = F.global_average_pool_forward(x)
    return pooled, F.global_average_pool_backward(dpooled, shape)


def test_strides_and_alignment() -> None:
    arrays = normal(0, 3, 35, 19), normal(2, 3, 19)
    expected = every_result(*arrays)
    for variant in ([np.asfortranarray(a) for a in arrays], [misaligned(a) for a in arrays]):
        for a, b in zip(every_result(*variant), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_and_infinity_spread_as_in_numpy() -> None:
    x = normal(0, 2, 12, 20)
    x[0, 3, 4], x[1, 2, 5], x[1, 7, 5] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        got, expected = F.global_average_pool_forward(x)[0], ops.global_average_pool_forward(x)[0]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    arrays = normal(0, 9, 35, 19), normal(2, 9, 19)
    assert_same_bits_for_any_threads(lambda: every_result(*arrays))


def test_float64_is_served_by_numpy() -> None:
    for result in every_result(*(a.astype(np.float64) for a in (normal(0, 3, 35, 19), normal(2, 3, 19)))):
        assert result.dtype == np.float64


def test_the_bindings_refuse_what_the_kernels_cannot_read() -> None:
    x = normal(0, 2, 12, 5)
    with pytest.raises(ValueError, match="x must be contiguous in memory"):
        extension.average_pool_forward(x[:, ::2])
    with pytest.raises(ValueError, match="N must be at least 1, got 0"):
        extension.average_pool_backward(x[:, 0].copy(), 0)
