"""The layouts that kernels read."""

from __future__ import annotations

import numpy as np

from levit_ref.ops import Array


def rows(x: Array) -> Array:
    """(..., C) as a contiguous (M, C); a copy only if it has to be."""
    return np.ascontiguousarray(x.reshape(-1, x.shape[-1]))


class MemoryOrder:
    """The axes of an array as memory has them, outermost first: (0, 2, 3, 1) for images whose channels are innermost.

    An operation on every value by itself goes through memory as it lies, and its result is laid out the same way. The
    first axis, the batch, stays the outermost.

    Parameters
    ----------
    x : ndarray
    """

    def __init__(self, x: Array) -> None:
        self.shape = x.shape
        self.axes: list[int] | None = None  # the usual order
        if not x.flags.c_contiguous:
            self.axes = [0, *sorted(range(1, x.ndim), key=lambda axis: -abs(x.strides[axis]))]

    def flat(self, x: Array) -> Array:
        """The values of an array of this shape, (x.size,); a copy only where they lie in another order."""
        return np.ascontiguousarray(x if self.axes is None else x.transpose(self.axes)).reshape(-1)

    def shaped(self, flat: Array) -> Array:
        """The inverse of :meth:`flat`, a view."""
        if self.axes is None:
            return flat.reshape(self.shape)
        return flat.reshape([self.shape[axis] for axis in self.axes]).transpose(np.argsort(self.axes))


def keys_first(bias: Array) -> Array:
    """(heads, N_q, N_k) as a contiguous (heads, N_k, N_q), the order of biases in the kernels' memory."""
    return np.ascontiguousarray(bias.swapaxes(-2, -1))
