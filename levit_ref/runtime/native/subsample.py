"""Token subsampling: :mod:`levit_ref.ops.subsample`."""

from __future__ import annotations

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.subsample import SubsampleSaved, check_subsample, check_subsample_backward
from levit_ref.runtime.native.arrays import serves


def subsample_forward(
    x: Array, *, resolution: int | tuple[int, int], stride: int | tuple[int, int]
) -> tuple[Array, SubsampleSaved]:
    """See :func:`levit_ref.ops.subsample_forward`."""
    if not serves(x):
        return ops.subsample_forward(x, resolution=resolution, stride=stride)
    saved = check_subsample(x, resolution, stride)
    return _native.subsample_forward(np.ascontiguousarray(x), saved.resolution, saved.stride), saved


def subsample_backward(dy: Array, saved: SubsampleSaved) -> Array:
    """See :func:`levit_ref.ops.subsample_backward`."""
    if not serves(dy):
        return ops.subsample_backward(dy, saved)
    check_subsample_backward(dy, saved)
    return _native.subsample_backward(np.ascontiguousarray(dy), saved.resolution, saved.stride)
