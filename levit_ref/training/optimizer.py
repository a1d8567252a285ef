"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019), one pass over one flat array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from levit_ref import functional as F
from levit_ref.training.flat import BoolArray, FloatArray, check_flat


class AdamW:
    r"""AdamW over a flat parameter array, in place.

    Each :meth:`step` is one :func:`levit_ref.ops.adamw_step`, whose docstring has the formula.

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
        edges = np.flatnonzero(np.diff(decay_mask, prepend=False, append=False)).astype(np.int64)
        self._decayed = edges.reshape(-1, 2)  # a model has a few hundred runs: cheaper than a mask at each step

    def step(self, lr: float | None = None) -> None:
        """Apply one update from the gradients as they stand; ``lr`` replaces the default learning rate."""
        self.steps += 1
        F.adamw_step(
            self.params,
            self.grads,
            self.m,
            self.v,
            self._decayed,
            lr=self.lr if lr is None else lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            step=self.steps,
        )

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
