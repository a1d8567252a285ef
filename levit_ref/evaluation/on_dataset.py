"""Loss, accuracy and confusions of a model on a dataset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from levit_ref import functional as F
from levit_ref.checkpoints import About, Checkpoint
from levit_ref.data import Dataset, Loader
from levit_ref.evaluation.subject import check_finite, taken_apart
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray
from levit_ref.preprocessing import KnowsPreprocessing, Preprocessing


@dataclass(frozen=True, eq=False)
class EvalResult:
    """What :func:`evaluate` counted. Results of parts of a dataset add up: ``result = first + second``.

    Attributes
    ----------
    loss_sum : float
        Cross-entropies of all pictures, without label smoothing, added up.
    within5 : int
        Pictures whose class has one of the five largest logits.
    confusion : ndarray of int64, (K, K)
        ``confusion[i, j]`` pictures of class i were called j.

    Notes
    -----
    A tie is never to the model's credit: a picture counts as right only if the logit of its class is larger than all
    others, and as within the five best only if fewer than five others are as large. So a model whose logits are all
    equal gets nothing right.
    """

    loss_sum: float
    within5: int
    confusion: npt.NDArray[np.int64]

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Number of pictures that were called by their class."""
        return int(np.trace(self.confusion))

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return self.loss_sum / self.pictures

    @property
    def accuracy(self) -> float:
        """Share of pictures that were called by their class, between 0 and 1."""
        return self.correct / self.pictures

    @property
    def top5(self) -> float:
        """Share of pictures whose class has one of the five largest logits, between 0 and 1."""
        return self.within5 / self.pictures

    def __add__(self, other: EvalResult) -> EvalResult:
        if not isinstance(other, EvalResult):
            return NotImplemented
        if self.confusion.shape != other.confusion.shape:
            raise ValueError(
                f"EvalResult: cannot add results of {len(self.confusion)} and of {len(other.confusion)} classes"
            )
        return EvalResult(
            self.loss_sum + other.loss_sum, self.within5 + other.within5, self.confusion + other.confusion
        )


def evaluate(
    model: LeViT | Checkpoint,
    dataset: Dataset,
    *,
    preprocessing: Preprocessing | KnowsPreprocessing | None = None,
    batch_size: int = 256,
    on_batch: Callable[[int, int], Any] | None = None,
) -> EvalResult:
    """Run a model over a whole dataset, without randomness.

    Pictures are decoded and normalised in a background thread.

    Parameters
    ----------
    model : LeViT or Checkpoint
        Runs in inference mode; its mode is restored.
    dataset : Dataset
        Of pictures of the model's size. Its classes are compared with those that a checkpoint names.
    preprocessing : Preprocessing, About or Checkpoint, optional
        Needed for a bare model. Only the normalisation is used here; the dataset has the pictures at their size.
    batch_size : int
        Largest number of pictures at once. Any size gives the same answers, to rounding.
    on_batch : callable, optional
        Called with the pictures done and the pictures in all; an exception from it ends the evaluation.

    Returns
    -------
    result : EvalResult

    Raises
    ------
    ValueError
        If the dataset is empty, or has other classes or another picture size than the model, or a bare model comes
        without a preprocessing.
    NonFiniteLogitsError
        If the model's logits are NaN or infinite.

    Examples
    --------
    >>> import levit_ref
    >>> from levit_ref.data import ArrayDataset
    >>> checkpoint = levit_ref.load_checkpoint("levit_1m_32px-cifar10")
    >>> black = np.zeros((2, 3, 32, 32), np.uint8)
    >>> result = evaluate(checkpoint, ArrayDataset(black, [0, 1], checkpoint.about.class_names))
    >>> result.pictures, result.correct <= 1
    (2, True)
    """
    network, how, about = taken_apart("evaluate", model, preprocessing)
    size, classes = len(dataset), network.num_classes
    if size == 0:
        raise ValueError("evaluate: the dataset is empty")
    if len(dataset.classes) != classes:
        raise ValueError(f"evaluate: the dataset has {len(dataset.classes)} classes, the model {classes}")
    if about is not None:
        check_classes(about, dataset.classes)
    if batch_size < 1:
        raise ValueError(f"evaluate: batch_size must be at least 1, got {batch_size}")
    loader = Loader(dataset, batch_size, how, shuffle=False, prefetch=1)
    loss_sum, within5, done = 0.0, 0, 0
    confusion = np.zeros((classes, classes), np.int64)
    with network.inference(), closing(cast("Any", loader.epoch(0))) as batches:
        for batch in batches:
            labels = dataset.labels[batch.indices]  # (B,)
            logits = network(batch.images)  # (B, K)
            check_finite(network, logits)
            loss_sum += float(F.cross_entropy_forward(logits, labels)[0]) * len(labels)
            called, rivals = called_against(logits, labels)
            np.add.at(confusion, (labels, called), 1)
            within5 += int(np.count_nonzero(rivals < 5))
            done += len(labels)
            if on_batch is not None:
                on_batch(done, size)
    return EvalResult(loss_sum, within5, confusion)


def called_against(logits: Array, labels: IntArray) -> tuple[IntArray, IntArray]:
    """What a model calls each picture, with ties against it.

    Parameters
    ----------
    logits : ndarray, shape (B, K)
        Finite.
    labels : ndarray of int, shape (B,)

    Returns
    -------
    called : ndarray of int, shape (B,)
        The class with the largest logit; of several, one that is wrong.
    rivals : ndarray of int, shape (B,)
        Number of other classes whose logit is at least that of the label.
    """
    rows = np.arange(len(labels))
    own = logits[rows, labels]  # (B,)
    others = logits.copy()  # (B, K)
    others[rows, labels] = -np.inf
    called = np.where(own > others.max(axis=1), labels, others.argmax(axis=1))
    return called, (others >= own[:, None]).sum(axis=1)


def check_classes(about: About, classes: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless a model's logits mean these classes: others would make its numbers meaningless."""
    if len(classes) != about.num_classes:
        raise ValueError(f"the model has {about.num_classes} classes, the dataset {len(classes)}")
    for i, (ours, theirs) in enumerate(zip(about.class_names, classes, strict=False)):
        if ours != theirs:
            raise ValueError(f"class {i} of the model is {ours}, that of the dataset is {theirs}")
