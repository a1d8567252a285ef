"""What is particular to global average pooling."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.ops import global_average_pool_backward, global_average_pool_forward
from tests.ops.docstrings import evaluate


def test_worked_by_hand() -> None:
    x = np.array([[[1.0, 10.0], [3.0, 20.0], [8.0, 0.0]]])
    y, saved = global_average_pool_forward(x)
    np.testing.assert_array_equal(y, [[4, 10]])
    dx = global_average_pool_backward(np.array([[6.0, 3.0]]), saved)
    np.testing.assert_array_equal(dx, [[[2, 1], [2, 1], [2, 1]]])


def test_the_formula_of_the_docstring(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 5, 3))
    np.testing.assert_allclose(
        global_average_pool_forward(x)[0], evaluate(global_average_pool_forward, "y", x=x) / 5, rtol=1e-13
    )


def test_one_token_is_its_own_mean(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 1, 4))
    np.testing.assert_array_equal(global_average_pool_forward(x)[0], x[:, 0])


def test_the_order_of_the_tokens_does_not_matter(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 7, 3))
    shuffled = x[:, rng.permutation(7)]
    np.testing.assert_allclose(global_average_pool_forward(shuffled)[0], global_average_pool_forward(x)[0], rtol=1e-12)


def test_a_map_that_was_not_flattened_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"global_average_pool: x must have 3 axes \(B, N, C\), got shape \(2, 4, 4, 3\)"
    ):
        global_average_pool_forward(np.ones((2, 4, 4, 3)))
