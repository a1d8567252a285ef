"""Batch normalisation over channels: training, inference, and the running statistics between them.

Axes: ``C`` channels; ``M`` everything else (batch and pixels, or batch and tokens). Internally the channels are
moved to the end and the rest flattened, ``(M, C)``: a free view for tokens and for the convolutions' results.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from levit_ref.ops import activations
from levit_ref.ops._checks import Array, Tap, check_floating, check_not_empty, check_shape, untapped


class BatchNormSaved(NamedTuple):
    """What :func:`batch_norm_backward` needs.

    The input is kept rather than the centred or normalised values: it is there already, and they are one subtraction
    and one multiplication away.
    """

    x: Array  # (M, C): a view of the input where its memory allows
    mean: Array  # (C,): of the batch in training, the running mean at inference
    variance: Array  # (C,): likewise, biased (divided by M)
    inv_std: Array  # (C,): 1 / sqrt(variance + eps)
    weight: Array  # (C,)
    bias: Array  # (C,)
    training: bool
    channel_axis: int
    shape: tuple[int, ...]
    activation: str
    normalised: Array | None  # the shape of x: what the activation was applied to. None: to be computed from x


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
    """Normalise every channel, then scale and shift it (Ioffe and Szegedy 2015, algorithm 1), then apply an activation.

    ``y[m, c] = weight[c] (x[m, c] - mean[c]) / sqrt(variance[c] + eps) + bias[c]``. In training, mean and variance are
    those of the batch (the variance divided by M); at inference they are the running statistics.

    Parameters
    ----------
    x : ndarray, shape (..., C), or (B, C, H, W) with ``channel_axis=1``
    weight, bias, running_mean, running_var : ndarray, shape (C,)
    training : bool
        Which statistics to use. The running ones are not changed here, see :func:`update_running_statistics`.
    eps : float
        Added to the variance.
    channel_axis : int
    activation : str
        One of :data:`levit_ref.ops.ACTIVATIONS`. Normalisation and activation are one operation because both only
        pass over memory: a compiled backend does it once.
    tap : callable
        Sees ``bn``, the value before the activation, and may replace it.

    Returns
    -------
    y : ndarray, the shape of ``x``
    saved : BatchNormSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, shapes do not fit, the batch is empty, or, in training, a channel has
        a single value: its variance would be 0 and its output the bias, whatever the input.

    Notes
    -----
    Agrees with ``torch.nn.BatchNorm1d`` and ``BatchNorm2d``. The paper's section 4.2 has why LeViT prefers it to layer
    normalisation: at inference it merges into the neighbouring matrix product.
    """
    check_batch_norm(x, weight, bias, running_mean, running_var, training, channel_axis, activation)
    rows = channels_last(x, channel_axis)  # (..., C)
    x2 = rows.reshape(-1, len(weight))  # (M, C)
    mean, variance = _statistics(x2) if training else (running_mean, running_var)  # (C,)
    inv_std = 1 / np.sqrt(variance + float(eps))  # (C,); a NumPy float64 would promote float32
    saved = BatchNormSaved(
        x2, mean, variance, inv_std, weight, bias, training, channel_axis, x.shape, activation, normalised=None
    )
    y = tap("bn", _normalise(saved))  # the shape of x
    if activation == "identity":
        return y, saved
    y, normalised = activations.forward(activation, y)
    return y, saved._replace(normalised=normalised)


def _statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of the columns of (M, C)."""
    blocks = _row_blocks(*x.shape)
    mean = np.sum([_sum_rows(x[m]) for m in blocks], axis=0) / len(x)  # (C,)
    (means,) = _spread(blocks, mean)
    squares = np.zeros_like(mean)  # (C,); of centred values: no cancellation
    for m in blocks:
        centred = x[m] - means[: len(x[m])]
        squares += _sum_rows(centred * centred)
    return mean, squares / len(x)


def _normalise(saved: BatchNormSaved) -> Array:
    """``weight (x - mean) inv_std + bias``, in the shape of the input."""
    x = saved.x  # (M, C)
    y = np.empty(x.shape, x.dtype)
    blocks = _row_blocks(*x.shape)
    means, scales, shifts = _spread(blocks, saved.mean, saved.weight * saved.inv_std, saved.bias)
    for m in blocks:
        block = np.subtract(x[m], means[: len(x[m])], out=y[m])
        block *= scales[: len(block)]
        block += shifts[: len(block)]
    return shaped(y, saved)


def channels_last(x: Array, channel_axis: int) -> Array:
    """(..., C), a view. Tokens have their channels last already, which ``np.moveaxis`` takes its time to find out."""
    return x if channel_axis in (-1, x.ndim - 1) else np.moveaxis(x, channel_axis, -1)


def shaped(x: Array, saved: BatchNormSaved) -> Array:
    """(M, C) in the shape of the input, a view."""
    shape, axis = saved.shape, saved.channel_axis % len(saved.shape)
    if axis == len(shape) - 1:
        return x.reshape(shape)
    return np.moveaxis(x.reshape(*shape[:axis], *shape[axis + 1 :], -1), -1, axis)


def batch_norm_again(saved: BatchNormSaved) -> Array:
    """The result of an untapped :func:`batch_norm_forward` again, to the same bits, from what it saved.

    So nobody has to keep it who needs it in a backward pass: one pass over memory, where a matrix product or a
    convolution behind it takes many.
    """
    normalised = _normalise(saved) if saved.normalised is None else saved.normalised
    return activations.forward(saved.activation, normalised)[0]


def batch_norm_backward(dy: Array, saved: BatchNormSaved, *, tap: Tap = untapped) -> tuple[Array, Array, Array]:
    """Gradients of :func:`batch_norm_forward` with respect to ``x``, ``weight`` and ``bias``.

    First the activation's gradient. Then, with ``n = (x - mean) inv_std`` (the normalised value), ``y = weight n +
    bias`` gives ``dbias = sum_m dy`` and ``dweight = sum_m dy n``. At inference the statistics are constants and
    ``dx = dy weight inv_std``. In training they depend on every row of the batch: a common shift of x changes nothing
    (subtract the mean of dy), nor does a common stretch (subtract dy's component along n)::

        dx = weight inv_std (dy - (sum_m dy) / M - n (sum_m dy n) / M)

    Parameters
    ----------
    dy : ndarray, the shape of ``x``
    saved : BatchNormSaved
    tap : callable
        Sees the gradient of ``bn``.

    Returns
    -------
    dx : ndarray, the shape of ``x``
    dweight, dbias : ndarray, shape (C,)
    """
    check_batch_norm_backward(dy, saved)
    x, mean, inv_std, weight = saved.x, saved.mean, saved.inv_std, saved.weight
    if saved.activation != "identity":
        normalised = _normalise(saved) if saved.normalised is None else saved.normalised
        dy = activations.backward(saved.activation, dy, normalised)
    dy = tap("bn", dy)
    dy2 = channels_last(dy, saved.channel_axis).reshape(x.shape)  # (M, C)

    blocks = _row_blocks(*x.shape)
    means, scales = _spread(blocks, mean, weight * inv_std)
    dbias = np.zeros_like(weight)  # (C,)
    dweight = np.zeros_like(weight)  # (C,)
    for m in blocks:
        dbias += _sum_rows(dy2[m])
        dweight += _sum_rows(dy2[m] * (x[m] - means[: len(x[m])]))
    dweight *= inv_std

    M = len(x)
    shifts, slopes = _spread(blocks, dbias / M, inv_std * dweight / M)
    dx2 = np.empty_like(x)  # (M, C)
    for m in blocks:
        rows = len(dx2[m])
        if saved.training:
            block = np.subtract(x[m], means[:rows], out=dx2[m])
            block *= slopes[:rows]  # n (sum dy n) / M
            block += shifts[:rows]
            np.subtract(dy2[m], block, out=block)
            block *= scales[:rows]
        else:
            np.multiply(dy2[m], scales[:rows], out=dx2[m])
    return shaped(dx2, saved), dweight, dbias


def check_batch_norm_backward(dy: Array, saved: BatchNormSaved) -> None:
    """Raise unless ``dy`` has the shape of the result."""
    check_floating("batch_norm_backward", dy=dy, weight=saved.weight)
    check_shape("batch_norm_backward", "dy", dy, saved.shape, "the shape of y")


def check_batch_norm(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    training: bool,
    channel_axis: int,
    activation: str,
) -> None:
    """Raise unless the arguments of :func:`batch_norm_forward` fit together."""
    check_floating("batch_norm", x=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    check_not_empty("batch_norm", "x", x)
    if not -x.ndim <= channel_axis < x.ndim:
        raise ValueError(f"batch_norm: channel_axis is {channel_axis}, but x has only {x.ndim} axes (shape {x.shape})")
    C = x.shape[channel_axis]
    for name, vector in {
        "weight": weight,
        "bias": bias,
        "running_mean": running_mean,
        "running_var": running_var,
    }.items():
        check_shape("batch_norm", name, vector, (C,), f"one value for each of x's {C} channels")
    M = x.size // C
    if training and M < 2:
        raise ValueError(
            f"batch_norm: training needs more than one value per channel, got x of shape {x.shape}: "
            "the variance of a single value is 0. Use a batch of at least 2, or eval mode"
        )
    activations.check_name("batch_norm", activation)


def update_running_statistics(
    running_mean: Array, running_var: Array, saved: BatchNormSaved, *, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Running statistics after a training batch: ``(1 - momentum) running + momentum batch``.

    As PyTorch keeps them: the variance that enters is the unbiased one (divided by M - 1), although the one that
    normalised the batch was not.

    Parameters
    ----------
    running_mean, running_var : ndarray, shape (C,)
    saved : BatchNormSaved
        Of a forward pass in training.
    momentum : float
        Weight of the new batch.

    Returns
    -------
    running_mean, running_var : ndarray, shape (C,)
        New arrays.
    """
    if not saved.training:
        raise ValueError(
            "update_running_statistics: saved is of a forward pass with training=False, which has no batch statistics"
        )
    check_floating(
        "update_running_statistics", running_mean=running_mean, running_var=running_var, saved_mean=saved.mean
    )
    check_shape("update_running_statistics", "running_mean", running_mean, saved.mean.shape, "(C,)")
    check_shape("update_running_statistics", "running_var", running_var, saved.mean.shape, "(C,)")
    momentum = float(momentum)
    M = len(saved.x)
    unbiased = saved.variance * (M / (M - 1))
    return (1 - momentum) * running_mean + momentum * saved.mean, (1 - momentum) * running_var + momentum * unbiased


def _row_blocks(M: int, C: int) -> list[slice]:
    """Cut M rows of C channels into blocks of about 128k values: passes over one after another stay in the cache.

    It also keeps sums accurate. One float32 accumulator loses a thousandth of the variance over the 1.6 million rows
    that a batch of 128 has behind the first convolution; one for each block, added up afterwards, loses a millionth.
    """
    rows = max(1, 131_072 // C)
    return [slice(start, min(start + rows, M)) for start in range(0, M, rows)]


def _spread(blocks: list[slice], *vectors: Array) -> tuple[Array, ...]:
    """Repeat vectors (C,) to the shape of the first block, the largest: NumPy is faster on operands of one shape."""
    return tuple(np.full((blocks[0].stop, len(vector)), vector, vector.dtype) for vector in vectors)


def _sum_rows(x: Array) -> Array:
    """``x.sum(axis=0)`` for (M, C), as a matrix-vector product, which is thrice as fast: (C,)."""
    return np.ones(len(x), x.dtype) @ x
