"""What is particular to the linear layer."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.ops import linear_backward, linear_forward
from tests.ops.docstrings import evaluate


def test_worked_by_hand() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    weight = np.array([[1.0, 0.0], [0.0, 10.0], [1.0, -1.0]])
    y, saved = linear_forward(x, weight, np.array([0.5, 0.0, 0.0]))
    np.testing.assert_array_equal(y, [[1.5, 20, -1], [3.5, 40, -1]])

    dx, dweight, dbias = linear_backward(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]]), saved)
    np.testing.assert_array_equal(dx, [[1, 0], [2, 8]])
    np.testing.assert_array_equal(dweight, [[1, 2], [3, 4], [6, 8]])
    np.testing.assert_array_equal(dbias, [1, 1, 2])


def test_the_formulas_of_the_docstrings(rng: np.random.Generator) -> None:
    x, weight, bias = rng.standard_normal((5, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)
    dy = rng.standard_normal((5, 4))
    y, saved = linear_forward(x, weight, bias)
    dx, dweight, dbias = linear_backward(dy, saved)
    np.testing.assert_allclose(y, evaluate(linear_forward, "y", x=x, weight=weight) + bias, rtol=1e-12)
    np.testing.assert_allclose(dx, evaluate(linear_backward, "dx", dy=dy, weight=weight), rtol=1e-12)
    np.testing.assert_allclose(dweight, evaluate(linear_backward, "dweight", dy=dy, x=x), rtol=1e-12)
    assert dbias is not None
    np.testing.assert_allclose(dbias, evaluate(linear_backward, "dbias", dy=dy), rtol=1e-12)


def test_leading_axes_are_rows_of_one_matrix(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((6, 5))
    y, _ = linear_forward(x, weight)
    np.testing.assert_allclose(y[1, 2], linear_forward(x[1, 2], weight)[0], rtol=1e-12)


def test_without_bias_its_gradient_is_none(rng: np.random.Generator) -> None:
    y, saved = linear_forward(rng.standard_normal((2, 3)), rng.standard_normal((4, 3)))
    assert linear_backward(np.ones_like(y), saved)[2] is None


def test_the_gradient_of_the_weight_is_added(rng: np.random.Generator) -> None:
    y, saved = linear_forward(rng.standard_normal((2, 3)), rng.standard_normal((4, 3)))
    before = rng.standard_normal((4, 3))
    add_to = before.copy()
    assert linear_backward(y, saved, add_to=add_to)[1] is add_to
    np.testing.assert_allclose(add_to, before + linear_backward(y, saved)[1])
    with pytest.raises(ValueError, match=r"add_to has shape \(3, 4\), expected \(4, 3\)"):
        linear_backward(y, saved, add_to=before.T)


def test_channels_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"x .*shape \(2, 3\), weight .*shape \(4, 5\); C_in differs"):
        linear_forward(np.ones((2, 3)), np.ones((4, 5)))
    with pytest.raises(ValueError, match=r"bias has shape \(3,\), expected \(4,\)"):
        linear_forward(np.ones((2, 5)), np.ones((4, 5)), np.ones(3))
