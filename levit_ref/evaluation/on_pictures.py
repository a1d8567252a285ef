"""Pictures in, the most probable classes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from levit_ref.checkpoints import Checkpoint
from levit_ref.evaluation.subject import check_finite, taken_apart
from levit_ref.nn import LeViT
from levit_ref.ops import Array, softmax_forward
from levit_ref.preprocessing import KnowsPreprocessing, Picture, Preprocessing, as_list


@dataclass(frozen=True)
class Prediction:
    """One answer of a model.

    Attributes
    ----------
    class_name : str
        Its number as text, if the names are unknown.
    index : int
        Of the class among the logits.
    probability : float
    """

    class_name: str
    index: int
    probability: float


def classify(
    model: LeViT | Checkpoint,
    pictures: Picture | Iterable[Picture],
    *,
    preprocessing: Preprocessing | KnowsPreprocessing | None = None,
    top: int = 5,
    batch_size: int = 32,
    on_error: Callable[[Picture, Exception], Any] | None = None,
) -> list[list[Prediction]]:
    """The most probable classes of pictures.

    Parameters
    ----------
    model : LeViT or Checkpoint
        Runs in inference mode; its mode is restored.
    pictures : path, PIL.Image.Image or ndarray, or several of them
        Of any size and colour mode, as :func:`levit_ref.prepare_images` takes them.
    preprocessing : Preprocessing, About or Checkpoint, optional
        Needed for a bare model.
    top : int
        Number of classes for each picture; at most all.
    batch_size : int
        Largest number of pictures at once. Any size gives the same answers, to rounding.
    on_error : callable, optional
        Called with a picture that cannot be read and the exception, and the others are classified. Without it the
        exception is raised.

    Returns
    -------
    predictions : list of list of Prediction
        For each picture, also for a single one, its classes, the most probable first. Empty for a picture that cannot
        be read.

    Raises
    ------
    ValueError
        If ``top`` or ``batch_size`` is below 1, there is no picture, or a bare model comes without a preprocessing.
    FileNotFoundError, TypeError, FileError
        If a picture is missing, is none, or cannot be read.
    NonFiniteLogitsError
        If the model's logits are NaN or infinite.

    Examples
    --------
    >>> import levit_ref
    >>> from matplotlib import cbook
    >>> photo = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)  # any picture file
    >>> checkpoint = levit_ref.load_checkpoint("levit_1m_32px-cifar10")
    >>> (found,) = levit_ref.classify(checkpoint, photo, top=3)
    >>> len(found), found[0].class_name in checkpoint.about.class_names
    (3, True)
    """
    network, how, about = taken_apart("classify", model, preprocessing)
    for name, value in ("top", top), ("batch_size", batch_size):
        if value < 1:
            raise ValueError(f"classify: {name} must be at least 1, got {value}")
    several = as_list(pictures)
    names = () if about is None else about.class_names
    found: list[list[Prediction]] = [[] for _ in several]
    for start in range(0, len(several), batch_size):
        pixels = {}  # uint8 (3, H, W) by place
        for i in range(start, min(start + batch_size, len(several))):
            try:
                pixels[i] = how.pixels(several[i])
            except (OSError, ValueError, TypeError) as error:
                if on_error is None:
                    raise
                on_error(several[i], error)
        if not pixels:
            continue
        with network.inference():
            logits = network(how.normalise(np.stack(list(pixels.values()))))  # (B, K)
        check_finite(network, logits)
        for i, row in zip(pixels, most_probable(logits, names, top=top), strict=True):
            found[i] = row
    return found


def most_probable(logits: Array, class_names: Sequence[str] = (), *, top: int = 5) -> list[list[Prediction]]:
    """The most probable classes for each row of logits.

    Parameters
    ----------
    logits : ndarray, shape (B, K)
    class_names : sequence of str
        Empty if unknown.
    top : int
        At most all.

    Returns
    -------
    predictions : list of list of Prediction
    """
    probabilities = softmax_forward(logits.astype(np.float64))[0]  # (B, K)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # (B, top)
    return [
        [Prediction(class_names[i] if class_names else str(i), int(i), float(row[i])) for i in order]
        for row, order in zip(probabilities, best, strict=True)
    ]
