"""Activations: :mod:`levit_ref.ops.activations`. The identity is NumPy's, which does nothing."""

from __future__ import annotations

from levit_ref import _native
from levit_ref.ops import activations
from levit_ref.ops._checks import Array
from levit_ref.ops.activations import check_activation, check_activation_backward
from levit_ref.runtime.native.arrays import MemoryOrder, serves


def activation_forward(activation: str, x: Array) -> tuple[Array, Array]:
    """See :mod:`levit_ref.ops.activations`."""
    if activation == "identity" or not serves(x):
        return activations.forward(activation, x)
    check_activation(activation, x)
    order = MemoryOrder(x)
    return order.shaped(_native.activation_forward(activation, order.flat(x))), x


def activation_backward(activation: str, dy: Array, saved: Array) -> Array:
    """See :mod:`levit_ref.ops.activations`."""
    x = saved
    if activation == "identity" or not serves(dy):
        return activations.backward(activation, dy, x)
    check_activation_backward(f"{activation}_backward", dy, x)
    order = MemoryOrder(x)
    return order.shaped(_native.activation_backward(activation, order.flat(dy), order.flat(x)))


def hardswish_forward(x: Array) -> tuple[Array, Array]:
    """See :func:`levit_ref.ops.hardswish_forward`."""
    return activation_forward("hardswish", x)


def hardswish_backward(dy: Array, saved: Array) -> Array:
    """See :func:`levit_ref.ops.hardswish_backward`."""
    return activation_backward("hardswish", dy, saved)


def relu_forward(x: Array) -> tuple[Array, Array]:
    """See :func:`levit_ref.ops.relu_forward`."""
    return activation_forward("relu", x)


def relu_backward(dy: Array, saved: Array) -> Array:
    """See :func:`levit_ref.ops.relu_backward`."""
    return activation_backward("relu", dy, saved)


def silu_forward(x: Array) -> tuple[Array, Array]:
    """See :func:`levit_ref.ops.silu_forward`."""
    return activation_forward("silu", x)


def silu_backward(dy: Array, saved: Array) -> Array:
    """See :func:`levit_ref.ops.silu_backward`."""
    return activation_backward("silu", dy, saved)


def gelu_forward(x: Array) -> tuple[Array, Array]:
    """See :func:`levit_ref.ops.gelu_forward`."""
    return activation_forward("gelu", x)


def gelu_backward(dy: Array, saved: Array) -> Array:
    """See :func:`levit_ref.ops.gelu_backward`."""
    return activation_backward("gelu", dy, saved)
