"""How NumPy stays fast over large arrays: pieces that fit into a cache, and steps in place.

The operations say in their formulas what is computed; this file says only in which pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from levit_ref.ops._types import Array

BLOCK = 131_072
"""Values in a block of rows: a few passes over one block after another stay in the second-level cache."""

CHUNK = 32_768
"""Values in a piece of a flat array: the arrays of an optimiser's step and their temporaries fit at this length."""


def chunks(size: int) -> Iterator[slice]:
    """Consecutive slices that cover ``range(size)``."""
    return (slice(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))


def channels_last(x: Array, channel_axis: int) -> Array:
    """(..., C), a view. Tokens have their channels last already, which ``np.moveaxis`` is slow to find out."""
    return x if channel_axis in (-1, x.ndim - 1) else np.moveaxis(x, channel_axis, -1)


def rows_of(x: Array, channel_axis: int) -> Array:
    """All values by channel: (M, C), a view where memory allows."""
    return channels_last(x, channel_axis).reshape(-1, x.shape[channel_axis])


def from_rows(rows: Array, shape: tuple[int, ...], channel_axis: int) -> Array:
    """The inverse of :func:`rows_of`, a view."""
    axis = channel_axis % len(shape)
    if axis == len(shape) - 1:
        return rows.reshape(shape)
    return np.moveaxis(rows.reshape(*shape[:axis], *shape[axis + 1 :], -1), -1, axis)


def moments(rows: Array) -> tuple[Array, Array]:
    """Mean and biased variance of the columns of (M, C).

    Summing block by block is also more accurate: over the 1.6 million rows that a batch of 128 has after the first
    convolution, a single float32 accumulator loses a thousandth of the variance, sums of blocks a millionth.
    """
    blocks = _row_blocks(rows)
    mean = np.sum([_sum(rows[m]) for m in blocks], axis=0) / len(rows)  # (C,)
    (means,) = _spread(blocks, mean)
    squares = np.zeros_like(mean)  # (C,); of centred values: no cancellation
    for m in blocks:
        centred = rows[m] - means[: len(rows[m])]
        squares += _sum(centred * centred)
    return mean, squares / len(rows)


def scale_and_shift(rows: Array, centre: Array, scale: Array, shift: Array) -> Array:
    """``(rows - centre) scale + shift``, each a vector over the columns."""
    result = np.empty_like(rows)
    blocks = _row_blocks(rows)
    centres, scales, shifts = _spread(blocks, centre, scale, shift)
    for m in blocks:
        block = np.subtract(rows[m], centres[: len(rows[m])], out=result[m])
        block *= scales[: len(block)]
        block += shifts[: len(block)]
    return result


def sums_with(dy: Array, rows: Array, centre: Array) -> tuple[Array, Array]:
    """``sum_m dy`` and ``sum_m dy (rows - centre)`` over the columns of (M, C)."""
    plain, weighted = np.zeros_like(centre), np.zeros_like(centre)  # (C,)
    blocks = _row_blocks(rows)
    (centres,) = _spread(blocks, centre)
    for m in blocks:
        plain += _sum(dy[m])
        weighted += _sum(dy[m] * (rows[m] - centres[: len(rows[m])]))
    return plain, weighted


def project_out(dy: Array, rows: Array, centre: Array, slope: Array, shift: Array, scale: Array) -> Array:
    """``scale (dy - shift - (rows - centre) slope)``, over the columns of (M, C)."""
    result = np.empty_like(rows)
    blocks = _row_blocks(rows)
    centres, slopes, shifts, scales = _spread(blocks, centre, slope, shift, scale)
    for m in blocks:
        n = len(rows[m])
        block = np.subtract(rows[m], centres[:n], out=result[m])
        block *= slopes[:n]
        block += shifts[:n]
        np.subtract(dy[m], block, out=block)
        block *= scales[:n]
    return result


def _row_blocks(rows: Array) -> list[slice]:
    """Blocks of rows of about :data:`BLOCK` values."""
    M, C = rows.shape
    height = max(1, BLOCK // C)
    return [slice(start, min(start + height, M)) for start in range(0, M, height)]


def _spread(blocks: list[slice], *vectors: Array) -> tuple[Array, ...]:
    """Repeat vectors (C,) to the shape of the first block, the largest: NumPy is faster on operands of one shape."""
    return tuple(np.full((blocks[0].stop, len(vector)), vector, vector.dtype) for vector in vectors)


def _sum(rows: Array) -> Array:
    """``rows.sum(axis=0)`` as a matrix-vector product, which is three times as fast: (C,)."""
    return np.ones(len(rows), rows.dtype) @ rows
