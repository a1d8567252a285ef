"""Linear layer: :mod:`levit_ref.ops.linear`."""

from __future__ import annotations

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.linear import LinearSaved, check_linear, check_linear_backward
from levit_ref.runtime.native.activations import activation_backward
from levit_ref.runtime.native.arrays import rows, serves


def linear_forward(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str = "identity"
) -> tuple[Array, LinearSaved]:
    """See :func:`levit_ref.ops.linear_forward`."""
    if not serves(x):
        return ops.linear_forward(x, weight, bias, activation=activation)
    check_linear(x, weight, bias, activation)
    y: Array = _native.linear_forward(rows(x), rows(weight), bias, activation).reshape(*x.shape[:-1], len(weight))
    return y, LinearSaved(x, weight, bias, activation)


def linear_backward(dy: Array, saved: LinearSaved, *, add_to: Array | None = None) -> tuple[Array, Array, Array | None]:
    """See :func:`levit_ref.ops.linear_backward`."""
    x, weight, bias, activation = saved
    if not serves(dy):
        return ops.linear_backward(dy, saved, add_to=add_to)
    check_linear_backward(dy, saved, add_to)
    if activation != "identity":
        dy = activation_backward(activation, dy, linear_forward(x, weight, bias)[0])
    dy2, x2, weight = rows(dy), rows(x), rows(weight)  # (M, C_out), (M, C_in), (C_out, C_in)
    dx: Array = _native.linear_backward_x(dy2, weight).reshape(x.shape)
    dbias: Array | None = _native.sum_rows(dy2) if bias is not None else None
    if add_to is None or add_to.flags.c_contiguous:
        return dx, _native.linear_backward_weight(dy2, x2, add_to), dbias
    add_to += _native.linear_backward_weight(dy2, x2)
    return dx, add_to, dbias
