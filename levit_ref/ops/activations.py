"""Elementwise activations. LeViT uses hardswish; SiLU, ReLU and GELU serve the later variants and the ablations.

Each saves its input ``x`` alone: recomputing the gate from it is cheaper than the memory of keeping it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf, expit

from levit_ref.ops._checks import Array, check_floating, check_not_empty, check_shape


def check_activation(op: str, x: Array) -> None:
    """Raise unless ``x`` is an array that the activation ``op`` can be applied to."""
    check_floating(op, x=x)
    check_not_empty(op, "x", x)


def check_activation_backward(op: str, dy: Array, x: Array) -> None:
    """Raise unless ``dy`` has the shape of the result. ``op`` is the function's name."""
    check_floating(op, dy=dy, x=x)
    check_shape(op, "dy", dy, x.shape, "the shape of y")


def hardswish_forward(x: Array) -> tuple[Array, Array]:
    """``y = x * clip(x + 3, 0, 6) / 6``: swish with a piecewise linear gate (Howard et al. 2019, section 5.2).

    Parameters
    ----------
    x : ndarray, any shape

    Returns
    -------
    y : ndarray, the shape of ``x``
    saved : ndarray
        ``x``.

    Notes
    -----
    Agrees with ``torch.nn.functional.hardswish``. The activation of all of LeViT (paper, section 4.2).
    """
    check_activation("hardswish", x)
    y = x + 3
    np.clip(y, 0, 6, out=y)
    y *= x
    y *= 1 / 6
    return y, x


def hardswish_backward(dy: Array, saved: Array) -> Array:
    """Gradient of :func:`hardswish_forward`.

    With the gate ``g = clip(x + 3, 0, 6) / 6``, ``dy/dx = g + x dg/dx``, and ``dg/dx`` is 1/6 where -3 < x < 3 and 0
    elsewhere: 0 on the left, ``(2 x + 3) / 6`` between, 1 on the right. At the kinks, where no derivative exists,
    this gives the values of PyTorch: 0 at x = -3 (up to 2.0 it was -1/2) and 1 at x = 3.
    """
    x = saved
    check_activation_backward("hardswish_backward", dy, x)
    slope = x + 3
    np.clip(slope, 0, 6, out=slope)  # 6 g
    slope += x * (np.abs(x) < 3)  # 6 (g + x dg/dx)
    slope *= 1 / 6
    slope *= dy
    return slope


def relu_forward(x: Array) -> tuple[Array, Array]:
    """``y = max(x, 0)``. Agrees with ``torch.relu``; saves ``x``."""
    check_activation("relu", x)
    return np.maximum(x, 0), x


def relu_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy`` where ``x > 0``, else 0 (0 at the kink, as PyTorch)."""
    x = saved
    check_activation_backward("relu_backward", dy, x)
    return dy * (x > 0)


def _logistic(x: Array) -> Array:
    """``s(x) = 1 / (1 + exp(-x))`` in the dtype of x; SciPy has no half precision and would answer in float64."""
    return expit(x).astype(x.dtype, copy=False)


def silu_forward(x: Array) -> tuple[Array, Array]:
    """``y = x s(x)`` with the logistic function ``s(x) = 1 / (1 + exp(-x))``.

    Agrees with ``torch.nn.functional.silu``.
    """
    check_activation("silu", x)
    return x * _logistic(x), x


def silu_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy s (1 + x (1 - s))``, by the product rule and ``ds/dx = s (1 - s)``."""
    x = saved
    check_activation_backward("silu_backward", dy, x)
    s = _logistic(x)
    return dy * s * (1 + x * (1 - s))


_INV_SQRT2 = 0.7071067811865476
_INV_SQRT_2PI = 0.3989422804014327


def _normal_distribution(x: Array) -> Array:
    """``Phi(x) = (1 + erf(x / sqrt 2)) / 2`` in the dtype of x."""
    return (0.5 * (1 + erf(x * _INV_SQRT2))).astype(x.dtype, copy=False)


def gelu_forward(x: Array) -> tuple[Array, Array]:
    """``y = x Phi(x)`` with the normal distribution function ``Phi(x) = (1 + erf(x / sqrt 2)) / 2`` (exact, no tanh).

    Agrees with ``torch.nn.functional.gelu``. The activation of the paper's first version and of DeiT.
    """
    check_activation("gelu", x)
    return x * _normal_distribution(x), x


def gelu_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy (Phi(x) + x phi(x))`` with the normal density ``phi(x) = exp(-x^2 / 2) / sqrt(2 pi)``."""
    x = saved
    check_activation_backward("gelu_backward", dy, x)
    return dy * (_normal_distribution(x) + x * (_INV_SQRT_2PI * np.exp(-0.5 * x * x)))


def identity_forward(x: Array) -> tuple[Array, Array]:
    """``y = x``: what stands where the paper's ablation A7 takes the activation away."""
    check_activation("identity", x)
    return x, x


def identity_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy``."""
    check_activation_backward("identity_backward", dy, saved)
    return dy


ACTIVATIONS = ("hardswish", "silu", "relu", "gelu", "identity")
"""Names that a configuration may ask for; the functions are ``<name>_forward`` and ``<name>_backward``."""


def check_name(op: str, activation: str) -> None:
    """Raise unless there is such an activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")


def forward(activation: str, x: Array) -> tuple[Array, Array]:
    """The activation of that name."""
    y, saved = globals()[f"{activation}_forward"](x)
    return y, saved


def backward(activation: str, dy: Array, saved: Array) -> Array:
    """Gradient of the activation of that name."""
    dx: Array = globals()[f"{activation}_backward"](dy, saved)
    return dx
