"""Linear layer."""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.ops.linear import LinearSaved
from levit_ref.runtime.native.activations import activation_backward
from levit_ref.runtime.native.arrays import rows
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.linear_forward)
def linear_forward(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str = "identity"
) -> tuple[Array, LinearSaved]:
    vector = None if bias is None else np.ascontiguousarray(bias)
    y: Array = extension.linear_forward(rows(x), rows(weight), vector, activation)
    return y.reshape(*x.shape[:-1], len(weight)), LinearSaved(x, weight, bias, activation)


@kernel(ops.linear_backward)
def linear_backward(dy: Array, saved: LinearSaved, *, add_to: Array | None = None) -> tuple[Array, Array, Array | None]:
    x, weight, bias, activation = saved
    if activation != "identity":
        dy = activation_backward(dy, linear_forward(x, weight, bias)[0], activation)
    dy2, x2, weight = rows(dy), rows(x), rows(weight)  # (M, C_out), (M, C_in), (C_out, C_in)
    dx: Array = extension.linear_backward_x(dy2, weight).reshape(x.shape)
    dbias: Array | None = extension.sum_rows(dy2) if bias is not None else None
    if add_to is None or add_to.flags.c_contiguous:
        return dx, extension.linear_backward_weight(dy2, x2, add_to), dbias
    add_to += extension.linear_backward_weight(dy2, x2)
    return dx, add_to, dbias
