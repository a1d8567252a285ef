"""What is evaluated: a checkpoint, or a bare model together with the preprocessing of its pictures."""

from __future__ import annotations

import numpy as np

from levit_ref.checkpoints import About, Checkpoint
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from levit_ref.preprocessing import KnowsPreprocessing, Preprocessing, preprocessing_of


class NonFiniteLogitsError(ValueError):
    """A model's logits are NaN or infinite: there is no answer among them. The message names the model."""


def taken_apart(
    function: str, subject: LeViT | Checkpoint, preprocessing: Preprocessing | KnowsPreprocessing | None
) -> tuple[LeViT, Preprocessing, About | None]:
    """The model, its preprocessing, and what is known about it (None for a bare model).

    Parameters
    ----------
    function : str
        Starts the error messages.
    subject : LeViT or Checkpoint
    preprocessing : Preprocessing, About or Checkpoint, optional
        In place of the checkpoint's.

    Raises
    ------
    TypeError
        If ``subject`` is neither.
    ValueError
        If a bare model comes without a preprocessing, or the preprocessing makes pictures of another size.
    """
    if not isinstance(subject, LeViT | Checkpoint):
        raise TypeError(f"{function}: expected a LeViT or a Checkpoint, got {type(subject).__name__}")
    model = subject.model if isinstance(subject, Checkpoint) else subject
    about = subject.about if isinstance(subject, Checkpoint) else None
    chosen = about if preprocessing is None else preprocessing
    if chosen is None:
        raise ValueError(
            f"{function}: a model alone does not say how its pictures are normalised; pass its checkpoint "
            f"(levit_ref.load_checkpoint) in its place, or preprocessing=Preprocessing(size, mean, std)"
        )
    how = preprocessing_of(chosen)
    if how.size != model.image_size:
        raise ValueError(
            f"{function}: the preprocessing makes pictures of {how.size}, the model takes {model.image_size}"
        )
    return model, how, about


def check_finite(model: LeViT, logits: Array) -> None:
    """Raise ``NonFiniteLogitsError`` if one of the logits (B, K) is not finite."""
    if np.isfinite(logits).all():
        return
    for name, array in model.state_dict().items():
        if not np.isfinite(array).all():
            raise NonFiniteLogitsError(f"{model.config.name}: the logits are not finite, since {name} is not")
    raise NonFiniteLogitsError(f"{model.config.name}: the logits are not finite, though every weight is")
