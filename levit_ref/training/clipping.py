"""Gradient clipping: by the norm of the whole gradient, and adaptively for each output unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from levit_ref import functional as F
from levit_ref.training.flat import FloatArray


class HasGrad(Protocol):
    """What adaptive clipping needs of a parameter: its values and their gradient, of one shape."""

    @property
    def data(self) -> FloatArray:
        """Values."""

    @property
    def grad(self) -> FloatArray:
        """Gradient, changed in place."""


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
    norm = F.global_norm(grads)
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        F.scale_gradient(grads, scale)
    return norm


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
    Which axes make up a unit: :func:`levit_ref.ops.clipping.unit_norms`. Agrees with timm's ``adaptive_clip_grad``.
    """
    if not clip > 0:
        raise ValueError(f"clip_adaptive: clip must be positive, got {clip}")
    if not eps > 0:
        raise ValueError(f"clip_adaptive: eps must be positive, got {eps}")
    parameters = list(parameters)
    return F.clip_units([p.data for p in parameters], [p.grad for p in parameters], clip, eps)
