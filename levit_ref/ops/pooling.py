"""Global average pooling over tokens. Axes: ``B`` batch, ``N`` tokens, ``C`` channels."""

from __future__ import annotations

import numpy as np

from levit_ref.ops._checks import check_floating, check_ndim, check_shape, checked
from levit_ref.ops._types import Array


def _check(x: Array) -> None:
    """Raise unless ``x`` has a floating dtype and three axes."""
    check_floating("global_average_pool", x=x)
    check_ndim("global_average_pool", "x", x, "(B, N, C)")


@checked(_check)
def global_average_pool_forward(x: Array) -> tuple[Array, tuple[int, ...]]:
    """``y[b, c] = sum_n x[b, n, c] / N``.

    Parameters
    ----------
    x : ndarray, shape (B, N, C)

    Returns
    -------
    y : ndarray, shape (B, C)
    saved : tuple of int
        The shape of ``x``.

    Notes
    -----
    LeViT has no class token; this mean is what its heads classify (paper, section 4.2).
    """
    return x.mean(axis=1), x.shape


def _check_backward(dy: Array, saved: tuple[int, ...]) -> None:
    """Raise unless ``dy`` has the shape of the result."""
    B, _, C = saved
    check_floating("global_average_pool_backward", dy=dy)
    check_shape("global_average_pool_backward", "dy", dy, (B, C), "the shape of y")


@checked(_check_backward)
def global_average_pool_backward(dy: Array, saved: tuple[int, ...]) -> Array:
    """``dx[b, n, c] = dy[b, c] / N``: every token gets the same share."""
    N = saved[1]
    return np.repeat((dy / N)[:, None, :], N, axis=1)
