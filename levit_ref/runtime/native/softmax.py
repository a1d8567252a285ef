"""Softmax."""

from __future__ import annotations

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.runtime.native.arrays import rows
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.softmax_forward)
def softmax_forward(x: Array) -> tuple[Array, Array]:
    y: Array = extension.softmax_forward(rows(x)).reshape(x.shape)
    return y, y


@kernel(ops.softmax_backward)
def softmax_backward(dy: Array, saved: Array) -> Array:
    dx: Array = extension.softmax_backward(rows(dy), rows(saved)).reshape(dy.shape)
    return dx
