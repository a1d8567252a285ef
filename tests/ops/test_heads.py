"""Cutting heads apart and putting them together."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.ops import merge_heads, split_heads


def test_worked_by_hand() -> None:
    x = np.arange(12.0).reshape(1, 2, 6)  # two tokens; two heads, each with parts of 1 and 2 channels
    a, b = split_heads(x, 2, (1, 2))
    np.testing.assert_array_equal(a, [[[[0], [6]], [[3], [9]]]])  # (B, h, N, 1)
    np.testing.assert_array_equal(b, [[[[1, 2], [7, 8]], [[4, 5], [10, 11]]]])
    assert np.shares_memory(a, x) and np.shares_memory(b, x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_each_undoes_the_other(dtype: type, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5, 2 * (3 + 1 + 4))).astype(dtype)
    parts = split_heads(x, 2, (3, 1, 4))
    assert [part.shape for part in parts] == [(3, 2, 5, 3), (3, 2, 5, 1), (3, 2, 5, 4)]
    merged = merge_heads(*parts)
    assert merged.dtype == dtype
    np.testing.assert_array_equal(merged, x)
    (whole,) = split_heads(x, 4)
    np.testing.assert_array_equal(merge_heads(whole), x)


def test_each_is_the_adjoint_of_the_other(rng: np.random.Generator) -> None:
    """Both are linear and only move numbers, so <split(x), parts> = <x, merge(parts)>."""
    x = rng.standard_normal((3, 5, 2 * (3 + 4)))
    gradients = rng.standard_normal((3, 2, 5, 3)), rng.standard_normal((3, 2, 5, 4))
    left = sum(
        float((part * gradient).sum()) for part, gradient in zip(split_heads(x, 2, (3, 4)), gradients, strict=True)
    )
    np.testing.assert_allclose(left, (x * merge_heads(*gradients)).sum(), rtol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"split_heads: 4 heads cannot share x's 6 channels \(shape \(1, 2, 6\)\)"):
        split_heads(np.ones((1, 2, 6)), 4)
    with pytest.raises(ValueError, match=r"widths \(1, 1\) do not add up to a head's 3 channels"):
        split_heads(np.ones((1, 2, 6)), 2, (1, 1))
    with pytest.raises(ValueError, match=r"split_heads: x must have 3 axes \(B, N, C\)"):
        split_heads(np.ones((2, 6)), 2)
    with pytest.raises(ValueError, match=r"part 1 has shape \(1, 2, 4, 3\), expected \(1, 2, 5, 3\)"):
        merge_heads(np.ones((1, 2, 5, 2)), np.ones((1, 2, 4, 3)))
    with pytest.raises(TypeError, match="part 1 is float32 but part 0 is float64"):
        merge_heads(np.ones((1, 2, 5, 2)), np.ones((1, 2, 5, 3), np.float32))
    with pytest.raises(ValueError, match="no parts given"):
        merge_heads()
