"""The one door to the operations: here it is decided, for each of them, whether a kernel or NumPy computes it.

``F.linear_forward(x, weight)`` checks its arguments as :func:`levit_ref.ops.linear_forward` does. Then the kernel of
the active backend computes it, if there is one for this operation and the dtype of these arrays, or else NumPy.
Modules, training and the loader call operations from here, and never ask which backend runs. :mod:`levit_ref.ops` is
always NumPy.

To add an operation, add a line here. To add a kernel, see ``csrc/README.md``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from levit_ref import ops
from levit_ref.runtime.backends import active_kernels

P = ParamSpec("P")
R = TypeVar("R")


def door(operation: Callable[P, R]) -> Callable[P, R]:
    """The operation as the active backend computes it."""
    name, first = operation.__name__, next(iter(inspect.signature(operation).parameters))
    check, body = vars(operation).get("check"), vars(operation).get("__wrapped__", operation)

    @functools.wraps(operation)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if check is not None:
            check(*args, **kwargs)
        kernel = active_kernels().get(name)
        if kernel is not None and kernel.dtype is not None:
            array: Any = kernel.array(*args, **kwargs) if kernel.array else args[0] if args else kwargs[first]
            if array.dtype != kernel.dtype:
                kernel = None
        return body(*args, **kwargs) if kernel is None else kernel.function(*args, **kwargs)

    return call


def has_kernel(name: str, dtype: npt.DTypeLike) -> bool:
    """Whether a call of the operation ``name`` with arrays of this dtype runs a kernel now."""
    kernel = active_kernels().get(name)
    return kernel is not None and (kernel.dtype is None or kernel.dtype == np.dtype(dtype))


activation_forward = door(ops.activation_forward)
activation_backward = door(ops.activation_backward)
attention_forward = door(ops.attention_forward)
attention_backward = door(ops.attention_backward)
batch_norm_statistics = door(ops.batch_norm_statistics)
batch_norm_forward = door(ops.batch_norm_forward)
batch_norm_again = door(ops.batch_norm_again)
batch_norm_backward_sums = door(ops.batch_norm_backward_sums)
batch_norm_backward = door(ops.batch_norm_backward)
conv2d_forward = door(ops.conv2d_forward)
conv2d_backward = door(ops.conv2d_backward)
cross_entropy_forward = door(ops.cross_entropy_forward)
cross_entropy_backward = door(ops.cross_entropy_backward)
hard_distillation_forward = door(ops.hard_distillation_forward)
hard_distillation_backward = door(ops.hard_distillation_backward)
soft_distillation_forward = door(ops.soft_distillation_forward)
soft_distillation_backward = door(ops.soft_distillation_backward)
global_average_pool_forward = door(ops.global_average_pool_forward)
global_average_pool_backward = door(ops.global_average_pool_backward)
layer_norm_forward = door(ops.layer_norm_forward)
layer_norm_backward = door(ops.layer_norm_backward)
linear_forward = door(ops.linear_forward)
linear_backward = door(ops.linear_backward)
merge_heads = door(ops.merge_heads)
split_heads = door(ops.split_heads)
position_bias_forward = door(ops.position_bias_forward)
position_bias_backward = door(ops.position_bias_backward)
residual_forward = door(ops.residual_forward)
residual_backward = door(ops.residual_backward)
softmax_forward = door(ops.softmax_forward)
softmax_backward = door(ops.softmax_backward)
subsample_forward = door(ops.subsample_forward)
subsample_backward = door(ops.subsample_backward)

adamw_step = door(ops.adamw_step)
clip_units = door(ops.clip_units)
global_norm = door(ops.global_norm)
scale_gradient = door(ops.scale_gradient)
move_average = door(ops.move_average)

augment = door(ops.augment)
normalise = door(ops.normalise)
