"""Activations; the identity does nothing."""

from __future__ import annotations

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.runtime.native.arrays import MemoryOrder
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.activation_forward)
def activation_forward(x: Array, activation: str) -> tuple[Array, Array]:
    if activation == "identity":
        return x, x
    order = MemoryOrder(x)
    return order.shaped(extension.activation_forward(activation, order.flat(x))), x


@kernel(ops.activation_backward)
def activation_backward(dy: Array, saved: Array, activation: str) -> Array:
    if activation == "identity":
        return dy
    order = MemoryOrder(saved)
    return order.shaped(extension.activation_backward(activation, order.flat(dy), order.flat(saved)))
