"""The table of position biases."""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array, IntArray
from levit_ref.ops.position_bias import PositionBiasSaved
from levit_ref.runtime.native.arrays import keys_first
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.position_bias_forward)
def position_bias_forward(table: Array, index: IntArray) -> tuple[Array, PositionBiasSaved]:
    bias = extension.position_bias_forward(np.ascontiguousarray(table), _contiguous(index))  # as attention reads it
    return bias.swapaxes(-2, -1), PositionBiasSaved(index, table.shape)


@kernel(ops.position_bias_backward)
def position_bias_backward(dbias: Array, saved: PositionBiasSaved) -> Array:
    index, (_, offsets) = saved
    dtable: Array = extension.position_bias_backward(keys_first(dbias), _contiguous(index), offsets)
    return dtable


def _contiguous(index: IntArray) -> IntArray:
    return np.ascontiguousarray(index, np.int64)
