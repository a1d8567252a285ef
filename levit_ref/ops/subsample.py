"""Token subsampling: keep every ``stride``-th row and column of the map that the tokens came from.

Axes: ``B`` batch, ``N`` tokens (N = H W, row by row), ``C`` channels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from levit_ref.ops._checks import check_floating, check_ndim, check_shape, checked, pair
from levit_ref.ops._types import Array


class SubsampleSaved(NamedTuple):
    """What :func:`subsample_backward` needs: shapes alone."""

    x_shape: tuple[int, int, int]
    resolution: tuple[int, int]
    stride: tuple[int, int]


def _check(x: Array, *, resolution: int | tuple[int, int], stride: int | tuple[int, int]) -> None:
    H, W = pair("subsample", "resolution", resolution, 1)
    pair("subsample", "stride", stride, 1)
    check_floating("subsample", x=x)
    check_ndim("subsample", "x", x, "(B, N, C)")
    N = x.shape[1]
    if N != H * W:
        raise ValueError(f"subsample: x has {N} tokens (shape {x.shape}), the resolution {H}x{W} has {H * W}")


@checked(_check)
def subsample_forward(
    x: Array, *, resolution: int | tuple[int, int], stride: int | tuple[int, int]
) -> tuple[Array, SubsampleSaved]:
    """``y[b, r, c] = x[b, r stride, c stride]`` with the tokens read as an H x W map.

    Parameters
    ----------
    x : ndarray, shape (B, H W, C)
    resolution : int or (int, int)
        H and W.
    stride : int or (int, int)
        Rows and columns.

    Returns
    -------
    y : ndarray, shape (B, ceil(H / stride) ceil(W / stride), C)
    saved : SubsampleSaved

    Raises
    ------
    TypeError, ValueError
        If the dtype is not floating or the tokens are not H W in number.

    Notes
    -----
    The queries of LeViT's shrinking attention (paper, section 4.2 and figure 5, right).
    """
    saved = subsample_saved(x, resolution, stride)
    (B, _, C), (H, W), (s_y, s_x) = saved
    kept = x.reshape(B, H, W, C)[:, ::s_y, ::s_x]  # (B, H_out, W_out, C)
    return kept.reshape(B, -1, C), saved


def subsample_saved(x: Array, resolution: int | tuple[int, int], stride: int | tuple[int, int]) -> SubsampleSaved:
    """What :func:`subsample_forward` saves."""
    B, N, C = x.shape
    return SubsampleSaved(
        (B, N, C), pair("subsample", "resolution", resolution, 1), pair("subsample", "stride", stride, 1)
    )


def _size_kept(saved: SubsampleSaved) -> tuple[int, int]:
    """Rows and columns that are kept."""
    (H, W), (s_y, s_x) = saved.resolution, saved.stride
    return -(-H // s_y), -(-W // s_x)  # rounded up


def _check_backward(dy: Array, saved: SubsampleSaved) -> None:
    (B, _, C), (rows, columns) = saved.x_shape, _size_kept(saved)
    check_floating("subsample_backward", dy=dy)
    check_shape("subsample_backward", "dy", dy, (B, rows * columns, C), "the shape of y")


@checked(_check_backward)
def subsample_backward(dy: Array, saved: SubsampleSaved) -> Array:
    """``dx`` is ``dy`` at the tokens that were kept and 0 at those that were not."""
    (B, N, C), (H, W), (s_y, s_x) = saved
    H_out, W_out = _size_kept(saved)
    dx = np.zeros((B, H, W, C), dy.dtype)
    dx[:, ::s_y, ::s_x] = dy.reshape(B, H_out, W_out, C)
    return dx.reshape(B, N, C)
