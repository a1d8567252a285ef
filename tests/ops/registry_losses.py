"""The losses' part of the registry."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import torch
import torch.nn.functional as F

from levit_ref import ops
from tests.ops.case import Example, OpCase, Sizes

Generator = np.random.Generator


def soft_targets(rng: Generator, B: int, K: int) -> Any:
    """Two classes an image, as mixup makes them."""
    share = rng.uniform(size=(B, 1))
    first, second = (np.eye(K)[rng.integers(K, size=B)] for _ in range(2))
    return share * first + (1 - share) * second


def make_cross_entropy(rng: Generator, B: int, K: int, soft: bool, label_smoothing: float) -> Example:
    targets = soft_targets(rng, B, K) if soft else rng.integers(K, size=B)
    logits = 2 * rng.standard_normal((B, K))
    return Example({"logits": logits}, {"targets": targets, "label_smoothing": label_smoothing})


def torch_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


def make_distillation(rng: Generator, B: int, K: int, soft: bool, label_smoothing: float, **options: float) -> Example:
    targets = soft_targets(rng, B, K) if soft else rng.integers(K, size=B)
    logits, logits_dist, teacher = 2 * rng.standard_normal((3, B, K))
    constants = {"targets": targets, "teacher_logits": teacher, "label_smoothing": label_smoothing, **options}
    return Example({"logits": logits, "logits_dist": logits_dist}, constants)


def torch_hard_distillation(
    logits: torch.Tensor,
    logits_dist: torch.Tensor,
    targets: torch.Tensor,
    teacher_logits: torch.Tensor,
    alpha: float,
    label_smoothing: float,
) -> torch.Tensor:
    """The official objective: the mean of both heads' cross-entropies, weighted, the teacher's argmax as labels."""
    from_labels = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    from_teacher = F.cross_entropy(logits_dist, teacher_logits.max(dim=1).indices)
    return (1 - alpha) * from_labels + alpha * from_teacher


def torch_soft_distillation(
    logits: torch.Tensor,
    logits_dist: torch.Tensor,
    targets: torch.Tensor,
    teacher_logits: torch.Tensor,
    temperature: float,
    alpha: float,
    label_smoothing: float,
) -> torch.Tensor:
    """The official objective: T^2 times the mean over all B K entries of ``p_teacher log(p_teacher / p_student)``."""
    from_labels = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    log_p, log_teacher = ((z / temperature).log_softmax(dim=1) for z in (logits_dist, teacher_logits))
    from_teacher = temperature**2 * (log_teacher.exp() * (log_teacher - log_p)).mean()
    return (1 - alpha) * from_labels + alpha * from_teacher


def drawn(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[Sizes]:
    smoothing = st.sampled_from([0.0, 0.1, 0.5, 1.0])
    return st.fixed_dictionaries(
        {"B": st.integers(1, 5), "K": st.integers(1, 7), "soft": st.booleans(), "label_smoothing": smoothing, **more}
    )


ALPHA = st.sampled_from([0.0, 0.1, 0.5, 1.0])
TYPICAL: Sizes = {"B": 4, "K": 5, "soft": False, "label_smoothing": 0.1}

LOSSES: tuple[OpCase, ...] = (
    OpCase(
        "cross_entropy",
        ops.cross_entropy_forward,
        ops.cross_entropy_backward,
        torch_cross_entropy,
        make_cross_entropy,
        drawn(),
        TYPICAL,
    ),
    OpCase(
        "cross_entropy_soft_targets",
        ops.cross_entropy_forward,
        ops.cross_entropy_backward,
        torch_cross_entropy,
        make_cross_entropy,
        drawn(soft=st.just(True)),
        {**TYPICAL, "soft": True},
    ),
    OpCase(
        "hard_distillation",
        ops.hard_distillation_forward,
        ops.hard_distillation_backward,
        torch_hard_distillation,
        make_distillation,
        drawn(alpha=ALPHA),
        {**TYPICAL, "alpha": 0.3},
    ),
    OpCase(
        "soft_distillation",
        ops.soft_distillation_forward,
        ops.soft_distillation_backward,
        torch_soft_distillation,
        make_distillation,
        drawn(alpha=ALPHA, temperature=st.sampled_from([0.5, 1.0, 2.0, 4.0])),
        {**TYPICAL, "alpha": 0.3, "temperature": 2.5},
    ),
)
