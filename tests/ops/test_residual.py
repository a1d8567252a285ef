"""What is particular to the residual sum and its stochastic depth."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.ops import drop_path_factor, residual_backward, residual_forward


def test_worked_by_hand() -> None:
    x, branch = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[10.0, 20.0], [30.0, 40.0]])
    y, saved = residual_forward(x, branch, np.array([0.0, 2.0]))
    np.testing.assert_array_equal(y, [[1, 2], [63, 84]])
    dx, dbranch = residual_backward(np.array([[1.0, 1.0], [5.0, 6.0]]), saved)
    np.testing.assert_array_equal(dx, [[1, 1], [5, 6]])
    np.testing.assert_array_equal(dbranch, [[0, 0], [10, 12]])


def test_no_factor_is_a_factor_of_one(rng: np.random.Generator) -> None:
    x, branch = rng.standard_normal((2, 3, 4, 5))
    np.testing.assert_array_equal(residual_forward(x, branch)[0], residual_forward(x, branch, np.ones(3))[0])


def test_a_dropped_branch_leaves_the_picture_as_it_was(rng: np.random.Generator) -> None:
    x, branch = rng.standard_normal((2, 64, 4, 5))
    factor = drop_path_factor(rng.random(64), 0.5, np.float64)
    y, _ = residual_forward(x, branch, factor)
    dropped = factor == 0
    assert 0 < dropped.sum() < 64
    np.testing.assert_array_equal(y[dropped], x[dropped])
    np.testing.assert_array_equal(y[~dropped], x[~dropped] + 2 * branch[~dropped])


@pytest.mark.parametrize("drop", [0.0, 0.1, 0.75])
def test_the_factor_is_zero_or_what_keeps_the_mean(drop: float, rng: np.random.Generator) -> None:
    n = 100_000
    factor = drop_path_factor(rng.random(n), drop, np.float64)
    assert set(np.unique(factor)) == ({0.0, 1 / (1 - drop)} if drop else {1.0})
    standard_deviation = np.sqrt(drop / (1 - drop) / n)
    assert abs(factor.mean() - 1) <= 5 * standard_deviation


@pytest.mark.parametrize("dtype", [np.float32, np.dtype(np.float64), "float16"])
def test_the_factor_has_the_dtype_asked_for(dtype: np.dtype | type | str, rng: np.random.Generator) -> None:
    factor = drop_path_factor(rng.random(5), 0.3, dtype)
    assert factor.dtype == np.dtype(dtype)
    assert factor.shape == (5,)


def test_each_factor_depends_on_its_own_number_alone(rng: np.random.Generator) -> None:
    uniform = rng.random(32)
    factor = drop_path_factor(uniform, 0.5, np.float32)
    np.testing.assert_array_equal(drop_path_factor(uniform[5:9], 0.5, np.float32), factor[5:9])
    np.testing.assert_array_equal(factor == 0, uniform < 0.5)


def test_single_and_double_precision_drop_the_same_branches() -> None:
    single, double = (
        drop_path_factor(np.random.default_rng(3).random(32), 0.5, dtype) for dtype in (np.float32, np.float64)
    )
    np.testing.assert_array_equal(single == 0, double == 0)


@pytest.mark.parametrize("drop", [1.0, -0.1, np.nan])
def test_a_drop_that_keeps_nothing_or_is_no_probability_is_refused(drop: float, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=f"drop must be at least 0 and below 1, got {drop}"):
        drop_path_factor(rng.random(4), drop, np.float64)


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match=r"branch has shape \(1, 4\), expected \(3, 4\)"):
        residual_forward(np.ones((3, 4)), np.ones((1, 4)))
    for shape in ((1,), (4,), (3, 1)):
        with pytest.raises(ValueError, match=r"factor has shape .*expected \(3,\) \(one factor for each image\)"):
            residual_forward(np.ones((3, 4)), np.ones((3, 4)), np.ones(shape))
    with pytest.raises(TypeError, match="factor is float64 but x is float32"):
        residual_forward(np.ones((3, 4), np.float32), np.ones((3, 4), np.float32), np.ones(3))
