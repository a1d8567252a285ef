"""What is particular to the subsampling of tokens."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from levit_ref.ops import subsample_backward, subsample_forward


def test_worked_by_hand() -> None:
    """A map of 3 x 4 tokens, numbered row by row."""
    x = np.arange(12.0).reshape(1, 12, 1)
    y, saved = subsample_forward(x, resolution=(3, 4), stride=2)
    np.testing.assert_array_equal(y.ravel(), [0, 2, 8, 10])
    dx = subsample_backward(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1), saved)
    np.testing.assert_array_equal(dx.reshape(3, 4), [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0]])


def test_odd_maps_keep_their_last_row_and_column() -> None:
    y, _ = subsample_forward(np.arange(25.0).reshape(1, 25, 1), resolution=5, stride=2)
    np.testing.assert_array_equal(y.ravel(), [0, 2, 4, 10, 12, 14, 20, 22, 24])


def test_rows_and_columns_may_have_strides_of_their_own() -> None:
    x = np.arange(12.0).reshape(1, 12, 1)
    y, saved = subsample_forward(x, resolution=(3, 4), stride=(1, 3))
    np.testing.assert_array_equal(y.ravel(), [0, 3, 4, 7, 8, 11])
    np.testing.assert_array_equal(subsample_backward(np.ones_like(y), saved).reshape(3, 4), [[1, 0, 0, 1]] * 3)


def test_stride_one_keeps_all(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 12, 3))
    y, saved = subsample_forward(x, resolution=(3, 4), stride=1)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(subsample_backward(x, saved), x)


def test_a_stride_beyond_the_map_keeps_its_corner(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 12, 3))
    y, _ = subsample_forward(x, resolution=(3, 4), stride=9)
    np.testing.assert_array_equal(y, x[:, :1])


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"x has 10 tokens \(shape \(1, 10, 2\)\), the resolution 3x4 has 12"):
        subsample_forward(np.ones((1, 10, 2)), resolution=(3, 4), stride=2)
    with pytest.raises(ValueError, match="subsample: stride must be an integer >= 1 or a pair of them, got 0"):
        subsample_forward(np.ones((1, 12, 2)), resolution=(3, 4), stride=0)
    with pytest.raises(ValueError, match=r"subsample: resolution must be .*got 3\.5"):
        subsample_forward(np.ones((1, 12, 2)), resolution=cast(Any, 3.5), stride=2)
    with pytest.raises(ValueError, match=r"x must have 3 axes \(B, N, C\), got shape \(1, 3, 4, 2\)"):
        subsample_forward(np.ones((1, 3, 4, 2)), resolution=(3, 4), stride=2)
