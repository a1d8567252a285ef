"""Batch normalisation over channels: statistics and application, forward and backward.

Statistics and application are two operations in either direction, so that somebody who computes a part of a batch can
add up the sums of all parts in between. At inference the running statistics take the place of the batch's.

Axes: ``C`` channels; ``m`` runs over everything else (batch and pixels, or batch and tokens), ``M`` values a channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from levit_ref.ops._checks import check_floating, check_not_empty, check_shape, checked
from levit_ref.ops._rows import from_rows, moments, project_out, rows_of, scale_and_shift, sums_with
from levit_ref.ops._types import Array, Tap, untapped
from levit_ref.ops.activations import ACTIVATIONS, check_activation


def _check_statistics(x: Array, *, channel_axis: int = -1) -> None:
    check_floating("batch_norm", x=x)
    _check_axis(x, channel_axis)
    if x.size // x.shape[channel_axis] < 2:
        raise ValueError(
            f"batch_norm: training needs more than one value per channel, got x of shape {x.shape}: "
            "the variance of a single value is 0. Use a batch of at least 2, or eval mode"
        )


@checked(_check_statistics)
def batch_norm_statistics(x: Array, *, channel_axis: int = -1) -> tuple[Array, Array]:
    """``mean[c] = sum_m x[m, c] / M`` and ``variance[c] = sum_m (x[m, c] - mean[c])^2 / M``.

    Parameters
    ----------
    x : ndarray, shape (..., C), or (B, C, H, W) with ``channel_axis=1``
    channel_axis : int

    Returns
    -------
    mean, variance : ndarray, shape (C,)

    Raises
    ------
    TypeError, ValueError
        If the dtype is not floating, ``x`` is empty, or a channel has a single value: its variance would be 0 and its
        output the bias, whatever the input.
    """
    return moments(rows_of(x, channel_axis))


class BatchNormSaved(NamedTuple):
    """What the backward pass needs.

    The input is kept rather than the centred or normalised values: it is there already, and they are one subtraction
    and one multiplication away.
    """

    x: Array  # the input
    mean: Array  # (C,)
    inv_std: Array  # (C,): 1 / sqrt(variance + eps)
    weight: Array  # (C,)
    bias: Array  # (C,)
    channel_axis: int
    activation: str
    normalised: Array | None  # the shape of x: the value before the activation; None if it can be computed from x


def _check(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array,
    bias: Array,
    *,
    eps: float = 1e-5,
    channel_axis: int = -1,
    activation: str = "identity",
    tap: Tap = untapped,
) -> None:
    check_floating("batch_norm", x=x, mean=mean, variance=variance, weight=weight, bias=bias)
    _check_axis(x, channel_axis)
    C = x.shape[channel_axis]
    for name, vector in (("mean", mean), ("variance", variance), ("weight", weight), ("bias", bias)):
        check_shape("batch_norm", name, vector, (C,), f"one value for each of x's {C} channels")
    check_activation("batch_norm", activation)


@checked(_check)
def batch_norm_forward(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array,
    bias: Array,
    *,
    eps: float = 1e-5,
    channel_axis: int = -1,
    activation: str = "identity",
    tap: Tap = untapped,
) -> tuple[Array, BatchNormSaved]:
    """Normalise every channel, scale and shift it (Ioffe and Szegedy 2015, algorithm 1), and apply an activation f.

    ``y[m, c] = f(weight[c] (x[m, c] - mean[c]) / sqrt(variance[c] + eps) + bias[c])``

    Parameters
    ----------
    x : ndarray, shape (..., C), or (B, C, H, W) with ``channel_axis=1``
    mean, variance : ndarray, shape (C,)
        In training from :func:`batch_norm_statistics`, at inference the running ones.
    weight, bias : ndarray, shape (C,)
    eps : float
        Added to the variance.
    channel_axis : int
    activation : str
        One of :data:`levit_ref.ops.ACTIVATIONS`. It belongs to this operation because both are one pass over memory.
    tap : callable
        Sees ``bn``, the value before the activation, and may replace it.

    Returns
    -------
    y : ndarray, the shape of ``x``
    saved : BatchNormSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, shapes do not fit, or the batch is empty.

    Notes
    -----
    Agrees with ``torch.nn.BatchNorm1d`` and ``BatchNorm2d``. The paper's section 4.2 explains why LeViT prefers it to
    layer normalisation: at inference it merges into the neighbouring matrix product.
    """
    inv_std = 1 / np.sqrt(variance + float(eps))  # (C,); a NumPy float64 would promote float32
    saved = BatchNormSaved(x, mean, inv_std, weight, bias, channel_axis, activation, normalised=None)
    y = tap("bn", _normalise(saved))
    if activation == "identity":
        return y, saved
    return ACTIVATIONS[activation].forward(y)[0], saved._replace(normalised=y)


def batch_norm_again(saved: BatchNormSaved) -> Array:
    """The result of :func:`batch_norm_forward` again, to the same bits, from what it saved: one pass over memory."""
    normalised = _normalise(saved) if saved.normalised is None else saved.normalised
    return ACTIVATIONS[saved.activation].forward(normalised)[0]


class BatchNormSums(NamedTuple):
    """What the first of the two backward operations hands to the second."""

    dweight: Array  # (C,): of this part of the batch, or the sum over all parts
    dbias: Array  # (C,): likewise
    dy: Array  # the shape of x
    activation: str  # whose gradient ``dy`` has yet to go through; "identity" where that is done


def _check_backward_sums(dy: Array, saved: BatchNormSaved, *, tap: Tap = untapped) -> None:
    check_floating("batch_norm_backward", dy=dy, weight=saved.weight)
    check_shape("batch_norm_backward", "dy", dy, saved.x.shape, "the shape of y")


@checked(_check_backward_sums)
def batch_norm_backward_sums(dy: Array, saved: BatchNormSaved, *, tap: Tap = untapped) -> BatchNormSums:
    """Gradients of :func:`batch_norm_forward` with respect to ``weight`` and ``bias``: two sums over the batch.

    With the normalised value ``n = (x - mean) inv_std`` and ``dz``, the gradient of ``z = weight n + bias``, which is
    ``dy`` after the activation's backward pass::

        dbias[c] = sum_m dz[m, c]    dweight[c] = sum_m dz[m, c] n[m, c]

    Parameters
    ----------
    dy : ndarray, the shape of ``x``
    saved : BatchNormSaved
    tap : callable
        Sees the gradient of ``bn``.

    Returns
    -------
    sums : BatchNormSums
    """
    dz = tap("bn", _before_activation(dy, saved, saved.activation))
    dbias, centred = sums_with(rows_of(dz, saved.channel_axis), rows_of(saved.x, saved.channel_axis), saved.mean)
    return BatchNormSums(centred * saved.inv_std, dbias, dz, "identity")


def _check_backward(sums: BatchNormSums, saved: BatchNormSaved, count: int | None = None) -> None:
    check_floating("batch_norm_backward", dy=sums.dy, weight=saved.weight, dweight=sums.dweight, dbias=sums.dbias)
    check_shape("batch_norm_backward", "dy", sums.dy, saved.x.shape, "the shape of y")
    for name, vector in ("dweight", sums.dweight), ("dbias", sums.dbias):
        check_shape("batch_norm_backward", name, vector, saved.weight.shape, "(C,)")


@checked(_check_backward)
def batch_norm_backward(sums: BatchNormSums, saved: BatchNormSaved, count: int | None = None) -> Array:
    """Gradient of :func:`batch_norm_forward` with respect to ``x``.

    Constant statistics leave ``dx = weight inv_std dz``. Statistics of the batch depend on all of its M values: a
    common shift of x changes nothing (subtract the mean of dz), nor does a common stretch (subtract dz's component
    along n)::

        dx = weight inv_std (dz - (sum_m dz) / M - n (sum_m dz n) / M)

    Parameters
    ----------
    sums : BatchNormSums
        From :func:`batch_norm_backward_sums`; ``dweight`` and ``dbias`` added up over all parts of the batch.
    saved : BatchNormSaved
    count : int, optional
        M, values a channel in the whole batch; without it the statistics were constants.

    Returns
    -------
    dx : ndarray, the shape of ``x``
    """
    dz, x = (rows_of(a, saved.channel_axis) for a in (_before_activation(sums.dy, saved, sums.activation), saved.x))
    scale = saved.weight * saved.inv_std  # (C,)
    if count is None:
        dx: Array = dz * scale
    else:
        slope = saved.inv_std * sums.dweight / count  # of x - mean: n (sum_m dz n) / M
        dx = project_out(dz, x, saved.mean, slope, sums.dbias / count, scale)
    return from_rows(dx, saved.x.shape, saved.channel_axis)


def update_running_statistics(
    running_mean: Array, running_var: Array, mean: Array, variance: Array, count: int, *, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Running statistics after a training batch: ``(1 - momentum) running + momentum batch``.

    As PyTorch keeps them: the variance that enters is the unbiased one (divided by M - 1), although the one that
    normalised the batch was not.

    Parameters
    ----------
    running_mean, running_var : ndarray, shape (C,)
    mean, variance : ndarray, shape (C,)
        From :func:`batch_norm_statistics`.
    count : int
        M, values a channel in the batch.
    momentum : float
        Weight of the new batch.

    Returns
    -------
    running_mean, running_var : ndarray, shape (C,)
        New arrays.
    """
    check_floating("update_running_statistics", running_mean=running_mean, running_var=running_var, mean=mean)
    check_shape("update_running_statistics", "running_mean", running_mean, mean.shape, "(C,)")
    check_shape("update_running_statistics", "running_var", running_var, mean.shape, "(C,)")
    momentum = float(momentum)
    unbiased = variance * (count / (count - 1))
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * unbiased


def _normalise(saved: BatchNormSaved) -> Array:
    """``weight (x - mean) inv_std + bias``, in the shape of the input."""
    rows = rows_of(saved.x, saved.channel_axis)
    y = scale_and_shift(rows, saved.mean, saved.weight * saved.inv_std, saved.bias)
    return from_rows(y, saved.x.shape, saved.channel_axis)


def _before_activation(dy: Array, saved: BatchNormSaved, activation: str) -> Array:
    """``dy`` after the backward pass of an activation."""
    if activation == "identity":
        return dy
    return ACTIVATIONS[activation].backward(dy, _normalise(saved) if saved.normalised is None else saved.normalised)


def _check_axis(x: Array, channel_axis: int) -> None:
    check_not_empty("batch_norm", "x", x)
    if not -x.ndim <= channel_axis < x.ndim:
        raise ValueError(f"batch_norm: channel_axis is {channel_axis}, but x has only {x.ndim} axes (shape {x.shape})")
