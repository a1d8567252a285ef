"""Elementwise activations. LeViT uses hardswish; SiLU, ReLU and GELU serve the later variants and the ablations.

Each saves its input ``x`` alone: recomputing the gate from it is cheaper than the memory of keeping it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import erf, expit

from levit_ref.ops._checks import Decorator, check_floating, check_not_empty, check_shape, checked
from levit_ref.ops._types import Array


def _checked_forward(op: str) -> Decorator[[Array], tuple[Array, Array]]:
    """The check that all forward functions here share; ``op`` starts its messages."""

    def check(x: Array) -> None:
        check_floating(op, x=x)
        check_not_empty(op, "x", x)

    return checked(check)


def _checked_backward(op: str) -> Decorator[[Array, Array], Array]:
    """The check that all backward functions here share."""

    def check(dy: Array, saved: Array) -> None:
        check_floating(op, dy=dy, x=saved)
        check_shape(op, "dy", dy, saved.shape, "the shape of y")

    return checked(check)


@_checked_forward("hardswish")
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
    y = x + 3
    np.clip(y, 0, 6, out=y)
    y *= x
    y *= 1 / 6
    return y, x


@_checked_backward("hardswish_backward")
def hardswish_backward(dy: Array, saved: Array) -> Array:
    """Gradient of :func:`hardswish_forward`.

    With the gate ``g = clip(x + 3, 0, 6) / 6``, ``dy/dx = g + x dg/dx``, and ``dg/dx`` is 1/6 where -3 < x < 3 and 0
    elsewhere: 0 on the left, ``(2 x + 3) / 6`` between, 1 on the right. At the kinks, where no derivative exists,
    this gives the values of PyTorch: 0 at x = -3 (up to 2.0 it was -1/2) and 1 at x = 3.
    """
    x = saved
    slope = x + 3
    np.clip(slope, 0, 6, out=slope)  # 6 g
    slope += x * (np.abs(x) < 3)  # 6 (g + x dg/dx)
    slope *= 1 / 6
    slope *= dy
    return slope


@_checked_forward("relu")
def relu_forward(x: Array) -> tuple[Array, Array]:
    """``y = max(x, 0)``. Agrees with ``torch.relu``; saves ``x``."""
    return np.maximum(x, 0), x


@_checked_backward("relu_backward")
def relu_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy`` where ``x > 0``, else 0 (0 at the kink, as PyTorch)."""
    x = saved
    return dy * (x > 0)


def _logistic(x: Array) -> Array:
    """``s(x) = 1 / (1 + exp(-x))`` in the dtype of x; SciPy has no half precision and would answer in float64."""
    return expit(x).astype(x.dtype, copy=False)


@_checked_forward("silu")
def silu_forward(x: Array) -> tuple[Array, Array]:
    """``y = x s(x)`` with the logistic function ``s(x) = 1 / (1 + exp(-x))``.

    Agrees with ``torch.nn.functional.silu``.
    """
    return x * _logistic(x), x


@_checked_backward("silu_backward")
def silu_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy s (1 + x (1 - s))``, by the product rule and ``ds/dx = s (1 - s)``."""
    x = saved
    s = _logistic(x)
    return dy * s * (1 + x * (1 - s))


_INV_SQRT2 = 0.7071067811865476
_INV_SQRT_2PI = 0.3989422804014327


def _normal_distribution(x: Array) -> Array:
    """``Phi(x) = (1 + erf(x / sqrt 2)) / 2`` in the dtype of x."""
    return (0.5 * (1 + erf(x * _INV_SQRT2))).astype(x.dtype, copy=False)


@_checked_forward("gelu")
def gelu_forward(x: Array) -> tuple[Array, Array]:
    """``y = x Phi(x)`` with the normal distribution function ``Phi(x) = (1 + erf(x / sqrt 2)) / 2`` (exact, no tanh).

    Agrees with ``torch.nn.functional.gelu``. The activation of the paper's first version and of DeiT.
    """
    return x * _normal_distribution(x), x


@_checked_backward("gelu_backward")
def gelu_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy (Phi(x) + x phi(x))`` with the normal density ``phi(x) = exp(-x^2 / 2) / sqrt(2 pi)``."""
    x = saved
    return dy * (_normal_distribution(x) + x * (_INV_SQRT_2PI * np.exp(-0.5 * x * x)))


@_checked_forward("identity")
def identity_forward(x: Array) -> tuple[Array, Array]:
    """``y = x``: in the place of the activation that the paper's ablation A7 takes away."""
    return x, x


@_checked_backward("identity_backward")
def identity_backward(dy: Array, saved: Array) -> Array:
    """``dx = dy``."""
    return dy


class Activation(NamedTuple):
    """A pair of functions: ``forward(x) -> y, x`` and ``backward(dy, x) -> dx``."""

    forward: Callable[[Array], tuple[Array, Array]]
    backward: Callable[[Array, Array], Array]


ACTIVATIONS: dict[str, Activation] = {
    "hardswish": Activation(hardswish_forward, hardswish_backward),
    "silu": Activation(silu_forward, silu_backward),
    "relu": Activation(relu_forward, relu_backward),
    "gelu": Activation(gelu_forward, gelu_backward),
    "identity": Activation(identity_forward, identity_backward),
}
"""Those that a configuration may ask for, by name."""


def check_activation(op: str, activation: str) -> None:
    """Raise unless there is an activation of that name."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")


def _check_by_name(x: Array, activation: str) -> None:
    check_activation("activation", activation)
    check_floating(activation, x=x)
    check_not_empty(activation, "x", x)


@checked(_check_by_name)
def activation_forward(x: Array, activation: str) -> tuple[Array, Array]:
    """The activation of that name: ``y`` and what :func:`activation_backward` needs, ``x``."""
    return ACTIVATIONS[activation].forward(x)


def _check_backward_by_name(dy: Array, saved: Array, activation: str) -> None:
    check_activation("activation_backward", activation)
    check_floating(f"{activation}_backward", dy=dy, x=saved)
    check_shape(f"{activation}_backward", "dy", dy, saved.shape, "the shape of y")


@checked(_check_backward_by_name)
def activation_backward(dy: Array, saved: Array, activation: str) -> Array:
    """Gradient of the activation of that name."""
    return ACTIVATIONS[activation].backward(dy, saved)
