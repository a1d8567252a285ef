"""Global average pooling: :mod:`levit_ref.ops.pooling`."""

from __future__ import annotations

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.pooling import check_global_average_pool, check_global_average_pool_backward
from levit_ref.runtime.native.arrays import serves


def global_average_pool_forward(x: Array) -> tuple[Array, tuple[int, ...]]:
    """See :func:`levit_ref.ops.global_average_pool_forward`."""
    if not serves(x):
        return ops.global_average_pool_forward(x)
    check_global_average_pool(x)
    return _native.average_pool_forward(np.ascontiguousarray(x)), x.shape


def global_average_pool_backward(dy: Array, saved: tuple[int, ...]) -> Array:
    """See :func:`levit_ref.ops.global_average_pool_backward`."""
    if not serves(dy):
        return ops.global_average_pool_backward(dy, saved)
    check_global_average_pool_backward(dy, saved)
    return _native.average_pool_backward(np.ascontiguousarray(dy), saved[1])
