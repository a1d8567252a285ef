"""The table of position biases: :mod:`levit_ref.ops.position_bias`."""

from __future__ import annotations

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array, IntArray
from levit_ref.ops.position_bias import PositionBiasSaved, check_position_bias, check_position_bias_backward
from levit_ref.runtime.native.arrays import keys_first, serves


def position_bias_forward(table: Array, index: IntArray) -> tuple[Array, PositionBiasSaved]:
    """See :func:`levit_ref.ops.position_bias_forward`. The result lies in memory as attention reads it."""
    if not serves(table):
        return ops.position_bias_forward(table, index)
    check_position_bias(table, index)
    bias = _native.position_bias_forward(np.ascontiguousarray(table), _contiguous(index))
    return bias.swapaxes(-2, -1), PositionBiasSaved(index, table.shape)


def position_bias_backward(dbias: Array, saved: PositionBiasSaved) -> Array:
    """See :func:`levit_ref.ops.position_bias_backward`."""
    if not serves(dbias):
        return ops.position_bias_backward(dbias, saved)
    check_position_bias_backward(dbias, saved)
    index, (_, offsets) = saved
    return _native.position_bias_backward(keys_first(dbias), _contiguous(index), offsets)


def _contiguous(index: IntArray) -> IntArray:
    return np.ascontiguousarray(index, np.int64)
