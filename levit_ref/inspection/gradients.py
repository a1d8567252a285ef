"""The gradient of a logit, a loss or any other number of the network, at every name on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.names import select
from levit_ref.inspection.run import frozen_copy, rolled_back_unless_complete, unfused
from levit_ref.nn import LeViT, SelectiveTap
from levit_ref.ops._checks import Array

Target: TypeAlias = int | npt.ArrayLike | Callable[[Array], Array] | None
"""What is differentiated, see :func:`run_with_gradients`."""


def run_with_gradients(
    model: LeViT, images: Array, names: str | Iterable[str], *, of: Target = None
) -> tuple[Array, Activations]:
    """Classify images, and differentiate a logit or a loss with respect to the named values.

    Runs in the mode the model is in, as :func:`levit_ref.run_with_activations` does. The gradients of the parameters,
    and what a later ``model.backward`` needs, stay as they were.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
    names : str or iterable of str
        As for :func:`levit_ref.run_with_activations`; ``"images"`` is the input.
    of : int, array of int, or callable, optional
        What is differentiated: the logit of this class; of one class for each image; by default, of the class that
        the model predicts. In eval mode images do not see each other, so every image gets the gradient of its own
        logit. Or a loss: ``of(logits)`` returns the gradient of the loss with respect to the logits.

    Returns
    -------
    logits : ndarray, shape (B, classes)
    gradients : Activations
        Of the shapes of the values; in the order of the forward pass.

    Raises
    ------
    ValueError
        If a name is unknown or a pattern matches nothing (the message has the nearest names), or a class is out of
        range.

    Examples
    --------
    >>> import levit_ref, numpy as np
    >>> model = levit_ref.create_model("levit_250k_32px", num_classes=10)
    >>> model.eval()
    >>> images = np.zeros((1, 3, 32, 32), np.float32)
    >>> logits, grads = run_with_gradients(model, images, names=["images", "pooled"], of=3)
    >>> grads["images"].shape, grads["pooled"].shape
    ((1, 3, 32, 32), (1, 96))
    """
    specs = {spec.name: spec for spec in model.activation_specs(max(1, len(images)))}
    wanted = select(names, list(specs))
    gradients: dict[str, Array] = {}

    def see(name: str, gradient: Array) -> None:
        gradients[name] = frozen_copy(gradient)

    parameters_before = model.flat_grad.copy()
    try:
        with model.aside(remember=True), rolled_back_unless_complete(model):
            logits = model.forward(images)
            model.backward(_gradient_of_logits(of, logits), SelectiveTap(see, wanted))
    finally:
        model.flat_grad[...] = parameters_before
    ordered = {name: gradients[name] for name in wanted}
    return logits, Activations(ordered, specs, unfused(model, wanted))


def _gradient_of_logits(of: Target, logits: Array) -> Array:
    """What ``model.backward`` starts from: (B, classes)."""
    if callable(of):
        dlogits = np.asarray(of(logits.copy()))
        if dlogits.shape != logits.shape:
            raise ValueError(f"of: returned shape {dlogits.shape}, expected that of the logits, {logits.shape}")
        return dlogits.astype(logits.dtype, copy=False)
    B, K = logits.shape
    classes = logits.argmax(axis=1) if of is None else np.asarray(of)
    if not np.issubdtype(classes.dtype, np.integer) or classes.shape not in ((), (B,)):
        raise ValueError(f"of: expected a class, one class for each of {B} images, or a function; got {of!r}")
    if classes.min() < 0 or classes.max() >= K:
        raise ValueError(f"of: classes go from 0 to {K - 1}, got {of!r}")
    dlogits = np.zeros_like(logits)
    dlogits[np.arange(B), classes] = 1
    return dlogits
