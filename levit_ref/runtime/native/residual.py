"""Residual sum."""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.ops.residual import ResidualSaved
from levit_ref.runtime.native.arrays import MemoryOrder
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.residual_forward)
def residual_forward(x: Array, branch: Array, factor: Array | None = None) -> tuple[Array, ResidualSaved]:
    if factor is not None:
        factor = np.ascontiguousarray(factor)
    order = MemoryOrder(x)
    y = order.shaped(extension.residual_forward(_images(x, order), _images(branch, order), factor))
    return y, ResidualSaved(x.shape, None if factor is None else factor.reshape(-1, *[1] * (x.ndim - 1)))


@kernel(ops.residual_backward)
def residual_backward(dy: Array, saved: ResidualSaved) -> tuple[Array, Array]:
    if saved.factor is None:
        return dy, dy
    order = MemoryOrder(dy)
    factor = np.ascontiguousarray(saved.factor).reshape(-1)
    return dy, order.shaped(extension.residual_backward(_images(dy, order), factor))


def _images(x: Array, order: MemoryOrder) -> Array:
    """(B, values of an image)."""
    return order.flat(x).reshape(len(x), -1)
