"""The arithmetic of gradient clipping: the norm of the whole gradient, and the norms of output units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from levit_ref.ops._checks import check_flat, check_floating, check_shape, checked
from levit_ref.ops._rows import chunks
from levit_ref.ops._types import Array


def _check_norm(grads: Array) -> None:
    check_flat("global_norm: grads", grads)


@checked(_check_norm)
def global_norm(grads: Array) -> float:
    """Euclidean norm of a flat gradient, (P,).

    Each piece is summed in the dtype of the array, the pieces in float64: a float32 sum over millions of squares
    would lose the small ones.
    """
    return math.sqrt(math.fsum(float(np.dot(grads[i], grads[i])) for i in chunks(grads.size)))


def _check_scale(grads: Array, factor: float) -> None:
    check_flat("scale_gradient: grads", grads)


@checked(_check_scale)
def scale_gradient(grads: Array, factor: float) -> None:
    """Multiply a flat gradient, (P,), by a number, in place."""
    grads *= factor


def unit_norms(values: Array) -> Array:
    """Norm of each output unit: over all axes but the first, kept as axes of length 1; of a vector, one norm.

    ==========================  =====================  ==========================
    parameter                   shape                  norms
    ==========================  =====================  ==========================
    convolution weight          (C_out, C_in, kH, kW)  (C_out, 1, 1, 1)
    linear weight               (C_out, C_in)          (C_out, 1)
    attention biases            (heads, offsets)       (heads, 1)
    biases, scales and shifts   (C,)                   (1,)
    ==========================  =====================  ==========================
    """
    rows = values.reshape(1 if values.ndim <= 1 else len(values), -1)  # (units, values in one)
    norms = np.sqrt(np.einsum("ui,ui->u", rows, rows))  # (units,)
    return norms.reshape((-1,) + (1,) * max(values.ndim - 1, 0))


def _check_units(data: Sequence[Array], grads: Sequence[Array], clip: float, eps: float) -> None:
    if len(data) != len(grads):
        raise ValueError(f"clip_units: {len(data)} arrays of weights, {len(grads)} of gradients")
    for w, g in zip(data, grads, strict=True):
        check_floating("clip_units", data=w, grads=g)
        check_shape("clip_units", "grads", g, w.shape, "the shape of the weights")


@checked(_check_units)
def clip_units(data: Sequence[Array], grads: Sequence[Array], clip: float, eps: float) -> int:
    r"""Adaptive clipping of every output unit with weights w and gradient g, in place.

    With the bound ``c = clip · max(‖w‖, eps)``: ``g <- g · c / max(‖g‖, 1e-6)`` where ``‖g‖ >= c``.

    Parameters
    ----------
    data, grads : sequence of ndarray
        Weights and gradients of each parameter, of one shape; see :func:`unit_norms` for what a unit is.
    clip, eps : float

    Returns
    -------
    clipped : int
        How many units were scaled.

    Notes
    -----
    Brock et al. 2021, section 4.1.
    """
    clipped = 0
    for w, g in zip(data, grads, strict=True):
        bound = np.maximum(unit_norms(w), eps) * clip
        norm = unit_norms(g)
        over = norm >= bound
        if over.any():
            scale = np.where(over, bound / np.maximum(norm, 1e-6), 1)
            np.multiply(g, scale.astype(norm.dtype, copy=False), out=g)
            clipped += int(np.count_nonzero(over))
    return clipped
