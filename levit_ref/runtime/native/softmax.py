"""Softmax: :mod:`levit_ref.ops.softmax`."""

from __future__ import annotations

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.softmax import check_softmax, check_softmax_backward
from levit_ref.runtime.native.arrays import rows, serves


def softmax_forward(x: Array) -> tuple[Array, Array]:
    """See :func:`levit_ref.ops.softmax_forward`."""
    if not serves(x):
        return ops.softmax_forward(x)
    check_softmax("softmax", x)
    y: Array = _native.softmax_forward(rows(x)).reshape(x.shape)
    return y, y


def softmax_backward(dy: Array, saved: Array) -> Array:
    """See :func:`levit_ref.ops.softmax_backward`."""
    if not serves(dy, saved):
        return ops.softmax_backward(dy, saved)
    check_softmax_backward(dy, saved)
    dx: Array = _native.softmax_backward(rows(dy), rows(saved)).reshape(dy.shape)
    return dx
