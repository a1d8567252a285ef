"""2-D convolution."""

from __future__ import annotations

from typing import cast

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.ops._checks import pair
from levit_ref.ops.conv2d import Conv2dSaved
from levit_ref.runtime.native.activations import activation_backward
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.conv2d_forward)
def conv2d_forward(
    x: Array, weight: Array, bias: Array | None = None, *,
    stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0, activation: str = "identity",
) -> tuple[Array, Conv2dSaved]:  # fmt: skip
    saved = Conv2dSaved(
        x, weight, bias, pair("conv2d", "stride", stride, 1), pair("conv2d", "padding", padding, 0), activation, None
    )
    return _convolve(saved, activation), saved


@kernel(ops.conv2d_backward)
def conv2d_backward(dy: Array, saved: Conv2dSaved, *, need_dx: bool = True) -> tuple[Array, Array, Array | None]:
    x, weight, bias, stride, padding, activation, _ = saved
    (_, _, H, W), (C_out, _, kH, kW) = x.shape, weight.shape
    if activation != "identity":
        dy = activation_backward(dy, _convolve(saved, "identity"), activation)
    dy = _channels_last(dy)  # (B, H_out, W_out, C_out)
    dweight = extension.conv2d_backward_weight(dy, _images(x), (kH, kW), stride, padding)  # (kH, kW, C_in, C_out)
    dweight = dweight.transpose(3, 2, 0, 1)  # (C_out, C_in, kH, kW)
    dbias = None if bias is None else extension.sum_rows(dy.reshape(-1, C_out))
    if not need_dx:
        return cast(Array, None), dweight, dbias
    dx = extension.conv2d_backward_x(dy, _channels_last(weight), (H, W), stride, padding)  # (B, H, W, C_in)
    return dx.transpose(0, 3, 1, 2), dweight, dbias


def _convolve(saved: Conv2dSaved, activation: str) -> Array:
    """(B, C_out, H_out, W_out), the channels innermost in memory."""
    bias = None if saved.bias is None else np.ascontiguousarray(saved.bias)
    y = extension.conv2d_forward(
        _images(saved.x), _channels_last(saved.weight), bias, activation, stride=saved.stride, padding=saved.padding
    )
    return cast(Array, y.transpose(0, 3, 1, 2))


def _images(x: Array) -> Array:
    """(B, C, H, W) as (B, H, W, C), wherever its axes lie in memory."""
    return (x if x.flags.aligned else x.copy()).transpose(0, 2, 3, 1)


def _channels_last(x: Array) -> Array:
    """(B, C, H, W) as a contiguous (B, H, W, C); a copy only if it has to be."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
