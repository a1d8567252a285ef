"""Batch normalisation."""

from __future__ import annotations

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array, Tap, untapped
from levit_ref.ops._rows import channels_last, from_rows
from levit_ref.ops.batch_norm import BatchNormSaved, BatchNormSums
from levit_ref.runtime.native.activations import activation_backward, activation_forward
from levit_ref.runtime.native.arrays import rows
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.batch_norm_statistics)
def batch_norm_statistics(x: Array, *, channel_axis: int = -1) -> tuple[Array, Array]:
    mean, variance = extension.batch_norm_statistics(rows(channels_last(x, channel_axis)))
    return mean, variance


@kernel(ops.batch_norm_forward)
def batch_norm_forward(
    x: Array, mean: Array, variance: Array, weight: Array, bias: Array, *,
    eps: float = 1e-5, channel_axis: int = -1, activation: str = "identity", tap: Tap = untapped,
) -> tuple[Array, BatchNormSaved]:  # fmt: skip
    inv_std = 1 / np.sqrt(variance + float(eps))
    saved = BatchNormSaved(x, mean, inv_std, weight, bias, channel_axis, activation, normalised=None)
    if tap is untapped or activation == "identity":
        return tap("bn", _apply(saved, activation)), saved
    y, normalised = activation_forward(tap("bn", _apply(saved, "identity")), activation)
    return y, saved._replace(normalised=normalised)


@kernel(ops.batch_norm_again, array=lambda saved: saved.x)
def batch_norm_again(saved: BatchNormSaved) -> Array:
    if saved.normalised is not None:
        return activation_forward(saved.normalised, saved.activation)[0]
    return _apply(saved, saved.activation)


@kernel(ops.batch_norm_backward_sums)
def batch_norm_backward_sums(dy: Array, saved: BatchNormSaved, *, tap: Tap = untapped) -> BatchNormSums:
    activation, normalised = saved.activation, saved.normalised
    if activation != "identity" and (tap is not untapped or normalised is not None):
        dy = activation_backward(dy, _apply(saved, "identity") if normalised is None else normalised, activation)
        activation = "identity"
    dy = tap("bn", dy)
    dweight, dbias = extension.batch_norm_backward_sums(_rows(dy, saved), *_arrays(saved), activation)
    return BatchNormSums(dweight, dbias, dy, activation)


@kernel(ops.batch_norm_backward, array=lambda sums, saved, count=None: sums.dy)
def batch_norm_backward(sums: BatchNormSums, saved: BatchNormSaved, count: int | None = None) -> Array:
    dweight, dbias, dy, activation = sums
    means = (None, None) if count is None else (dweight / count, dbias / count)
    dx = extension.batch_norm_backward_apply(_rows(dy, saved), *_arrays(saved), activation, *means)
    return from_rows(dx, saved.x.shape, saved.channel_axis)


def _apply(saved: BatchNormSaved, activation: str) -> Array:
    """``activation(weight (x - mean) inv_std + bias)``, in the shape of the input."""
    y = extension.batch_norm_apply(*_arrays(saved), activation)
    return from_rows(y, saved.x.shape, saved.channel_axis)


def _rows(x: Array, saved: BatchNormSaved) -> Array:
    return rows(channels_last(x, saved.channel_axis))


def _arrays(saved: BatchNormSaved) -> list[Array]:
    """The input by rows and the vectors, as kernels read them."""
    vectors = (saved.mean, saved.inv_std, saved.weight, saved.bias)
    return [_rows(saved.x, saved), *map(np.ascontiguousarray, vectors)]
