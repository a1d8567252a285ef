"""The gradient of a logit, a loss or any other number of the network, at every name on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.edits import DifferentiableEdit, Edits
from levit_ref.inspection.plan import Plan, frozen_copy, rolled_back_unless_complete
from levit_ref.nn import LeViT, SelectiveTap, separate_pass
from levit_ref.ops import Array

Target: TypeAlias = int | npt.NDArray[Any] | Callable[[Array], Array] | Mapping[str, Array] | None
"""What is differentiated, see :func:`run_with_gradients`."""

_backward_passes = threading.RLock()
"""Held during a backward pass: it adds to the gradients of the parameters, which all threads share."""


def run_with_gradients(
    model: LeViT, images: Array, names: str | Iterable[str], *, of: Target = None, edits: Edits | None = None
) -> tuple[Array, Activations]:
    """Classify images, and differentiate a logit, a loss or any inner value with respect to the named values.

    Runs in the mode the model is in, as :func:`levit_ref.run_with_activations` does. The gradients of the
    parameters stay as they were, and a later ``model.backward`` still belongs to the last ``model(images)``. Several
    threads may differentiate one model at the same time; their backward passes take turns.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
    names : str or iterable of str
        As for :func:`levit_ref.run_with_activations`; ``"images"`` is the input.
    of : int, array of int, callable, or mapping, optional
        What is differentiated: the logit of this class; of one class for each image; by default, of the class that
        the model predicts. In eval mode images do not see each other, so every image gets the gradient of its own
        logit. Or a loss: ``of(logits)`` returns the gradient of the loss with respect to the logits. Or inner values:
        ``{name: weights}`` differentiates the sum of ``weights * value``; weights have the value's shape.
    edits : mapping of str to edit, or several, optional
        As for :func:`levit_ref.run_with_activations`, of those that have a gradient
        (:mod:`levit_ref.inspection.edits`). The gradient under an edited name is that with respect to the edited
        value.

    Returns
    -------
    logits : ndarray, shape (B, classes)
    gradients : Activations
        Of the shapes of the values; in the order of the forward pass.

    Raises
    ------
    ValueError
        If a name is unknown or a pattern matches nothing (the message has the nearest names), a class is out of
        range, or a shape does not fit.
    TypeError
        If an edit has no gradient.

    Examples
    --------
    >>> import levit_ref, numpy as np
    >>> model = levit_ref.create_model("levit_250k_32px", num_classes=10).eval()
    >>> images = np.zeros((1, 3, 32, 32), np.float32)
    >>> logits, grads = run_with_gradients(model, images, names=["images", "pooled"], of=3)
    >>> grads["images"].shape, grads["pooled"].shape
    ((1, 3, 32, 32), (1, 96))
    """
    inner = of if isinstance(of, Mapping) else {}
    plan = Plan(model, names, edits, also=inner)
    for name, edit in ((name, edit) for name, several in plan.edits.items() for edit in several):
        if not isinstance(edit, DifferentiableEdit):
            raise TypeError(
                f"run_with_gradients: the edit of {name} has no gradient, since it has no method "
                "backward(gradient) as those of levit_ref.inspection.edits have"
            )
    gradients: dict[str, Array] = {}

    def see(name: str, gradient: Array) -> Array:
        if name in inner:
            gradient = gradient + _fitting(f"of[{name!r}]", inner[name], gradient)
        if name in plan.recorded:
            gradients[name] = frozen_copy(gradient)
        for edit in reversed(plan.edits.get(name, [])):
            assert isinstance(edit, DifferentiableEdit)  # checked above
            gradient = edit.backward(gradient)
        return gradient

    with separate_pass(), rolled_back_unless_complete(model):
        # The forward pass is watched at the same names as the backward pass, so that both fuse the same components.
        logits = model.forward(images, SelectiveTap(plan.edit, plan.watched))
        dlogits = np.zeros_like(logits) if isinstance(of, Mapping) else _gradient_of_logits(of, logits)
        with _unchanged_gradients(model):
            model.backward(dlogits, SelectiveTap(see, plan.watched))
    return logits, plan.result(gradients)


@contextmanager
def _unchanged_gradients(model: LeViT) -> Iterator[None]:
    """The gradients of the parameters are the same after the block as before it."""
    with _backward_passes:
        before = model.flat_grad.copy()
        try:
            yield
        finally:
            model.flat_grad[...] = before


def _gradient_of_logits(of: int | npt.NDArray[Any] | Callable[[Array], Array] | None, logits: Array) -> Array:
    """What ``model.backward`` starts from: (B, classes)."""
    if callable(of):
        return _fitting("of(logits)", of(logits.copy()), logits)
    B, K = logits.shape
    classes = logits.argmax(axis=1) if of is None else np.asarray(of)
    if not np.issubdtype(classes.dtype, np.integer) or classes.shape not in ((), (B,)):
        raise ValueError(f"of: expected a class, one class for each of {B} images, a function or a mapping; got {of!r}")
    if classes.min() < 0 or classes.max() >= K:
        raise ValueError(f"of: classes go from 0 to {K - 1}, got {of!r}")
    dlogits = np.zeros_like(logits)
    dlogits[np.arange(B), classes] = 1
    return dlogits


def _fitting(what: str, got: npt.ArrayLike, like: Array) -> Array:
    """``got`` in the dtype of ``like``, whose shape it must have."""
    array = np.asarray(got)
    if array.shape != like.shape:
        raise ValueError(f"{what} has shape {array.shape}, expected {like.shape}")
    return array.astype(like.dtype, copy=False)
