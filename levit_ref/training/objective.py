"""The loss of a training step and its gradient at the logits: one head, two heads, two heads and a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref import functional as F
from levit_ref.nn import HeadLogits
from levit_ref.training.flat import FloatArray


@dataclass(frozen=True)
class Objective:
    """The loss, by the heads of the model and whether there is a teacher.

    ==========  =================  ===========================================================
    heads       teacher            loss
    ==========  =================  ===========================================================
    one         none               CE(head, targets)
    two         none               (CE(head, targets) + CE(head_dist, targets)) / 2
    two         "hard" or "soft"   (1 - alpha) CE(head, targets) + alpha distillation(head_dist)
    ==========  =================  ===========================================================

    Parameters
    ----------
    label_smoothing : float
    distillation : {"hard", "soft"}
        Which distillation loss, when teacher logits are given.
    alpha, temperature : float
        Share of the teacher; temperature of the soft loss.
    """

    label_smoothing: float = 0.0
    distillation: str = "hard"
    alpha: float = 0.5
    temperature: float = 1.0

    def __call__(
        self, logits: HeadLogits, targets: npt.NDArray[Any], teacher_logits: FloatArray | None = None
    ) -> tuple[float, HeadLogits]:
        """Loss of a batch and its gradient at the logits of each head.

        Parameters
        ----------
        logits : HeadLogits
            (B, K) each.
        targets : ndarray, (B,) of int or (B, K) of float
        teacher_logits : ndarray, (B, K), optional

        Returns
        -------
        loss : float
        gradient : HeadLogits
            As ``model.backward_parameters(*gradient)`` takes it.

        Raises
        ------
        ValueError
            If there is a teacher and no distillation head to learn from it.
        """
        head, head_dist = logits
        smoothing = self.label_smoothing
        if head_dist is None:
            if teacher_logits is not None:
                raise ValueError("distillation needs a model with two heads; this one has one (two_heads = true)")
            loss, saved = F.cross_entropy_forward(head, targets, label_smoothing=smoothing)
            return float(loss), HeadLogits(F.cross_entropy_backward(1.0, saved), None)
        if teacher_logits is None:
            loss, saved = F.cross_entropy_forward(head, targets, label_smoothing=smoothing)
            loss_dist, saved_dist = F.cross_entropy_forward(head_dist, targets, label_smoothing=smoothing)
            gradient = HeadLogits(F.cross_entropy_backward(0.5, saved), F.cross_entropy_backward(0.5, saved_dist))
            return (float(loss) + float(loss_dist)) / 2, gradient
        teacher_logits = teacher_logits.astype(head.dtype, copy=False)
        if self.distillation == "hard":
            loss, kept = F.hard_distillation_forward(
                head, head_dist, targets, teacher_logits, alpha=self.alpha, label_smoothing=smoothing
            )
            return float(loss), HeadLogits(*F.hard_distillation_backward(1.0, kept))
        loss, kept = F.soft_distillation_forward(
            head,
            head_dist,
            targets,
            teacher_logits,
            alpha=self.alpha,
            temperature=self.temperature,
            label_smoothing=smoothing,
        )
        return float(loss), HeadLogits(*F.soft_distillation_backward(1.0, kept))


def count_correct(logits: HeadLogits, targets: npt.NDArray[Any]) -> int:
    """Pictures whose largest logit (of the mean of the heads) is the class with the largest target."""
    scores = logits.head if logits.head_dist is None else logits.head + logits.head_dist  # (B, K)
    labels = targets if targets.ndim == 1 else targets.argmax(axis=1)  # (B,)
    return int(np.count_nonzero(scores.argmax(axis=1) == labels))
