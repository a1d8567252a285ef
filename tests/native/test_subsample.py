"""Subsampling of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_same_bits_for_any_threads, few, misaligned, normal, sizes

Side = st.integers(1, 9)


@few
@given(B=st.integers(1, 4), H=Side, W=Side, strides=st.tuples(st.integers(1, 4), st.integers(1, 4)), C=sizes)
def test_subsample(B: int, H: int, W: int, strides: tuple[int, int], C: int) -> None:
    x = normal(0, B, H * W, C)
    y, saved = F.subsample_forward(x, resolution=(H, W), stride=strides)
    expected, expected_saved = ops.subsample_forward(x, resolution=(H, W), stride=strides)
    np.testing.assert_array_equal(y, expected)
    assert saved == expected_saved
    dy = normal(1, *y.shape)
    np.testing.assert_array_equal(F.subsample_backward(dy, saved), ops.subsample_backward(dy, saved))


def every_result(x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    y, saved = F.subsample_forward(x, resolution=(5, 7), stride=2)
    return y, F.subsample_backward(dy, saved)


def test_strides_and_alignment() -> None:
    arrays = normal(0, 3, 35, 19), normal(1, 3, 12, 19)
    expected = every_result(*arrays)
    for variant in ([np.asfortranarray(a) for a in arrays], [misaligned(a) for a in arrays]):
        for a, b in zip(every_result(*variant), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    arrays = normal(0, 9, 35, 19), normal(1, 9, 12, 19)
    assert_same_bits_for_any_threads(lambda: every_result(*arrays))


def test_float64_is_served_by_numpy() -> None:
    for result in every_result(*(a.astype(np.float64) for a in (normal(0, 3, 35, 19), normal(1, 3, 12, 19)))):
        assert result.dtype == np.float64


def test_the_bindings_refuse_what_the_kernels_cannot_read() -> None:
    x = normal(0, 2, 12, 5)
    with pytest.raises(ValueError, match=r"x has shape \(2, 12, 5\), expected \(any, 15, any\)"):
        extension.subsample_forward(x, (3, 5), (2, 2))
    with pytest.raises(ValueError, match="resolution and stride must be at least 1"):
        extension.subsample_forward(x, (3, 4), (0, 2))
    with pytest.raises(ValueError, match=r"dy has shape \(2, 12, 5\), expected \(any, 4, any\)"):
        extension.subsample_backward(x, (3, 4), (2, 2))
