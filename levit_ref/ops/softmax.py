"""Softmax over the last axis, and its logarithm for the losses. Axis ``K``: the alternatives (keys, classes)."""

from __future__ import annotations

import numpy as np

from levit_ref.ops._checks import Array, check_floating, check_not_empty, check_shape


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
    check_softmax("softmax", x)
    y = x - x.max(axis=-1, keepdims=True)  # (..., K)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y, y


def softmax_backward(dy: Array, saved: Array) -> Array:
    """``dx_k = y_k (dy_k - sum_j dy_j y_j)``.

    From ``dy_j/dx_k = y_j ([j = k] - y_k)``: the first term is the exponential's own slope, the second what the
    shared denominator takes from everybody.
    """
    y = saved
    check_softmax_backward(dy, y)
    shared = np.einsum("...k,...k->...", dy, y)[..., None]  # (..., 1)
    dx = dy - shared  # (..., K)
    dx *= y
    return dx


def check_softmax(op: str, x: Array) -> None:
    """Raise unless the softmax of ``x`` exists."""
    check_floating(op, x=x)
    check_not_empty(op, "x", x)


def check_softmax_backward(dy: Array, y: Array) -> None:
    """Raise unless ``dy`` has the shape of the result."""
    check_floating("softmax_backward", dy=dy, y=y)
    check_shape("softmax_backward", "dy", dy, y.shape, "the shape of y")


def log_softmax(x: Array) -> Array:
    """``x_k - max x - log sum_j exp(x_j - max x)``, without forming the softmax, whose small entries round to 0."""
    check_softmax("log_softmax", x)
    shifted = x - x.max(axis=-1, keepdims=True)  # (..., K)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
