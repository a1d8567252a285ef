"""Layer normalisation over the last axis: what LeViT does without, and the paper's ablation A3 puts back.

Axes: ``C`` channels, last; every leading entry (token) is normalised by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from levit_ref.ops._checks import check_floating, check_not_empty, check_shape, checked
from levit_ref.ops._types import Array


class LayerNormSaved(NamedTuple):
    """What :func:`layer_norm_backward` needs."""

    normalised: Array  # (..., C)
    inv_std: Array  # (..., 1)
    weight: Array  # (C,)


def _check(x: Array, weight: Array, bias: Array, *, eps: float = 1e-5) -> None:
    check_floating("layer_norm", x=x, weight=weight, bias=bias)
    check_not_empty("layer_norm", "x", x)
    C = x.shape[-1]
    check_shape("layer_norm", "weight", weight, (C,), "(C,)")
    check_shape("layer_norm", "bias", bias, (C,), "(C,)")


@checked(_check)
def layer_norm_forward(x: Array, weight: Array, bias: Array, *, eps: float = 1e-5) -> tuple[Array, LayerNormSaved]:
    """``y = weight n + bias`` with ``n = (x - mean_c x) / sqrt(var_c x + eps)``, statistics over the channels.

    Parameters
    ----------
    x : ndarray, shape (..., C)
    weight, bias : ndarray, shape (C,)
    eps : float

    Returns
    -------
    y : ndarray, the shape of ``x``
    saved : LayerNormSaved

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or are not floating, shapes do not fit, or ``x`` is empty.

    Notes
    -----
    Agrees with ``torch.nn.functional.layer_norm``.
    """
    centred = x - x.mean(axis=-1, keepdims=True)  # (..., C)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)  # (..., 1)
    inv_std = 1 / np.sqrt(variance + float(eps))  # (..., 1); a NumPy float64 would promote float32
    normalised = centred * inv_std  # (..., C)
    return normalised * weight + bias, LayerNormSaved(normalised, inv_std, weight)


def _check_backward(dy: Array, saved: LayerNormSaved) -> None:
    check_floating("layer_norm_backward", dy=dy, weight=saved.weight)
    check_shape("layer_norm_backward", "dy", dy, saved.normalised.shape, "the shape of y")


@checked(_check_backward)
def layer_norm_backward(dy: Array, saved: LayerNormSaved) -> tuple[Array, Array, Array]:
    """Gradients of :func:`layer_norm_forward` with respect to ``x``, ``weight`` and ``bias``.

    As in batch normalisation, with the sums over channels instead of rows; ``dn = dy weight`` comes first because
    the weight now varies along the axis of the statistics::

        dx = inv_std (dn - mean_c dn - n mean_c(dn n))

    Parameters
    ----------
    dy : ndarray, shape (..., C)
    saved : LayerNormSaved

    Returns
    -------
    dx : ndarray, shape (..., C)
    dweight, dbias : ndarray, shape (C,)
    """
    n, inv_std, weight = saved
    leading = tuple(range(dy.ndim - 1))
    dbias = dy.sum(axis=leading)  # (C,)
    dweight = (dy * n).sum(axis=leading)  # (C,)
    dn = dy * weight  # (..., C)
    dx = inv_std * (dn - dn.mean(axis=-1, keepdims=True) - n * (dn * n).mean(axis=-1, keepdims=True))
    return dx, dweight, dbias
