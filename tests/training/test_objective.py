"""Which loss the heads get, with gradients against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from levit_ref.nn import HeadLogits
from levit_ref.training.objective import Objective, count_correct

RNG = np.random.default_rng(0)
HEAD, DIST, TEACHER = (RNG.standard_normal((6, 4)) for _ in range(3))
LABELS = np.array([0, 1, 2, 3, 0, 1])


def losses_with_torch(kind, head, dist):
    """The table of the docstring, in torch."""
    labels, teacher = torch.from_numpy(LABELS), torch.from_numpy(TEACHER)
    base = F.cross_entropy(head, labels, label_smoothing=0.1)
    if kind == "one head":
        return base
    if kind == "two heads":
        return (base + F.cross_entropy(dist, labels, label_smoothing=0.1)) / 2
    if kind == "hard":
        return 0.7 * base + 0.3 * F.cross_entropy(dist, teacher.argmax(1))
    T = 2.0
    kl = F.kl_div((dist / T).log_softmax(1), (teacher / T).log_softmax(1), reduction="sum", log_target=True)
    return 0.7 * base + 0.3 * kl * T * T / dist.numel()


@pytest.mark.parametrize("kind", ["one head", "two heads", "hard", "soft"])
def test_loss_and_gradients_agree_with_torch(kind):
    head, dist = (torch.from_numpy(a.copy()).requires_grad_() for a in (HEAD, DIST))
    expected = losses_with_torch(kind, head, dist)
    expected.backward()
    objective = Objective(
        label_smoothing=0.1, distillation=kind if kind == "soft" else "hard", alpha=0.3, temperature=2.0
    )
    logits = HeadLogits(HEAD, None if kind == "one head" else DIST)
    loss, gradient = objective(logits, LABELS, TEACHER if kind in ("hard", "soft") else None)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient.head, head.grad.numpy(), atol=1e-14)
    if kind == "one head":
        assert gradient.head_dist is None
    else:
        np.testing.assert_allclose(gradient.head_dist, dist.grad.numpy(), atol=1e-14)


def test_a_teacher_needs_a_second_head():
    with pytest.raises(ValueError, match="distillation needs a model with two heads"):
        Objective()(HeadLogits(HEAD, None), LABELS, TEACHER)


def test_counting_uses_the_mean_of_the_heads():
    head = np.array([[2.0, 0.0], [0.0, 1.0]])
    dist = np.array([[0.0, 3.0], [0.0, 1.0]])
    assert count_correct(HeadLogits(head, None), np.array([0, 1])) == 2
    assert count_correct(HeadLogits(head, dist), np.array([0, 1])) == 1
    soft = np.array([[0.4, 0.6], [0.1, 0.9]])
    assert count_correct(HeadLogits(head, dist), soft) == 2
