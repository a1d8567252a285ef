"""One training step: forward, loss, backward, clipping, update. It knows no files, clocks, signals or displays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from levit_ref.data import Batch
from levit_ref.nn import LeViT, lean_backward
from levit_ref.training.distillation import Teacher
from levit_ref.training.ema import Ema
from levit_ref.training.health import NonFiniteError, diagnose
from levit_ref.training.objective import Objective, count_correct
from levit_ref.training.optimizer import AdamW
from levit_ref.training.schedule import WarmupCosine

DROP_PATH_STREAM = 4
"""Keeps the random numbers of stochastic depth apart from the loader's, which has the streams 1 to 3."""


class StepResult(NamedTuple):
    """What a step found."""

    loss: float
    """Mean over the pictures."""
    correct: int
    pictures: int


@dataclass(frozen=True)
class TrainingStep:
    """A step as a function of the state and of (seed, step, batch).

    No generator outlives a step, and the random numbers of stochastic depth belong to the picture: to its place in the
    whole batch. So a run that continues from a checkpoint computes the same bits as one that was never interrupted, and
    a batch may be cut into parts.

    Attributes
    ----------
    model, optimizer, ema, schedule, objective, teacher
        What the step works with; ``ema`` and ``teacher`` may be None.
    clip : callable
        Clips the gradients in place.
    seed : int
    """

    model: LeViT
    optimizer: AdamW
    ema: Ema | None
    schedule: WarmupCosine
    objective: Objective
    teacher: Teacher | None
    clip: Callable[[], object]
    seed: int

    def __call__(self, batch: Batch, step: int) -> StepResult:
        """Run step number ``step``, counted from 0.

        Raises
        ------
        NonFiniteError
            If the loss is NaN or infinite; the message names the layer where it began. Nothing has been updated then.
        """
        result = self.gradients(batch, step)
        self.update(step)
        return result

    def gradients(self, batch: Batch, step: int) -> StepResult:
        """Leave the gradients of a batch in ``model.flat_grad``, where those of several processes can be added up."""
        model = self.model
        self._seed_drop_path(batch, step)
        logits = model.forward_heads(batch.images)
        teacher_logits = None if self.teacher is None else self.teacher(batch)
        loss, gradient = self.objective(logits, batch.targets, teacher_logits)
        if not math.isfinite(loss):
            self._seed_drop_path(batch, step)  # the same branches left out
            where = diagnose(model, batch.images)
            raise NonFiniteError(f"step {step + 1}: the loss is {loss}; {where}")
        model.zero_grad()
        with lean_backward():
            model.backward_heads(gradient.head, gradient.head_dist)
        return StepResult(loss, count_correct(logits, batch.targets), len(batch.images))

    def update(self, step: int) -> None:
        """Move the weights by the gradients as they are."""
        self.clip()
        self.optimizer.step(self.schedule(step))
        if self.ema is not None:
            self.ema.update()

    def _seed_drop_path(self, batch: Batch, step: int) -> None:
        rng = np.random.default_rng([self.seed, DROP_PATH_STREAM, step])
        self.model.drop_path.seed(rng, batch_size=batch.batch_size, part=batch.part)
