"""Gradient clipping: by the norm of the whole gradient, and adaptively for each output unit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from levit_ref.runtime import native_serves
from levit_ref.runtime.native import training as native
from levit_ref.training.flat import FloatArray, check_flat, chunks


class HasGrad(Protocol):
    """What adaptive clipping needs of a parameter: its values and their gradient, of one shape."""

    @property
    def data(self) -> FloatArray:
        """Values."""

    @property
    def grad(self) -> FloatArray:
        """Gradient, changed in place."""


def global_norm(grads: FloatArray) -> float:
    """Euclidean norm of a flat gradient array.

    Each piece is summed in the dtype of the array, the pieces in float64: a float32 sum over millions of squares
    would lose the small ones.
    """
    check_flat("global_norm: grads", grads)
    if native_serves(grads):
        return math.sqrt(native.sum_of_squares(grads))
    return math.sqrt(math.fsum(float(np.dot(g, g)) for g in (grads[piece] for piece in chunks(grads.size))))


def clip_global_norm(grads: FloatArray, max_norm: float) -> float:
    """Scale the gradient, in place, so that its norm is at most ``max_norm``.

    ``g <- g · min(1, max_norm / (‖g‖ + 1e-6))``, as ``torch.nn.utils.clip_grad_norm_``.

    Parameters
    ----------
    grads : ndarray, (P,)
        Flat gradient array.
    max_norm : float
        Positive.

    Returns
    -------
    norm : float
        The norm before clipping.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_global_norm: max_norm must be positive, got {max_norm}")
    norm = global_norm(grads)
    scale = max_norm / (norm + 1e-6)
    if scale < 1 and native_serves(grads):
        native.scale(grads, scale)
    elif scale < 1:
        grads *= scale
    return norm


def unit_norms(values: FloatArray) -> FloatArray:
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


def clip_adaptive(parameters: Iterable[HasGrad], clip: float = 0.01, eps: float = 1e-3) -> int:
    r"""Adaptive gradient clipping (Brock et al. 2021, section 4.1), in place.

    For each output unit with weights w and gradient g, and bound ``c = clip · max(‖w‖, eps)``::

        g <- g · c / max(‖g‖, 1e-6)    where ‖g‖ >= c

    Parameters
    ----------
    parameters : iterable of objects with ``data`` and ``grad``
        Every parameter given is clipped. The NFNet paper leaves the last linear layer out; the official LeViT recipe
        does not: its engine hands all of ``model.parameters()`` to timm, so heads, norms and attention biases are
        clipped too, and so they are in training here.
    clip : float
        The official recipe has 0.01.
    eps : float
        Floor of the weight norm, so that zero-initialised units can move.

    Returns
    -------
    clipped : int
        How many units were scaled.

    Notes
    -----
    Which axes make up a unit: :func:`unit_norms`. Agrees with timm's ``adaptive_clip_grad``.
    """
    if not clip > 0:
        raise ValueError(f"clip_adaptive: clip must be positive, got {clip}")
    if not eps > 0:
        raise ValueError(f"clip_adaptive: eps must be positive, got {eps}")
    parameters = list(parameters)
    data, grads = [parameter.data for parameter in parameters], [parameter.grad for parameter in parameters]
    if native_serves(*data, *grads):
        return native.clip_adaptive(data, grads, clip, eps)
    clipped = 0
    for parameter in parameters:
        bound = np.maximum(unit_norms(parameter.data), eps) * clip
        norm = unit_norms(parameter.grad)
        over = norm >= bound
        count = int(np.count_nonzero(over))
        if count:
            scale = np.where(over, bound / np.maximum(norm, 1e-6), 1)
            np.multiply(parameter.grad, scale.astype(norm.dtype, copy=False), out=parameter.grad)
            clipped += count
    return clipped
