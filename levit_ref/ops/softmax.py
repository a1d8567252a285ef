"""Softmax over the last axis, and its logarithm for the losses. Axis ``K``: the alternatives (keys, classes)."""

from __future__ import annotations

import numpy as np

from levit_ref.ops._checks import check_floating, check_not_empty, check_shape, checked
from levit_ref.ops._types import Array


def _check(x: Array) -> None:
    check_floating("softmax", x=x)
    check_not_empty("softmax", "x", x)


@checked(_check)
def softmax_forward(x: Array) -> tuple[Array, Array]:
    """``y_k = exp(x_k - max x) / sum_j exp(x_j - max x)``; the maximum cancels, and keeps ``exp`` from overflowing.

    Parameters
    ----------
    x : ndarray, shape (..., K)

    Returns
    -------
    y : ndarray, shape (..., K)
        Non-negative, each row adds up to 1.
    saved : ndarray
        ``y``: the gradient is a function of the result alone.

    Raises
    ------
    TypeError, ValueError
        If the dtype is not floating or ``x`` is empty.

    Notes
    -----
    Agrees with ``torch.softmax(x, -1)``.
    """
    y = x - x.max(axis=-1, keepdims=True)  # (..., K)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y, y


def _check_backward(dy: Array, saved: Array) -> None:
    """Raise unless ``dy`` has the shape of the result."""
    check_floating("softmax_backward", dy=dy, saved=saved)
    check_shape("softmax_backward", "dy", dy, saved.shape, "the shape of y")


@checked(_check_backward)
def softmax_backward(dy: Array, saved: Array) -> Array:
    """``dx_k = y_k (dy_k - sum_j dy_j y_j)``.

    From ``dy_j/dx_k = y_j ([j = k] - y_k)``: the first term is the exponential's own slope, the second what the
    shared denominator takes from everybody.
    """
    y = saved
    shared = np.einsum("...k,...k->...", dy, y)[..., None]  # (..., 1)
    dx = dy - shared  # (..., K)
    dx *= y
    return dx


@checked(_check)
def log_softmax(x: Array) -> Array:
    """``x_k - max x - log sum_j exp(x_j - max x)``, without forming the softmax, whose small entries round to 0."""
    shifted = x - x.max(axis=-1, keepdims=True)  # (..., K)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
