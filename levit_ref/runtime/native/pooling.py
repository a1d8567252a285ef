"""Global average pooling."""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.global_average_pool_forward)
def global_average_pool_forward(x: Array) -> tuple[Array, tuple[int, ...]]:
    return extension.average_pool_forward(np.ascontiguousarray(x)), x.shape


@kernel(ops.global_average_pool_backward)
def global_average_pool_backward(dy: Array, saved: tuple[int, ...]) -> Array:
    dx: Array = extension.average_pool_backward(np.ascontiguousarray(dy), saved[1])
    return dx
