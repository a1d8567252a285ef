"""2-D convolution: :mod:`levit_ref.ops.conv2d`."""

from __future__ import annotations

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array
from levit_ref.ops.conv2d import Conv2dSaved, check_conv2d, check_conv2d_backward
from levit_ref.runtime.native.arrays import serves


def conv2d_forward(
    x: Array, weight: Array, *, stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0
) -> tuple[Array, Conv2dSaved]:
    """See :func:`levit_ref.ops.conv2d_forward`."""
    if not serves(x):
        return ops.conv2d_forward(x, weight, stride=stride, padding=padding)
    stride, padding = check_conv2d(x, weight, stride, padding)
    y = _native.conv2d_forward(_images(x), _channels_last(weight), stride, padding)  # (B, H_out, W_out, C_out)
    B, C_in, H, W = x.shape
    return y.transpose(0, 3, 1, 2), Conv2dSaved(x, None, weight, (B, C_in, H, W), stride, padding)


def conv2d_backward(dy: Array, saved: Conv2dSaved, *, need_dx: bool = True) -> tuple[Array | None, Array]:
    """See :func:`levit_ref.ops.conv2d_backward`."""
    x, _, weight, (_, _, H, W), stride, padding = saved
    if x is None or not serves(dy):
        return ops.conv2d_backward(dy, saved, need_dx=need_dx)
    check_conv2d_backward(dy, saved)
    _, _, kH, kW = weight.shape
    dy = _channels_last(dy)  # (B, H_out, W_out, C_out)
    dweight = _native.conv2d_backward_weight(dy, _images(x), (kH, kW), stride, padding)  # (kH, kW, C_in, C_out)
    dweight = dweight.transpose(3, 2, 0, 1)  # (C_out, C_in, kH, kW)
    if not need_dx:
        return None, dweight
    dx = _native.conv2d_backward_x(dy, _channels_last(weight), (H, W), stride, padding)  # (B, H, W, C_in)
    return dx.transpose(0, 3, 1, 2), dweight


def _images(x: Array) -> Array:
    """(B, C, H, W) as (B, H, W, C), wherever its axes lie in memory."""
    return (x if x.flags.aligned else x.copy()).transpose(0, 2, 3, 1)


def _channels_last(x: Array) -> Array:
    """(B, C, H, W) as a contiguous (B, H, W, C); a copy only if it has to be."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
