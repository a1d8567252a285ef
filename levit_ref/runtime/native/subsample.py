"""Token subsampling."""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.ops.subsample import SubsampleSaved, subsample_saved
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.subsample_forward)
def subsample_forward(
    x: Array, *, resolution: int | tuple[int, int], stride: int | tuple[int, int]
) -> tuple[Array, SubsampleSaved]:
    saved = subsample_saved(x, resolution, stride)
    return extension.subsample_forward(np.ascontiguousarray(x), saved.resolution, saved.stride), saved


@kernel(ops.subsample_backward)
def subsample_backward(dy: Array, saved: SubsampleSaved) -> Array:
    dx: Array = extension.subsample_backward(np.ascontiguousarray(dy), saved.resolution, saved.stride)
    return dx
