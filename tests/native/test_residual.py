"""The residual sum against NumPy."""

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
    assert_refused_alike,
    assert_same_bits_for_any_threads,
    few,
    misaligned,
    normal,
    sizes,
)


@few
@given(B=sizes, N=st.integers(1, 9), C=sizes, with_factor=st.booleans())
def test_residual(B: int, N: int, C: int, with_factor: bool) -> None:
    x, branch, dy = normal(0, B, N, C), normal(1, B, N, C), normal(2, B, N, C)
    factor = ops.drop_path_factor(np.random.default_rng(B).random(B), 0.3, np.float32) if with_factor else None
    y, saved = F.residual_forward(x, branch, factor)
    expected, saved_numpy = ops.residual_forward(x, branch, factor)
    assert_close(y, expected, scale=8)
    dx, dbranch = F.residual_backward(dy, saved)
    assert dx is dy
    np.testing.assert_array_equal(dbranch, ops.residual_backward(dy, saved_numpy)[1])
    np.testing.assert_array_equal(F.residual_backward(dy, saved_numpy)[1], dbranch)
    np.testing.assert_array_equal(ops.residual_backward(dy, saved)[1], dbranch)


def test_a_dropped_branch_leaves_the_picture_as_it_was() -> None:
    x, branch = normal(0, 3, 7, 5), normal(1, 3, 7, 5)
    y, _ = F.residual_forward(x, branch, np.array([0, 2, 0], np.float32))
    np.testing.assert_array_equal(y[[0, 2]], x[[0, 2]])
    np.testing.assert_array_equal(y[1], x[1] + 2 * branch[1])


def test_residual_of_any_layout() -> None:
    x, branch, factor = normal(0, 4, 5, 6, 7), normal(1, 4, 5, 6, 7), normal(2, 4)
    y, _ = F.residual_forward(x, branch, factor)
    turned = [a.transpose(0, 3, 1, 2) for a in (x, branch)]
    z, saved = F.residual_forward(*turned, factor)
    np.testing.assert_array_equal(z, y.transpose(0, 3, 1, 2))
    assert z.strides == turned[0].strides == F.residual_backward(turned[0], saved)[1].strides
    for other in (misaligned, np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2]):
        np.testing.assert_array_equal(F.residual_forward(other(x), branch, other(factor))[0], y)
        np.testing.assert_array_equal(F.residual_forward(x, other(branch), factor)[0], y)


def test_residual_refuses_as_numpy_does() -> None:
    x = np.ones((3, 4), np.float32)
    for arguments in (
        (x, x[:, :1]),
        (x, x.astype(np.float64)),
        (x, x, x[0]),
        (x, x, np.ones(3)),
        (x[:0], x[:0]),
        (x.tolist(), x),
    ):
        assert_refused_alike("residual_forward", *arguments)
    for factor in (None, np.ones(3, np.float32)):
        saved = F.residual_forward(x, x, factor)[1]
        assert_refused_alike("residual_backward", x[:2], saved)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    x, dy = 3 * normal(0, 40, 1237), normal(1, 40, 1237)

    def compute() -> list[np.ndarray]:
        y, saved = F.residual_forward(x, dy, dy[:, 0].copy())
        return [F.residual_forward(x, dy)[0], y, F.residual_backward(dy, saved)[1]]

    assert_same_bits_for_any_threads(compute)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for n in (1, 3, 15, 17, 33):
        guarded = np.full(n + 64, np.nan, np.float32)
        x = guarded[32 : 32 + n]
        x[...] = normal(0, n)
        x.flags.writeable = False
        assert np.isfinite(F.residual_forward(x, x)[0]).all()
        assert np.isnan(guarded).sum() == 64


def test_the_bindings_refuse_what_the_kernels_cannot_read() -> None:
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="branch must be contiguous in memory"):
        extension.residual_forward(x, np.zeros((6, 4), np.float32).T, None)
    with pytest.raises(ValueError, match=r"factor has shape \(6,\), expected \(4,\)"):
        extension.residual_forward(x, x, x[0])
    with pytest.raises(TypeError, match="dy must be float32, got float64"):
        extension.residual_backward(x.astype(np.float64), x[:, 0].copy())
