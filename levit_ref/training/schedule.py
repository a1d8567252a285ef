"""Learning rate as a pure function of the step: linear warm-up, then half a cosine down to a floor."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    r"""Linear warm-up over the first steps, then a cosine from ``lr`` to ``min_lr``.

    With W warm-up steps of T in all, step t = 0 .. T-1 runs at::

        t < W :  warmup_lr + (lr - warmup_lr) (t + 1) / W
        else  :  min_lr + (lr - min_lr) (1 + cos(π (t - W) / (T - W))) / 2

    so the first step already moves, step W-1 and step W run at ``lr``, and a step T would run at ``min_lr``.
    Being a function of the step and of nothing else, it needs no state in a checkpoint.

    The official LeViT recipe steps its schedule once an epoch, 5 warm-up epochs from 1e-6 and then down to 1e-5,
    and passes the index of the epoch just finished: epochs 0 and 1 both run at 1e-6. That off-by-one is not
    reproduced here.

    Parameters
    ----------
    lr : float
        Peak learning rate, positive.
    total_steps : int
        T, at least 1.
    warmup_steps : int
        W, less than T.
    min_lr : float
        Floor of the cosine, at most ``lr``.
    warmup_lr : float
        Where the warm-up starts from.
    """

    lr: float
    total_steps: int
    warmup_steps: int = 0
    min_lr: float = 0.0
    warmup_lr: float = 0.0

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"WarmupCosine: lr must be positive, got {self.lr}")
        if self.total_steps < 1:
            raise ValueError(f"WarmupCosine: total_steps must be at least 1, got {self.total_steps}")
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"WarmupCosine: warmup_steps must be in [0, total_steps = {self.total_steps}), got {self.warmup_steps}"
            )
        for name in ("min_lr", "warmup_lr"):
            value = getattr(self, name)
            if not 0 <= value <= self.lr:
                raise ValueError(f"WarmupCosine: {name} must be between 0 and lr = {self.lr}, got {value}")

    def __call__(self, step: int) -> float:
        """Learning rate of step ``step``, counted from 0; beyond the last step it stays at ``min_lr``."""
        if step < 0:
            raise ValueError(f"WarmupCosine: step must be at least 0, got {step}")
        if step < self.warmup_steps:
            return self.warmup_lr + (self.lr - self.warmup_lr) * (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2
