"""Batch normalisation: :mod:`levit_ref.ops.batch_norm`."""

from __future__ import annotations

import numpy as np

from levit_ref import _native, ops
from levit_ref.ops._checks import Array, Tap, untapped
from levit_ref.ops.batch_norm import (
    BatchNormSaved,
    channels_last,
    check_batch_norm,
    check_batch_norm_backward,
    shaped,
)
from levit_ref.runtime.native.activations import activation_backward, activation_forward
from levit_ref.runtime.native.arrays import rows, serves


def batch_norm_forward(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    *,
    training: bool,
    eps: float = 1e-5,
    channel_axis: int = -1,
    activation: str = "identity",
    tap: Tap = untapped,
) -> tuple[Array, BatchNormSaved]:
    """See :func:`levit_ref.ops.batch_norm_forward`."""
    if not serves(x):
        return ops.batch_norm_forward(
            x, weight, bias, running_mean, running_var,
            training=training, eps=eps, channel_axis=channel_axis, activation=activation, tap=tap,
        )  # fmt: skip
    check_batch_norm(x, weight, bias, running_mean, running_var, training, channel_axis, activation)
    x2 = rows(channels_last(x, channel_axis))  # (M, C)
    if training:
        mean, variance = _native.batch_norm_statistics(x2)  # (C,)
    else:
        mean, variance = running_mean, running_var
    inv_std = 1 / np.sqrt(variance + float(eps))
    saved = BatchNormSaved(
        x2, mean, variance, inv_std, weight, bias, training, channel_axis, x.shape, activation, normalised=None
    )
    if tap is untapped:
        return _normalise(saved, activation), saved
    y = tap("bn", _normalise(saved, "identity"))
    if activation == "identity":
        return y, saved
    y, normalised = activation_forward(activation, y)
    return y, saved._replace(normalised=normalised)


def batch_norm_backward(dy: Array, saved: BatchNormSaved, *, tap: Tap = untapped) -> tuple[Array, Array, Array]:
    """See :func:`levit_ref.ops.batch_norm_backward`."""
    if not serves(dy):
        return ops.batch_norm_backward(dy, saved, tap=tap)
    check_batch_norm_backward(dy, saved)
    activation, normalised = saved.activation, saved.normalised
    if activation != "identity" and (tap is not untapped or normalised is not None):
        normalised = _normalise(saved, "identity") if normalised is None else normalised
        dy = activation_backward(activation, dy, normalised)
        activation = "identity"
    dy2 = rows(channels_last(tap("bn", dy), saved.channel_axis))  # (M, C)
    dx2, dweight, dbias = _native.batch_norm_backward(dy2, *_arrays(saved), activation, saved.training)
    return shaped(dx2, saved), dweight, dbias


def batch_norm_again(saved: BatchNormSaved) -> Array:
    """See :func:`levit_ref.ops.batch_norm_again`."""
    if saved.normalised is not None or not serves(saved.x):
        return ops.batch_norm_again(saved)
    return _normalise(saved, saved.activation)


def _normalise(saved: BatchNormSaved, activation: str) -> Array:
    """``activation(weight (x - mean) inv_std + bias)``, in the shape of the input."""
    return shaped(_native.batch_norm_apply(*_arrays(saved), activation), saved)


def _arrays(saved: BatchNormSaved) -> tuple[Array, Array, Array, Array, Array]:
    """What the kernels read, contiguous also where NumPy saved it."""
    vectors = (saved.mean, saved.inv_std, saved.weight, saved.bias)
    x, mean, inv_std, weight, bias = (np.ascontiguousarray(array) for array in (saved.x, *vectors))
    return x, mean, inv_std, weight, bias
