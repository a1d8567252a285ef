"""Gradient clipping. Norms are sums in another order than NumPy's: they agree to rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from levit_ref import ops
from levit_ref.ops import Array
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.global_norm)
def global_norm(grads: Array) -> float:
    return math.sqrt(extension.sum_of_squares(grads))


@kernel(ops.scale_gradient)
def scale_gradient(grads: Array, factor: float) -> None:
    extension.scale(grads, factor)


def _first(data: Sequence[Array], grads: Sequence[Array], clip: float, eps: float) -> Array:
    return data[0] if data else np.zeros(0, np.float32)


@kernel(ops.clip_units, array=_first)
def clip_units(data: Sequence[Array], grads: Sequence[Array], clip: float, eps: float) -> int:
    written = [np.ascontiguousarray(g) for g in grads]  # the gradients themselves, if their memory allows
    clipped: int = extension.clip_units([np.ascontiguousarray(w) for w in data], written, clip, eps)
    for g, result in zip(grads, written, strict=True):
        if result is not g:
            g[...] = result
    return clipped
