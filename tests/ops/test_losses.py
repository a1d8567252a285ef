"""What is particular to the losses: kinds of targets, smoothing, and the two distillations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from levit_ref import ops
from levit_ref.ops import (
    cross_entropy_backward,
    cross_entropy_forward,
    hard_distillation_backward,
    hard_distillation_forward,
    soft_distillation_backward,
    soft_distillation_forward,
    softmax_forward,
    target_distribution,
)
from tests.ops.case import Array

LOGITS = np.log([[1.0, 1.0, 2.0], [6.0, 3.0, 1.0]])  # softmax (1/4, 1/4, 1/2) and (6/10, 3/10, 1/10)


def test_cross_entropy_worked_by_hand() -> None:
    loss, saved = cross_entropy_forward(LOGITS, np.array([2, 1]))
    assert loss == pytest.approx((np.log(2) + np.log(10 / 3)) / 2, rel=1e-14)
    np.testing.assert_allclose(
        cross_entropy_backward(1.0, saved), np.array([[0.25, 0.25, 0.5 - 1], [0.6, 0.3 - 1, 0.1]]) / 2, rtol=1e-13
    )


def test_soft_targets_and_smoothing_worked_by_hand() -> None:
    soft = np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    loss, _ = cross_entropy_forward(LOGITS, soft)
    assert loss == pytest.approx((0.5 * np.log(4) + 0.5 * np.log(2) + np.log(10 / 3)) / 2, rel=1e-14)
    # A share of 0.3 spread over three classes: 0.1 everywhere, and 0.7 more at the target.
    loss, _ = cross_entropy_forward(LOGITS[:1], np.array([2]), label_smoothing=0.3)
    assert loss == pytest.approx(0.1 * np.log(4) + 0.1 * np.log(4) + 0.8 * np.log(2), rel=1e-14)


def test_guessing_costs_the_logarithm_of_the_number_of_classes() -> None:
    for targets in (np.array([0, 9]), np.full((2, 10), 0.1)):
        loss, _ = cross_entropy_forward(np.zeros((2, 10)), targets, label_smoothing=0.1)
        assert loss == pytest.approx(np.log(10), rel=1e-14)


def test_indices_are_one_hot_distributions(rng: np.random.Generator) -> None:
    logits, indices = rng.standard_normal((6, 4)), rng.integers(4, size=6)
    expected, _ = cross_entropy_forward(logits, np.eye(4)[indices], label_smoothing=0.2)
    for dtype in (np.int64, np.int32, np.uint8):
        assert cross_entropy_forward(logits, indices.astype(dtype), label_smoothing=0.2)[0] == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_target_distribution(smoothing: float) -> None:
    distribution = target_distribution(np.array([2, 0]), 4, np.dtype(np.float32), smoothing)
    assert distribution.dtype == np.float32
    low, high = smoothing / 4, 1 - smoothing + smoothing / 4
    np.testing.assert_allclose(distribution, [[low, low, high, low], [high, low, low, low]], rtol=1e-6)


def test_soft_targets_that_were_given_are_not_changed() -> None:
    targets = np.eye(3)
    targets.flags.writeable = False
    distribution = target_distribution(targets, 3, targets.dtype)
    assert not np.shares_memory(distribution, targets)


def test_targets_that_are_no_distribution_are_differentiated_as_pytorch_does(rng: np.random.Generator) -> None:
    logits, targets = rng.standard_normal((3, 4)), rng.uniform(size=(3, 4))  # rows that do not add up to 1
    loss, saved = cross_entropy_forward(logits, targets)
    tensor = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(tensor, torch.tensor(targets))
    (gradient,) = torch.autograd.grad(expected, tensor)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(cross_entropy_backward(1.0, saved), gradient.numpy(), rtol=1e-12)


def test_huge_logits_give_a_finite_loss_and_gradient() -> None:
    logits = np.array([[1e4, -1e4, 0.0]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, saved = cross_entropy_forward(logits, np.array([1]))
        gradient = cross_entropy_backward(1.0, saved)
    assert loss == pytest.approx(2e4)
    np.testing.assert_array_equal(gradient, [[1, -1, 0]])


def test_the_gradient_of_every_picture_adds_up_to_zero(rng: np.random.Generator) -> None:
    _, saved = cross_entropy_forward(rng.standard_normal((5, 7)), rng.integers(7, size=5), label_smoothing=0.1)
    np.testing.assert_allclose(cross_entropy_backward(3.0, saved).sum(axis=1), 0, atol=1e-15)


@pytest.fixture
def heads(rng: np.random.Generator) -> tuple[Array, Array, Any, Array]:
    """Logits of both heads, labels, logits of the teacher."""
    logits, logits_dist, teacher = 2 * rng.standard_normal((3, 6, 5))
    return logits, logits_dist, rng.integers(5, size=6), teacher


def test_hard_distillation_worked_by_hand() -> None:
    """The teacher picks class 0 of the first picture, by however little; its own labels say 2."""
    teacher = np.array([[1.001, 1.0, 1.0], [0.0, 0.0, 50.0]])
    loss, saved = hard_distillation_forward(LOGITS, LOGITS, np.array([2, 1]), teacher, alpha=0.25)
    from_labels, from_teacher = (np.log(2) + np.log(10 / 3)) / 2, (np.log(4) + np.log(10)) / 2
    assert loss == pytest.approx(0.75 * from_labels + 0.25 * from_teacher, rel=1e-14)
    dlogits, dlogits_dist = hard_distillation_backward(1.0, saved)
    np.testing.assert_allclose(dlogits, 0.75 / 2 * np.array([[0.25, 0.25, -0.5], [0.6, -0.7, 0.1]]), rtol=1e-13)
    np.testing.assert_allclose(dlogits_dist, 0.25 / 2 * np.array([[-0.75, 0.25, 0.5], [0.6, 0.3, -0.9]]), rtol=1e-13)


def test_the_teachers_choice_is_not_smoothed(heads: tuple[Array, Array, Any, Array]) -> None:
    logits, logits_dist, targets, teacher = heads
    loss, _ = hard_distillation_forward(logits, logits_dist, targets, teacher, alpha=1.0, label_smoothing=0.3)
    assert loss == cross_entropy_forward(logits_dist, teacher.argmax(axis=1))[0]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_soft_distillation_beside_the_divergence_of_pytorch(
    heads: tuple[Array, Array, Any, Array], temperature: float, alpha: float
) -> None:
    logits, logits_dist, targets, teacher = heads
    loss, saved = soft_distillation_forward(logits, logits_dist, targets, teacher, temperature=temperature, alpha=alpha)
    a, b = (torch.tensor(z, requires_grad=True) for z in (logits, logits_dist))
    student = F.log_softmax(b / temperature, dim=1)
    divergence = F.kl_div(student, F.softmax(torch.tensor(teacher) / temperature, dim=1), reduction="sum")
    expected = (1 - alpha) * F.cross_entropy(
        a, torch.tensor(targets)
    ) + alpha * divergence * temperature**2 / logits.size
    assert loss == pytest.approx(expected.item(), rel=1e-10)
    wanted = torch.autograd.grad(expected, (a, b))
    for gradient, tensor in zip(soft_distillation_backward(1.0, saved), wanted, strict=True):
        np.testing.assert_allclose(gradient, tensor.numpy(), rtol=1e-10, atol=1e-14)


def test_soft_distillation_worked_by_hand() -> None:
    """Softened by T = 2 the teacher's odds of 9 to 1 become 3 to 1, the student's 4 to 1 become 2 to 1."""
    teacher, student = np.log([[9.0, 1.0]]), np.log([[4.0, 1.0]])
    loss, saved = soft_distillation_forward(student, student, np.array([0]), teacher, temperature=2.0, alpha=1.0)
    divergence = 3 / 4 * np.log(3 / 4 / (2 / 3)) + 1 / 4 * np.log(1 / 4 / (1 / 3))
    assert loss == pytest.approx(4 * divergence / 2, rel=1e-13)  # T^2 / (B K) = 4 / 2
    _, dlogits_dist = soft_distillation_backward(1.0, saved)
    np.testing.assert_allclose(
        dlogits_dist, 2 / 2 * np.array([[2 / 3 - 3 / 4, 1 / 3 - 1 / 4]]), rtol=1e-13
    )  # T / (B K)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn(heads: tuple[Array, Array, Any, Array]) -> None:
    logits, _, targets, teacher = heads
    loss, saved = soft_distillation_forward(logits, teacher + 3.0, targets, teacher, temperature=2.5, alpha=1.0)
    assert abs(loss) < 1e-14
    np.testing.assert_allclose(soft_distillation_backward(1.0, saved)[1], 0, atol=1e-15)


@pytest.mark.parametrize(("temperature", "limit"), [(1.0, 1e-4), (4.0, 1e-3)])
def test_a_small_divergence_keeps_its_digits_in_single_precision(
    temperature: float, limit: float, rng: np.random.Generator
) -> None:
    """A student that has nearly learnt its teacher: the divergence is a small difference of large entropies."""
    teacher = (2 * rng.standard_normal((64, 1000))).astype(np.float32)
    student = teacher + 0.05 * rng.standard_normal(teacher.shape, np.float32)
    targets = rng.integers(1000, size=64)
    double = student.astype(np.float64), student.astype(np.float64), targets, teacher.astype(np.float64)
    exact, _ = soft_distillation_forward(*double, temperature=temperature, alpha=1.0)
    loss, _ = soft_distillation_forward(student, student, targets, teacher, temperature=temperature, alpha=1.0)
    assert loss == pytest.approx(exact, rel=limit)


def test_alpha_zero_is_plain_cross_entropy(heads: tuple[Array, Array, Any, Array]) -> None:
    expected, _ = cross_entropy_forward(heads[0], heads[2], label_smoothing=0.1)
    for name in ("hard", "soft"):
        forward, backward = getattr(ops, f"{name}_distillation_forward"), getattr(ops, f"{name}_distillation_backward")
        loss, saved = forward(*heads, alpha=0.0, label_smoothing=0.1)
        assert loss == expected
        np.testing.assert_array_equal(backward(1.0, saved)[1], 0)


def test_what_was_saved_is_probabilities_and_targets(heads: tuple[Array, Array, Any, Array]) -> None:
    _, saved = cross_entropy_forward(heads[0], heads[2])
    np.testing.assert_allclose(saved.probs, softmax_forward(heads[0])[0], rtol=1e-13)
    np.testing.assert_array_equal(saved.targets, np.eye(5)[heads[2]])


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (np.array([0, 3]), ValueError, "targets run from 0 to 3, there are 3 classes"),
        (np.array([-100, 1]), ValueError, "targets run from -100 to 1, there are 3 classes"),
        (np.array([0, 1, 2]), ValueError, r"targets .*shape \(3, 3\), expected \(2, 3\)"),
        (np.zeros((2, 4)), ValueError, r"targets has shape \(2, 4\), expected \(2, 3\)"),
        (np.zeros((2, 1), np.int64), ValueError, r"targets must have 1 axes \(B\), got shape \(2, 1\)"),
        (np.zeros(2), ValueError, r"targets must have 2 axes \(B, K\), got shape \(2,\)"),
        (np.zeros(0, np.int64), ValueError, r"targets is empty, got shape \(0,\)"),
        (np.array([True, False]), TypeError, "targets must be integer indices or floating distributions, got bool"),
        ([0, 1], TypeError, "targets must be a numpy array, got list"),
    ],
)
def test_targets_that_are_refused(targets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="cross_entropy: " + message):
        cross_entropy_forward(LOGITS, targets)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_a_label_smoothing_that_is_no_share_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=rf"label_smoothing must lie in \[0, 1\], got {smoothing}"):
        cross_entropy_forward(LOGITS, np.array([0, 1]), label_smoothing=smoothing)


@pytest.mark.parametrize("name", ["hard", "soft"])
def test_heads_and_teachers_that_do_not_fit_are_refused(heads: tuple[Array, Array, Any, Array], name: str) -> None:
    logits, logits_dist, targets, teacher = heads
    forward = getattr(ops, f"{name}_distillation_forward")
    with pytest.raises(ValueError, match=rf"{name}_distillation: teacher_logits has shape \(6, 4\), expected \(6, 5\)"):
        forward(logits, logits_dist, targets, teacher[:, :4])
    with pytest.raises(ValueError, match=rf"{name}_distillation: logits_dist has shape \(4, 5\), expected \(6, 5\)"):
        forward(logits, logits_dist[:4], targets, teacher[:4])
    with pytest.raises(TypeError, match=f"{name}_distillation: teacher_logits must be a numpy array, got list"):
        forward(logits, logits_dist, targets, teacher.tolist())


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_a_temperature_that_is_not_positive_is_refused(
    heads: tuple[Array, Array, Any, Array], temperature: float
) -> None:
    with pytest.raises(ValueError, match=f"soft_distillation: temperature must be positive, got {temperature}"):
        soft_distillation_forward(*heads, temperature=temperature)
