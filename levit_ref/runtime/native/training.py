"""Kernels for :mod:`levit_ref.training`: each is one pass, in place, over flat float32 arrays.

The arithmetic in NumPy, which decides, stands where these are called, behind ``if native_serves(...)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from levit_ref.ops._checks import Array, IntArray
from levit_ref.runtime.native import extension


def sum_of_squares(x: Array) -> float:
    """Of (P,); blocks of it are summed in float32, their sums in float64."""
    total: float = extension.sum_of_squares(x)
    return total


def scale(x: Array, factor: float) -> None:
    """Multiply (P,) by a number."""
    extension.scale(x, factor)


def clip_adaptive(data: Sequence[Array], grads: Sequence[Array], clip: float, eps: float) -> int:
    """:func:`levit_ref.training.clipping.clip_adaptive` of all parameters in one call; returns how many units it hit.

    Norms are sums in another order than NumPy's: gradients agree to rounding.
    """
    clipped: int = extension.clip_units(data, grads, clip, eps)
    return clipped


def adamw_step(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    edges: IntArray,
    *,
    keep: float,
    beta1: float,
    beta2: float,
    root_scale: float,
    eps: float,
    step_size: float,
) -> None:
    """:meth:`levit_ref.training.AdamW.step`, to the same bits.

    Parameters
    ----------
    params, grads, m, v : ndarray, (P,)
        All but the gradients are updated.
    edges : ndarray of int64
        Where decayed runs begin and end, in turns, ascending.
    keep : float
        Factor of the decayed parameters.
    beta1, beta2, eps : float
    root_scale : float
        ``1 / √(1 - β2^t)``.
    step_size : float
        ``η / (1 - β1^t)``.
    """
    extension.adamw_step(
        params,
        grads,
        m,
        v,
        edges,
        keep=keep,
        one_minus_beta1=1 - beta1,  # in float64, as NumPy's code has it
        beta2=beta2,
        one_minus_beta2=1 - beta2,
        root_scale=root_scale,
        eps=eps,
        step_size=step_size,
    )


def move_average(average: Array, value: Array, share: float) -> None:
    """``average += share * (value - average)`` of (P,), to the same bits as :meth:`levit_ref.training.Ema.update`."""
    extension.move_average(average, value, share)
