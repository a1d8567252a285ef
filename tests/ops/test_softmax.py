"""What is particular to the softmax and its logarithm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from levit_ref.ops import log_softmax, softmax_backward, softmax_forward
from tests.ops.docstrings import evaluate


def test_worked_by_hand() -> None:
    y, saved = softmax_forward(np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-15)
    dx = softmax_backward(np.array([[1.0, 0.0, 0.0]]), saved)
    np.testing.assert_allclose(dx, [[1 / 8 * 7 / 8, -1 / 8 * 2 / 8, -1 / 8 * 5 / 8]], rtol=1e-15)


def test_equal_scores_share_equally() -> None:
    np.testing.assert_array_equal(softmax_forward(np.full((2, 4), -7.0))[0], 0.25)


def test_rows_add_up_to_one_and_gradients_to_zero(rng: np.random.Generator) -> None:
    y, saved = softmax_forward(20 * rng.standard_normal((3, 4, 9)))
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)
    assert (y >= 0).all()
    np.testing.assert_allclose(softmax_backward(rng.standard_normal(y.shape), saved).sum(axis=-1), 0, atol=1e-15)


def test_the_gradient_is_the_jacobian_of_the_docstring(rng: np.random.Generator) -> None:
    (y,), saved = softmax_forward(rng.standard_normal((1, 6)))
    jacobian = y[:, None] * (np.eye(6) - y[None, :])  # dy_j/dx_k = y_j ([j = k] - y_k)
    dy = rng.standard_normal(6)
    np.testing.assert_allclose(softmax_backward(dy[None], saved)[0], np.einsum("j,jk->k", dy, jacobian), rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1e3, -1e3, 1e6])
def test_a_common_shift_changes_nothing_and_nothing_overflows(shift: float) -> None:
    x = np.array([[0.0, 1.0, -2.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(softmax_forward(x + shift)[0], softmax_forward(x)[0], rtol=1e-9)
        np.testing.assert_allclose(log_softmax(x + shift), log_softmax(x), rtol=1e-9)


def test_a_masked_alternative_gets_exactly_nothing() -> None:
    y, saved = softmax_forward(np.array([[1.0, -np.inf, 1.0]]))
    np.testing.assert_array_equal(y, [[0.5, 0, 0.5]])
    np.testing.assert_array_equal(softmax_backward(np.array([[1.0, 9.0, 3.0]]), saved), [[-0.5, 0, 0.5]])


def test_one_alternative_takes_all_and_has_no_gradient() -> None:
    y, saved = softmax_forward(np.array([[3.0], [-800.0]]))
    np.testing.assert_array_equal(y, 1)
    np.testing.assert_array_equal(softmax_backward(np.array([[5.0], [7.0]]), saved), 0)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_log_softmax_beside_pytorch(dtype: type[np.floating], limit: float, rng: np.random.Generator) -> None:
    x = (30 * rng.standard_normal((4, 5, 7))).astype(dtype)
    y = log_softmax(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, torch.log_softmax(torch.tensor(x), -1).numpy(), rtol=10 * limit, atol=limit)


def test_log_softmax_keeps_what_softmax_rounds_to_zero() -> None:
    x = np.array([[0.0, -1000.0]])
    assert softmax_forward(x)[0][0, 1] == 0
    assert log_softmax(x)[0, 1] == -1000


def test_log_softmax_refuses_what_softmax_refuses() -> None:
    with pytest.raises(TypeError, match="softmax: x must have a floating dtype, got int64"):
        log_softmax(np.ones((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"softmax: x is empty, got shape \(2, 0\)"):
        log_softmax(np.ones((2, 0)))


def test_a_formula_that_a_docstring_does_not_have_is_an_error() -> None:
    """The reader of docstrings, which other tests trust, does not pass over what it cannot find."""
    with pytest.raises(ValueError, match="docstring of softmax_forward has no formula z"):
        evaluate(softmax_forward, "z", x=np.ones(3))
