"""One step of AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

from __future__ import annotations

import math

import numpy as np

from levit_ref.ops._checks import check_flat, checked
from levit_ref.ops._rows import chunks
from levit_ref.ops._types import Array, IntArray


def _check(
    params: Array, grads: Array, m: Array, v: Array, decayed: IntArray, *,
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, step: int,
) -> None:  # fmt: skip
    check_flat("adamw_step: params", params)
    for name, array in ("grads", grads), ("m", m), ("v", v):
        check_flat(f"adamw_step: {name}", array, like=params)


@checked(_check)
def adamw_step(
    params: Array, grads: Array, m: Array, v: Array, decayed: IntArray, *,
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, step: int,
) -> None:  # fmt: skip
    r"""Update every parameter p by its gradient g, in place.

    Step t = 1, 2, ... of learning rate η and decay λ is::

        p <- p (1 - η λ)                       decoupled decay, where the parameter is decayed
        m <- m + (1 - β1) (g - m)              first moment
        v <- β2 v + (1 - β2) g²                second moment
        p <- p - η / (1 - β1^t) · m / (√v / √(1 - β2^t) + ε)

    Parameters
    ----------
    params, grads, m, v : ndarray, shape (P,)
        All but the gradients are updated.
    decayed : ndarray of int64, shape (runs, 2)
        Where decayed parameters begin and end, ascending.
    lr : float
        η.
    betas : (float, float)
        β1 and β2.
    eps : float
        ε, outside the corrected root.
    weight_decay : float
        λ.
    step : int
        t, counted from 1.

    Notes
    -----
    The arithmetic of ``torch.optim.AdamW``.
    """
    beta1, beta2 = betas
    root_scale = 1 / math.sqrt(1 - beta2**step)
    step_size = lr / (1 - beta1**step)
    for begin, end in decayed:
        params[begin:end] *= 1 - lr * weight_decay
    for i in chunks(params.size):
        g = grads[i]
        m[i] += (1 - beta1) * (g - m[i])
        v[i] *= beta2
        v[i] += (1 - beta2) * (g * g)
        params[i] -= step_size * (m[i] / (np.sqrt(v[i]) * root_scale + eps))
