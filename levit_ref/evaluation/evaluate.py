"""Loss, accuracy and confusions of a model on a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref import functional as F
from levit_ref.data import Augmentation, Dataset, normalise
from levit_ref.nn import LeViT


@dataclass(frozen=True)
class EvalResult:
    """What :func:`evaluate` found.

    Attributes
    ----------
    loss : float
        Mean cross-entropy, without label smoothing.
    accuracy, top5 : float
        Share of pictures whose class has the largest, or one of the five largest, logits; between 0 and 1.
    confusion : ndarray of int64, (K, K)
        ``confusion[i, j]`` pictures of class i were called j.
    """

    loss: float
    accuracy: float
    top5: float
    confusion: npt.NDArray[np.int64]


def evaluate(
    model: LeViT,
    dataset: Dataset,
    batch_size: int = 256,
    augmentation: Augmentation | None = None,
    on_batch: Callable[[int, int], Any] | None = None,
) -> EvalResult:
    """Run a model over a whole dataset, in order and without randomness.

    Parameters
    ----------
    model : LeViT
        Runs in inference mode; its mode is restored.
    dataset : Dataset
    batch_size : int
        Pictures at once. Any size gives the same answers, to rounding.
    augmentation : Augmentation, optional
        Only its normalisation is used; without it pixels go from 0 to 1.
    on_batch : callable, optional
        Called with the pictures done and the pictures in all; an exception from it ends the evaluation.

    Raises
    ------
    ValueError
        If the dataset is empty, or has other classes or another picture size than the model.
    """
    size, classes = len(dataset), model.num_classes
    if size == 0:
        raise ValueError("evaluate: the dataset is empty")
    if len(dataset.classes) != classes:
        raise ValueError(f"evaluate: the dataset has {len(dataset.classes)} classes, the model {classes}")
    if batch_size < 1:
        raise ValueError(f"evaluate: batch_size must be at least 1, got {batch_size}")
    how = augmentation or Augmentation()
    loss, within5 = 0.0, 0
    confusion = np.zeros((classes, classes), np.int64)
    with model.inference():
        for start in range(0, size, batch_size):
            indices = np.arange(start, min(start + batch_size, size))  # (B,)
            labels = dataset.labels[indices]  # (B,)
            logits = model(normalise(dataset.batch(indices), how.mean, how.std))  # (B, K)
            loss += float(F.cross_entropy_forward(logits, labels)[0]) * len(indices)
            np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
            # rank of the true class: how many classes have a larger logit
            ahead = (logits > logits[np.arange(len(labels)), labels][:, None]).sum(axis=1)  # (B,)
            within5 += int(np.count_nonzero(ahead < 5))
            if on_batch is not None:
                on_batch(start + len(indices), size)
    return EvalResult(loss / size, int(np.trace(confusion)) / size, within5 / size, confusion)
