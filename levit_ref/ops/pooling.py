"""Global average pooling over tokens. Axes: ``B`` batch, ``N`` tokens, ``C`` channels."""

from __future__ import annotations

import numpy as np

from levit_ref.ops._checks import Array, check_floating, check_ndim, check_shape


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
    check_global_average_pool(x)
    return x.mean(axis=1), x.shape


def check_global_average_pool(x: Array) -> None:
    """Raise unless ``x`` has a floating dtype and three axes."""
    check_floating("global_average_pool", x=x)
    check_ndim("global_average_pool", "x", x, "(B, N, C)")


def global_average_pool_backward(dy: Array, saved: tuple[int, ...]) -> Array:
    """``dx[b, n, c] = dy[b, c] / N``: every token gets the same share."""
    check_global_average_pool_backward(dy, saved)
    N = saved[1]
    return np.repeat((dy / N)[:, None, :], N, axis=1)


def check_global_average_pool_backward(dy: Array, saved: tuple[int, ...]) -> None:
    """Raise unless ``dy`` has the shape of the result."""
    B, _, C = saved
    check_floating("global_average_pool_backward", dy=dy)
    check_shape("global_average_pool_backward", "dy", dy, (B, C), "the shape of y")
