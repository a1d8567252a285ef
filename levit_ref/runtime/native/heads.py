"""Heads that lie side by side in memory are put together without a copy."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


def columns_like(*parts: Array) -> list[Array]:
    """Arrays to be written, of the shapes (B, h, N, d), (B, h, N, e), ... of the given ones: columns of one memory.

    It is (B, N, h, d + e + ...), so that merging the heads copies nothing.
    """
    B, h, N, _ = parts[0].shape
    widths = [part.shape[3] for part in parts]
    memory = extension.empty((B, N, h, sum(widths))).transpose(0, 2, 1, 3)
    return [memory[..., end - width : end] for width, end in zip(widths, accumulate(widths), strict=True)]


@kernel(ops.merge_heads)
def merge_heads(*parts: Array) -> Array:
    B, h, N, _ = parts[0].shape
    width, memory = sum(part.shape[3] for part in parts), parts[0].base
    if isinstance(memory, np.ndarray) and memory.shape == (B, N, h, width) and memory.flags.c_contiguous:
        at = _address(memory)
        for part in parts:
            if part.base is not memory or _address(part) != at or part.strides[:3] != _strides(memory):
                break
            at += part.shape[3] * part.itemsize
        else:
            return memory.reshape(B, N, h * width)
    return ops.merge_heads.__wrapped__(*parts)  # type: ignore[attr-defined]


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _strides(memory: Array) -> tuple[int, ...]:
    """From image to image, head to head and token to token."""
    image, token, head, _ = memory.strides
    return image, head, token
