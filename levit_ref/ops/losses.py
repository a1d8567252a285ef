"""Losses: cross-entropy with hard or soft targets, and the two distillation losses of DeiT that LeViT trains with.

Axes: ``B`` batch, ``K`` classes. Every loss is a mean over the batch, a NumPy scalar of the logits' dtype.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from levit_ref.ops._checks import check_array, check_floating, check_ndim, check_shape, checked
from levit_ref.ops._types import Array
from levit_ref.ops.softmax import log_softmax


class CrossEntropySaved(NamedTuple):
    """What :func:`cross_entropy_backward` needs."""

    probs: Array  # (B, K): softmax of the logits
    targets: Array  # (B, K): the smoothed distributions


def target_distribution(
    targets: npt.NDArray[Any], classes: int, dtype: np.dtype[Any], label_smoothing: float = 0.0
) -> Array:
    """Targets as distributions over classes, smoothed: ``(1 - s) target + s / K``.

    Parameters
    ----------
    targets : ndarray
        Class indices, integer of shape (B,), or distributions, floating of shape (B, K).
    classes : int
    dtype : dtype
        Of the result.
    label_smoothing : float
        s, in [0, 1].

    Returns
    -------
    distribution : ndarray, shape (B, K)

    Raises
    ------
    TypeError, ValueError
        If an index is not a class, or shapes do not fit.
    """
    check_array("cross_entropy", "targets", targets)
    label_smoothing = float(label_smoothing)  # a NumPy float64 would promote a float32 distribution
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
    if np.issubdtype(targets.dtype, np.integer):
        check_ndim("cross_entropy", "targets", targets, "(B)")
        if targets.min() < 0 or targets.max() >= classes:
            raise ValueError(
                f"cross_entropy: targets run from {targets.min()} to {targets.max()}, there are {classes} classes"
            )
        distribution = np.zeros((len(targets), classes), dtype)
        distribution[np.arange(len(targets)), targets] = 1
    elif np.issubdtype(targets.dtype, np.floating):
        check_ndim("cross_entropy", "targets", targets, "(B, K)")
        distribution = targets.astype(dtype)
    else:
        raise TypeError(
            f"cross_entropy: targets must be integer indices or floating distributions, got {targets.dtype}"
        )
    if label_smoothing:
        distribution = (1 - label_smoothing) * distribution + label_smoothing / classes
    return distribution


def _check(logits: Array, targets: npt.NDArray[Any], *, label_smoothing: float = 0.0) -> None:
    check_floating("cross_entropy", logits=logits)
    check_ndim("cross_entropy", "logits", logits, "(B, K)")
    distribution = target_distribution(targets, logits.shape[1], logits.dtype, label_smoothing)
    check_shape("cross_entropy", "targets", distribution, logits.shape, "one for each row of logits")


@checked(_check)
def cross_entropy_forward(
    logits: Array, targets: npt.NDArray[Any], *, label_smoothing: float = 0.0
) -> tuple[np.floating[Any], CrossEntropySaved]:
    """``loss = -1/B sum_bk t[b,k] log softmax(logits[b])[k]``.

    Parameters
    ----------
    logits : ndarray, shape (B, K)
    targets : ndarray, integer of shape (B,) or floating of shape (B, K)
        Class indices, or distributions (as mixup and cutmix make them).
    label_smoothing : float
        Share of every target that is spread evenly over all classes.

    Returns
    -------
    loss : scalar
    saved : CrossEntropySaved

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, an index is not a class, or the batch is empty.

    Notes
    -----
    Agrees with ``torch.nn.functional.cross_entropy``.
    """
    t = target_distribution(targets, logits.shape[1], logits.dtype, label_smoothing)  # (B, K)
    log_probs = log_softmax(logits)  # (B, K)
    loss = -(t * log_probs).sum() / logits.dtype.type(len(logits))
    return loss, CrossEntropySaved(np.exp(log_probs), t)


def cross_entropy_backward(dloss: float | np.floating[Any], saved: CrossEntropySaved) -> Array:
    """``dlogits[b,k] = dloss (p[b,k] sum_j t[b,j] - t[b,k]) / B``.

    From ``d(log p_k)/d(logit_j) = [j = k] - p_j``; the sum is 1 for a distribution, kept for targets that are none.
    """
    probs, t = saved
    return (probs * t.sum(axis=1, keepdims=True) - t) * probs.dtype.type(float(dloss) / len(t))


class DistillationSaved(NamedTuple):
    """What the distillation losses' backward passes need."""

    head: CrossEntropySaved
    head_dist: CrossEntropySaved
    weights: tuple[float, float]  # of the two heads in the loss


def _check_heads(op: str, logits: Array, logits_dist: Array, teacher_logits: npt.NDArray[Any]) -> None:
    check_floating(op, logits=logits, logits_dist=logits_dist)
    check_ndim(op, "logits", logits, "(B, K)")
    check_shape(op, "logits_dist", logits_dist, logits.shape, "the shape of logits")
    check_array(op, "teacher_logits", teacher_logits)
    check_shape(op, "teacher_logits", teacher_logits, logits.shape, "the shape of logits")


def hard_distillation_forward(
    logits: Array,
    logits_dist: Array,
    targets: npt.NDArray[Any],
    teacher_logits: Array,
    *,
    alpha: float = 0.5,
    label_smoothing: float = 0.0,
) -> tuple[np.floating[Any], DistillationSaved]:
    """``(1 - alpha) CE(head, targets) + alpha CE(distillation head, the class the teacher picks)``.

    Parameters
    ----------
    logits, logits_dist : ndarray, shape (B, K)
        Of the two heads.
    targets : ndarray, (B,) or (B, K)
        The labels.
    teacher_logits : ndarray, shape (B, K)
        Only their largest entry counts.
    alpha : float
        Share of the distillation head; the paper's 0.5 by default.
    label_smoothing : float
        For the class head; the teacher's choice is not smoothed, as in the official code.

    Returns
    -------
    loss : scalar
    saved : DistillationSaved

    Notes
    -----
    Touvron et al. 2021, equation 3; LeViT paper, section 5.2. The official code's ``distillation_type="hard"``.
    """
    _check_heads("hard_distillation", logits, logits_dist, teacher_logits)
    base, saved = cross_entropy_forward(logits, targets, label_smoothing=label_smoothing)
    distilled, saved_dist = cross_entropy_forward(logits_dist, teacher_logits.argmax(axis=1))
    weights = (1 - float(alpha), float(alpha))
    return type(base)(weights[0] * base + weights[1] * distilled), DistillationSaved(saved, saved_dist, weights)


def hard_distillation_backward(dloss: float | np.floating[Any], saved: DistillationSaved) -> tuple[Array, Array]:
    """Gradients for both heads: the loss is a sum, so each head sees its own cross-entropy, weighted."""
    weight, weight_dist = saved.weights
    return cross_entropy_backward(dloss * weight, saved.head), cross_entropy_backward(
        dloss * weight_dist, saved.head_dist
    )


def soft_distillation_forward(
    logits: Array,
    logits_dist: Array,
    targets: npt.NDArray[Any],
    teacher_logits: Array,
    *,
    temperature: float = 1.0,
    alpha: float = 0.5,
    label_smoothing: float = 0.0,
) -> tuple[np.floating[Any], DistillationSaved]:
    """``(1 - alpha) CE(head, targets) + alpha T^2 / (B K) sum KL(teacher / T || distillation head / T)``.

    Parameters
    ----------
    logits, logits_dist, targets, teacher_logits, alpha, label_smoothing
        As in :func:`hard_distillation_forward`; here all of the teacher's distribution counts.
    temperature : float
        T: both distributions are softened by dividing the logits by it. T^2 keeps the gradient's size.

    Returns
    -------
    loss : scalar
    saved : DistillationSaved

    Notes
    -----
    Hinton et al. 2015. The division by B K, not B, is the official code's ``distillation_type="soft"``.
    """
    _check_heads("soft_distillation", logits, logits_dist, teacher_logits)
    check_floating("soft_distillation", logits=logits, teacher_logits=teacher_logits)
    alpha, temperature = float(alpha), float(temperature)  # NumPy float64 scalars would promote float32 logits
    if not temperature > 0:
        raise ValueError(f"soft_distillation: temperature must be positive, got {temperature}")
    base, saved = cross_entropy_forward(logits, targets, label_smoothing=label_smoothing)
    log_teacher = log_softmax(teacher_logits / temperature)  # (B, K)
    teacher = np.exp(log_teacher)
    log_probs = log_softmax(logits_dist / temperature)  # (B, K)
    # The difference inside the sum: as cross-entropy minus entropy a small divergence would lose most of its digits.
    divergence = (teacher * (log_teacher - log_probs)).sum()
    B, K = logits.shape
    loss = (1 - alpha) * base + alpha * temperature**2 / (B * K) * divergence
    saved_dist = CrossEntropySaved(np.exp(log_probs), teacher)  # KL is cross-entropy up to the teacher's own entropy
    return type(base)(loss), DistillationSaved(saved, saved_dist, (1 - alpha, alpha * temperature / K))


def soft_distillation_backward(dloss: float | np.floating[Any], saved: DistillationSaved) -> tuple[Array, Array]:
    """Gradients for both heads; of T^2 one T is left, since ``d(logits_dist / T) = dlogits_dist / T``."""
    return hard_distillation_backward(dloss, saved)
