"""Residual sum: :mod:`levit_ref.ops.residual`."""

from __future__ import annotations

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.residual import ResidualSaved, check_residual, check_residual_backward
from levit_ref.runtime.native.arrays import MemoryOrder, serves


def residual_forward(x: Array, branch: Array, factor: Array | None = None) -> tuple[Array, ResidualSaved]:
    """See :func:`levit_ref.ops.residual_forward`."""
    if not serves(x):
        return ops.residual_forward(x, branch, factor)
    check_residual(x, branch, factor)
    if factor is not None:
        factor = np.ascontiguousarray(factor)
    order = MemoryOrder(x)
    y = order.shaped(_native.residual_forward(_images(x, order), _images(branch, order), factor))
    return y, ResidualSaved(x.shape, None if factor is None else factor.reshape(-1, *[1] * (x.ndim - 1)))


def residual_backward(dy: Array, saved: ResidualSaved) -> tuple[Array, Array]:
    """See :func:`levit_ref.ops.residual_backward`."""
    if saved.factor is None or not serves(dy):
        return ops.residual_backward(dy, saved)
    check_residual_backward(dy, saved)
    factor = np.ascontiguousarray(saved.factor).reshape(-1)
    order = MemoryOrder(dy)
    return dy, order.shaped(_native.residual_backward(_images(dy, order), factor))


def _images(x: Array, order: MemoryOrder) -> Array:
    """(B, values of an image)."""
    return order.flat(x).reshape(len(x), -1)
