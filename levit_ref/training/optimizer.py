"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019), one pass over one flat array."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref.runtime import native_serves
from levit_ref.runtime.native import training as native
from levit_ref.training.flat import CHUNK, BoolArray, FloatArray, check_flat, chunks


class AdamW:
    r"""AdamW over a flat parameter array, in place.

    Step t = 1, 2, ... for a parameter p with gradient g, learning rate η and decay λ::

        p <- p (1 - η λ)                       decoupled decay, only where decay_mask is true
        m <- β1 m + (1 - β1) g                 first moment
        v <- β2 v + (1 - β2) g²                second moment
        p <- p - η / (1 - β1^t) · m / (√v / √(1 - β2^t) + ε)

    This is the arithmetic of ``torch.optim.AdamW``, ε outside the corrected root included.

    Parameters
    ----------
    params, grads : ndarray, (P,)
        Flat arrays of one float dtype, kept by reference: :meth:`step` reads ``grads`` and updates ``params``.
    decay_mask : ndarray of bool, (P,)
        Where weight decay applies, see :func:`levit_ref.training.flat.decay_mask`.
    lr : float
        Learning rate used when :meth:`step` is given none.
    betas : (float, float)
        Decay of the two moments, each in [0, 1).
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        λ. The official recipe has 0.025.

    Raises
    ------
    ValueError, TypeError
        For arrays that do not match and hyperparameters out of range.
    """

    def __init__(
        self,
        params: FloatArray,
        grads: FloatArray,
        decay_mask: BoolArray,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.025,
    ) -> None:
        check_flat("AdamW: params", params)
        check_flat("AdamW: grads", grads, like=params)
        if decay_mask.shape != params.shape or decay_mask.dtype != np.bool_:
            raise ValueError(
                f"AdamW: decay_mask must be bool of shape {params.shape}, "
                f"got {decay_mask.dtype} of shape {decay_mask.shape}"
            )
        if not lr >= 0:
            raise ValueError(f"AdamW: lr must be at least 0, got {lr}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"AdamW: betas must be in [0, 1), got {betas}")
        if not eps > 0:
            raise ValueError(f"AdamW: eps must be positive, got {eps}")
        if not weight_decay >= 0:
            raise ValueError(f"AdamW: weight_decay must be at least 0, got {weight_decay}")
        self.params, self.grads = params, grads
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.steps = 0
        self.m = np.zeros_like(params)
        self.v = np.zeros_like(params)
        self._plan = _plan(decay_mask)
        self._edges = _edges(decay_mask)
        self._scratch = np.empty((2, min(CHUNK, params.size)), params.dtype)

    def step(self, lr: float | None = None) -> None:
        """Apply one update from the gradients as they stand; ``lr`` replaces the default learning rate."""
        rate = self.lr if lr is None else lr
        self.steps += 1
        beta1, beta2 = self.betas
        step_size = rate / (1 - beta1**self.steps)
        root_correction = math.sqrt(1 - beta2**self.steps)
        keep = 1 - rate * self.weight_decay
        if native_serves(self.params, self.grads, self.m, self.v):
            native.adamw_step(
                self.params,
                self.grads,
                self.m,
                self.v,
                self._edges,
                keep=keep,
                beta1=beta1,
                beta2=beta2,
                root_scale=1 / root_correction,
                eps=self.eps,
                step_size=step_size,
            )
            return
        for piece, decayed in self._plan:
            p, g, m, v = self.params[piece], self.grads[piece], self.m[piece], self.v[piece]
            a, b = self._scratch[:, : p.size]
            for run in decayed:
                self.params[run] *= keep
            # m += (1 - β1) (g - m): the same value as β1 m + (1 - β1) g with one multiplication less
            np.subtract(g, m, out=a)
            a *= 1 - beta1
            m += a
            np.multiply(g, g, out=a)
            a *= 1 - beta2
            v *= beta2
            v += a
            np.sqrt(v, out=a)
            a *= 1 / root_correction
            a += self.eps
            np.divide(m, a, out=b)
            b *= step_size
            p -= b

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything that changes from step to step: ``steps`` (int), ``m`` and ``v`` (P,)."""
        return {"steps": self.steps, "m": self.m.copy(), "v": self.v.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; shapes and dtypes must match."""
        if set(state) != {"steps", "m", "v"}:
            raise ValueError(f"AdamW: a state has the keys steps, m, v; got {', '.join(sorted(state)) or 'none'}")
        check_flat("AdamW: state m", state["m"], like=self.params)
        check_flat("AdamW: state v", state["v"], like=self.params)
        self.steps = int(state["steps"])
        self.m[:] = state["m"]
        self.v[:] = state["v"]


def _edges(decay_mask: BoolArray) -> npt.NDArray[np.int64]:
    """Where runs of decayed elements begin and end, in turns."""
    return np.flatnonzero(np.diff(decay_mask, prepend=False, append=False)).astype(np.int64)


def _plan(decay_mask: BoolArray) -> list[tuple[slice, list[slice]]]:
    """For every chunk, the parts of it that are decayed, as slices of the whole array.

    A model has a few hundred runs of decayed elements, so slices cost less than a mask multiplied in at each step.
    """
    plan = []
    for piece in chunks(decay_mask.size):
        edges = _edges(decay_mask[piece]) + piece.start
        plan.append((piece, [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]))
    return plan
