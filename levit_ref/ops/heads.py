"""Heads: one product makes the queries, keys and values of all of them, and they are cut apart and put together here.

Axes: ``B`` batch, ``N`` tokens, ``h`` heads, ``d, e, ...`` the channels of the parts of one head.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from levit_ref.ops._checks import check_floating, check_ndim, check_shape, checked
from levit_ref.ops._types import Array


def _check_split(x: Array, heads: int, widths: tuple[int, ...] | None = None) -> None:
    check_floating("split_heads", x=x)
    check_ndim("split_heads", "x", x, "(B, N, C)")
    if heads < 1 or x.shape[2] % heads:
        raise ValueError(f"split_heads: {heads} heads cannot share x's {x.shape[2]} channels (shape {x.shape})")
    if widths is not None and sum(widths) != x.shape[2] // heads:
        raise ValueError(f"split_heads: widths {widths} do not add up to a head's {x.shape[2] // heads} channels")


@checked(_check_split)
def split_heads(x: Array, heads: int, widths: tuple[int, ...] | None = None) -> tuple[Array, ...]:
    """The parts (B, h, N, d), (B, h, N, e), ... of ``x`` (B, N, h (d + e + ...)).

    Parameters
    ----------
    x : ndarray, shape (B, N, h (d + e + ...))
        Head after head, and in each the parts one after the other.
    heads : int
    widths : tuple of int, optional
        d, e, ...; without them there is one part.

    Returns
    -------
    parts : tuple of ndarray
        Views. The gradient of ``x`` is :func:`merge_heads` of theirs.

    Raises
    ------
    TypeError, ValueError
        If the dtype is not floating, or the channels cannot be cut so.
    """
    B, N, C = x.shape
    of_heads = x.reshape(B, N, heads, C // heads).transpose(0, 2, 1, 3)  # (B, h, N, d + e + ...)
    widths = widths or (C // heads,)
    return tuple(of_heads[..., end - width : end] for width, end in zip(widths, accumulate(widths), strict=True))


def _check_merge(*parts: Array) -> None:
    if not parts:
        raise ValueError("merge_heads: no parts given")
    check_floating("merge_heads", **{f"part {i}": part for i, part in enumerate(parts)})
    for i, part in enumerate(parts):
        check_ndim("merge_heads", f"part {i}", part, "(B, heads, N, channels)")
        check_shape("merge_heads", f"part {i}", part, (*parts[0].shape[:3], part.shape[3]), "batch, heads, N of part 0")


@checked(_check_merge)
def merge_heads(*parts: Array) -> Array:
    """The inverse of :func:`split_heads`: parts (B, h, N, d), (B, h, N, e), ... to (B, N, h (d + e + ...)).

    Its gradient is :func:`split_heads` of the result's.

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, or shapes do not fit.
    """
    x = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)  # (B, h, N, d + e + ...)
    B, _, N, _ = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, N, -1)
