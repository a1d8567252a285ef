"""The learned attention bias: a table of one number per head and offset, read by every pair of query and key.

LeViT has no positional embedding. Instead each head adds to the score of a query at (y, x) and a key at (y', x') a
learned number that depends only on the offset ``(|y - y'|, |x - x'|)`` (paper, equation 1 and section 4.2). The table
is small, ``(heads, H W)``; reading it for all pairs is a gathering, and so its gradient is a scattering that adds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from levit_ref.ops._checks import check_floating, check_ndim, check_shape, checked, pair
from levit_ref.ops._types import Array, IntArray


class PositionBiasSaved(NamedTuple):
    """What :func:`position_bias_backward` needs: where every entry was read from, not what was read."""

    offsets: IntArray  # (N_q, N_k)
    table_shape: tuple[int, int]


def position_bias_index(resolution: int | tuple[int, int], stride: int | tuple[int, int] = 1) -> IntArray:
    """Which entry of the table a query and a key read: ``index[q, k] = |y_q - y_k| W + |x_q - x_k|``.

    Keys stand on every point of the H x W map, queries on every ``stride``-th point of each axis.

    Parameters
    ----------
    resolution : int or (int, int)
        H and W of the keys' map.
    stride : int or (int, int)
        1 in ordinary attention, 2 where attention shrinks the map.

    Returns
    -------
    index : ndarray of int64, shape (N_q, N_k)
        With ``N_k = H W`` and ``N_q = ceil(H / stride) ceil(W / stride)``; entries lie in [0, H W).

    Notes
    -----
    The same numbers as ``attention_bias_idxs`` in the official code and in timm.
    """
    H, W = pair("position_bias_index", "resolution", resolution, 1)
    s_y, s_x = pair("position_bias_index", "stride", stride, 1)
    y_k, x_k = (axis.reshape(1, -1) for axis in np.indices((H, W)))  # (1, N_k) each
    y_q, x_q = (axis[::s_y, ::s_x].reshape(-1, 1) for axis in np.indices((H, W)))  # (N_q, 1) each
    return np.abs(y_q - y_k) * W + np.abs(x_q - x_k)  # (N_q, N_k)


def _check(table: Array, index: IntArray) -> None:
    """Raise unless ``index`` reads a ``table`` of the right kind, and nothing beyond it."""
    check_floating("position_bias", table=table)
    check_ndim("position_bias", "table", table, "(heads, offsets)")
    check_ndim("position_bias", "index", index, "(N_q, N_k)")
    offsets = table.shape[1]
    if not np.issubdtype(index.dtype, np.integer):
        raise TypeError(f"position_bias: index must have an integer dtype, got {index.dtype}")
    if index.min() < 0 or index.max() >= offsets:
        raise ValueError(
            f"position_bias: index runs from {index.min()} to {index.max()}, the table has {offsets} offsets"
        )


@checked(_check)
def position_bias_forward(table: Array, index: IntArray) -> tuple[Array, PositionBiasSaved]:
    """``bias[h, q, k] = table[h, index[q, k]]``.

    Parameters
    ----------
    table : ndarray, shape (heads, H W)
    index : ndarray of int, shape (N_q, N_k)
        From :func:`position_bias_index`.

    Returns
    -------
    bias : ndarray, shape (heads, N_q, N_k)
    saved : PositionBiasSaved

    Raises
    ------
    TypeError, ValueError
        If the table is not floating, or ``index`` reads beyond it.
    """
    return table[:, index], PositionBiasSaved(index, table.shape)


def _check_backward(dbias: Array, saved: PositionBiasSaved) -> None:
    """Raise unless ``dbias`` has the shape of the result."""
    check_floating("position_bias_backward", dbias=dbias)
    shape = (saved.table_shape[0], *saved.offsets.shape)
    check_shape("position_bias_backward", "dbias", dbias, shape, "the shape of bias")


@checked(_check_backward)
def position_bias_backward(dbias: Array, saved: PositionBiasSaved) -> Array:
    """``dtable[h, o] = sum of dbias[h, q, k] over all (q, k) with index[q, k] = o``.

    An entry that many pairs read is moved by all of them; this is the adjoint of the gathering.

    Parameters
    ----------
    dbias : ndarray, shape (heads, N_q, N_k)
    saved : PositionBiasSaved

    Returns
    -------
    dtable : ndarray, shape (heads, H W)
    """
    index, (heads, offsets) = saved
    flat = index.ravel()
    # bincount is NumPy's fast scatter-add; it adds in float64 whatever the dtype.
    rows = [np.bincount(flat, weights=dbias[h].ravel(), minlength=offsets) for h in range(heads)]
    return np.stack(rows).astype(dbias.dtype)  # (heads, offsets)
