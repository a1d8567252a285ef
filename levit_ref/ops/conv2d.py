"""2-D convolution as one matrix product over the patches under the kernel (im2col).

Axes: ``B`` batch, ``C`` channels, ``H, W`` rows and columns, ``kH, kW`` the kernel. Shapes are PyTorch's
(images ``(B, C, H, W)``); in memory the channels lie innermost, so that the values under one kernel row are one
contiguous run, and the products' results need no transposition: they are returned as transposed views.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from levit_ref.ops._checks import check_floating, check_ndim, check_shape, checked, given, pair
from levit_ref.ops._types import Array
from levit_ref.ops.activations import ACTIVATIONS, check_activation


class Conv2dSaved(NamedTuple):
    """What :func:`conv2d_backward` needs.

    The patches are kept although they could be gathered from ``x`` again: at stride 2 a 3x3 kernel covers each
    pixel 2.25 times, so they cost little memory and save the second gathering. They may be left out.
    """

    x: Array  # (B, C_in, H, W)
    weight: Array  # (C_out, C_in, kH, kW)
    bias: Array | None  # (C_out,)
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: str
    patches: Array | None  # (B * H_out * W_out, kH * kW * C_in)


def conv2d_output_size(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns after a convolution: ``floor((size + 2 padding - kernel) / stride) + 1``."""
    rows, columns = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))
    return rows, columns


def _check(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    activation: str = "identity",
) -> None:
    check_floating("conv2d", x=x, weight=weight, **given(bias=bias))
    check_ndim("conv2d", "x", x, "(B, C_in, H, W)")
    check_ndim("conv2d", "weight", weight, "(C_out, C_in, kH, kW)")
    (_, C_in, H, W), (C_out, C_weight, kH, kW) = x.shape, weight.shape
    if C_weight != C_in:
        raise ValueError(
            f"conv2d: x has {C_in} channels (shape {x.shape}), weight expects {C_weight} (shape {weight.shape})"
        )
    if bias is not None:
        check_shape("conv2d", "bias", bias, (C_out,), "(C_out,)")
    stride, padding = pair("conv2d", "stride", stride, 1), pair("conv2d", "padding", padding, 0)
    if min(conv2d_output_size((H, W), (kH, kW), stride, padding)) < 1:
        raise ValueError(f"conv2d: kernel {kH}x{kW} is larger than the {H}x{W} image padded by {padding}")
    check_activation("conv2d", activation)


@checked(_check)
def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    activation: str = "identity",
) -> tuple[Array, Conv2dSaved]:
    """Cross-correlate images with a bank of kernels (what deep learning calls convolution).

    ``y[b, o, r, c] = f(sum_{i, u, v} x[b, i, r sH + u - pH, c sW + v - pW] weight[o, i, u, v] + bias[o])``, with zeros
    outside.

    Parameters
    ----------
    x : ndarray, shape (B, C_in, H, W)
    weight : ndarray, shape (C_out, C_in, kH, kW)
    bias : ndarray, shape (C_out,), optional
    stride, padding : int or (int, int)
        Rows and columns; stride at least 1, padding at least 0.
    activation : str
        f, one of :data:`levit_ref.ops.ACTIVATIONS`.

    Returns
    -------
    y : ndarray, shape (B, C_out, H_out, W_out)
        A view whose channels are contiguous in memory.
    saved : Conv2dSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, channels do not fit, the batch is empty, or the kernel is larger
        than the padded image.

    Notes
    -----
    Agrees with ``torch.nn.functional.conv2d`` without groups or dilation, which LeViT does not use.
    """
    stride, padding = pair("conv2d", "stride", stride, 1), pair("conv2d", "padding", padding, 0)
    (B, _, H, W), (C_out, _, kH, kW) = x.shape, weight.shape
    H_out, W_out = conv2d_output_size((H, W), (kH, kW), stride, padding)

    patches = _gather_patches(x, (kH, kW), (H_out, W_out), stride, padding)  # (B*H_out*W_out, kH*kW*C_in)
    y2 = _multiply(patches, weight, bias)  # (B*H_out*W_out, C_out)
    if activation != "identity":
        y2, _ = ACTIVATIONS[activation].forward(y2)
    y = y2.reshape(B, H_out, W_out, C_out).transpose(0, 3, 1, 2)  # (B, C_out, H_out, W_out)
    return y, Conv2dSaved(x, weight, bias, stride, padding, activation, patches)


def _check_backward(dy: Array, saved: Conv2dSaved, *, need_dx: bool = True) -> None:
    (B, _, H, W), (C_out, _, kH, kW) = saved.x.shape, saved.weight.shape
    check_floating("conv2d_backward", dy=dy, weight=saved.weight)
    H_out, W_out = conv2d_output_size((H, W), (kH, kW), saved.stride, saved.padding)
    check_shape("conv2d_backward", "dy", dy, (B, C_out, H_out, W_out), "the shape of y")


@checked(_check_backward)
def conv2d_backward(dy: Array, saved: Conv2dSaved, *, need_dx: bool = True) -> tuple[Array, Array, Array | None]:
    """Gradients of :func:`conv2d_forward`.

    The forward pass is a gathering followed by a matrix product; so the backward pass is the product's two
    gradients, and for ``dx`` the gathering undone, where every pixel sums over the patches that it was copied to::

        dweight[o, i, u, v] = sum_{b, r, c} dy[b, o, r, c] x[b, i, r sH + u - pH, c sW + v - pW]
        dbias[o]            = sum_{b, r, c} dy[b, o, r, c]
        dx[b, i, h, w]      = sum of dy[b, o, r, c] weight[o, i, u, v] over all (r, u), (c, v) with
                              r sH + u - pH = h and c sW + v - pW = w

    Parameters
    ----------
    dy : ndarray, shape (B, C_out, H_out, W_out)
    saved : Conv2dSaved
    need_dx : bool
        False leaves out ``dx`` and returns None in its place: the first layer of a network in training does not
        need it.

    Returns
    -------
    dx : ndarray, shape (B, C_in, H, W), or None
    dweight : ndarray, shape (C_out, C_in, kH, kW)
    dbias : ndarray, shape (C_out,), or None if the forward pass had no bias
    """
    x, weight, bias, (sH, sW), (pH, pW), activation, patches = saved
    (B, C_in, H, W), (C_out, _, kH, kW) = x.shape, weight.shape
    H_out, W_out = conv2d_output_size((H, W), (kH, kW), (sH, sW), (pH, pW))
    if patches is None:
        patches = _gather_patches(x, (kH, kW), (H_out, W_out), (sH, sW), (pH, pW))

    dy2 = dy.transpose(0, 2, 3, 1).reshape(-1, C_out)  # (B*H_out*W_out, C_out)
    if activation != "identity":
        dy2 = ACTIVATIONS[activation].backward(dy2, _multiply(patches, weight, bias))
    dweight = (dy2.T @ patches).reshape(C_out, kH, kW, C_in).transpose(0, 3, 1, 2)  # (C_out, C_in, kH, kW)
    dbias = None if bias is None else dy2.sum(axis=0)  # (C_out,)
    if not need_dx:
        return cast(Array, None), dweight, dbias

    kernel = weight.transpose(0, 2, 3, 1).reshape(C_out, kH * kW * C_in)
    dx = np.empty((B, H, W, C_in), dy.dtype)
    pixels = H_out * W_out
    images = max(1, 262_144 // (pixels * kH * kW * C_in))  # at a time: about 1 MB of patches, which the cache holds
    for b in range(0, B, images):
        n = min(images, B - b)
        dpatches = (dy2[b * pixels : (b + n) * pixels] @ kernel).reshape(n, H_out, W_out, kH, kW, C_in)
        padded = np.zeros((n, H + 2 * pH, W + 2 * pW, C_in), dy.dtype)
        for u in range(kH):
            for v in range(kW):
                padded[:, u : u + sH * H_out : sH, v : v + sW * W_out : sW] += dpatches[:, :, :, u, v]
        dx[b : b + n] = padded[:, pH : pH + H, pW : pW + W]
    return dx.transpose(0, 3, 1, 2), dweight, dbias  # dx: (B, C_in, H, W)


def _multiply(patches: Array, weight: Array, bias: Array | None) -> Array:
    """The convolution as a product, (B*H_out*W_out, C_out)."""
    y = patches @ weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))  # (kH*kW*C_in, C_out) on the right
    if bias is not None:
        y += bias
    return y


def _gather_patches(
    x: Array, kernel: tuple[int, int], out: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Array:
    """Every patch under the kernel as one row: (B * H_out * W_out, kH * kW * C)."""
    B, C, H, W = x.shape
    (kH, kW), (H_out, W_out), (sH, sW), (pH, pW) = kernel, out, stride, padding
    padded = np.zeros((B, H + 2 * pH, W + 2 * pW, C), x.dtype)
    padded[:, pH : pH + H, pW : pW + W] = x.transpose(0, 2, 3, 1)
    b, h, w, c = padded.strides
    # The kW pixels of a kernel row, with their C channels, are neighbours in memory: one run of kW * C values.
    rows = as_strided(padded, (B, H_out, W_out, kH, kW * C), (b, sH * h, sW * w, h, c), writeable=False)
    return rows.reshape(B * H_out * W_out, kH * kW * C)  # the one copy
