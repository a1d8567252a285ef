"""Run a picture through the network and keep any value on the way: one forward pass, with a recorder as its tap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.edits import Edits
from levit_ref.inspection.names import select
from levit_ref.inspection.plan import Plan, StopPass, rolled_back_unless_complete
from levit_ref.nn import LeViT, separate_pass
from levit_ref.nn.specs import catalogue
from levit_ref.ops import Array


def run_with_activations(
    model: LeViT,
    images: Array,
    names: str | Iterable[str],
    *,
    stop_after: str | None = None,
    edits: Edits | None = None,
) -> tuple[Array | None, Activations]:
    """Classify images and keep the named values on the way.

    Runs in the mode the model is in. In training mode a complete pass moves the running statistics and draws
    stochastic depth as ``model(images)`` does; one that ends early, by ``stop_after`` or an exception, leaves the
    model as it was. A later ``model.backward`` still belongs to the last ``model(images)``. With nothing to record,
    to edit or to stop at, this is ``model(images)``.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised, as for ``model(images)``.
    names : str or iterable of str
        Names of ``model.activation_specs()``, or patterns: in ``"stages.*.attn.probs"`` the ``*`` stands for any text,
        dots included; ``"*"`` means all.
    stop_after : str, optional
        The last value to compute; nothing after it is run.
    edits : mapping of str to callable, or several, optional
        ``edit(value)`` gets a copy of the value of that name (or of every name that the pattern matches) and returns
        the value that flows on in its place, see :mod:`levit_ref.inspection.edits`. The edited value is recorded.

    Returns
    -------
    logits : ndarray, shape (B, classes)
        The same bits as without recording. None if ``stop_after`` ended the pass.
    activations : Activations

    Raises
    ------
    ValueError
        If a name is unknown or comes after ``stop_after``, a pattern matches nothing (the message has the nearest
        names), or an edit changes the shape.

    Examples
    --------
    >>> import levit_ref, numpy as np
    >>> model = levit_ref.create_model("levit_250k_32px", num_classes=10).eval()
    >>> images = np.zeros((1, 3, 32, 32), np.float32)
    >>> logits, acts = run_with_activations(model, images, names=["stages.*.attn.probs"])
    >>> for name, probs in acts.items():
    ...     print(name, probs.shape)
    stages.0.blocks.0.attn.probs (1, 4, 64, 64)
    stages.1.blocks.0.attn.probs (1, 6, 16, 16)
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names and not edits and stop_after is None:
        return model.forward(images), Activations({}, {})
    plan = Plan(model, names, edits, stop_after)
    logits = None
    try:
        with separate_pass(keeps=False), rolled_back_unless_complete(model):
            logits = model.forward(images, plan.tap())
    except StopPass:
        pass
    return logits, plan.result()


def record(model: LeViT, images: Array, names: str | Iterable[str], *, batch_size: int | None = None) -> Activations:
    """Keep the named values of a pass in evaluation mode, for the tools of this package to compute from.

    The pass ends after the last of the names, and leaves no trace on the model.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (n, 3, H, W)
        Normalised.
    names : str or iterable of str
        As for :func:`run_with_activations`. :data:`ATTENTION`, :data:`MAIN_PATH` and :data:`AFTER_BLOCKS` have the
        names that the tools need; ``"*"`` means all.
    batch_size : int, optional
        Images run at once; by default all. The record holds all images in either case.

    Returns
    -------
    activations : Activations

    Raises
    ------
    ValueError
        If a name is unknown or a pattern matches nothing (the message has the nearest names), or there is no image.

    Examples
    --------
    >>> import levit_ref, numpy as np
    >>> from levit_ref import inspection
    >>> model = levit_ref.create_model("levit_250k_32px", num_classes=10)
    >>> acts = inspection.record(model, np.zeros((1, 3, 32, 32), np.float32), inspection.ATTENTION)
    >>> maps = inspection.attention_maps(acts, "stages.0.blocks.0.attn", query=(4, 4))
    >>> maps.maps.shape
    (1, 4, 8, 8)
    """
    chosen = select(names, list(catalogue(model)))
    if not chosen:
        return Activations({}, catalogue(model))
    parts = [images]
    if batch_size is not None:
        if batch_size < 1:
            raise ValueError(f"record: batch_size must be at least 1, got {batch_size}")
        parts = [images[start : start + batch_size] for start in range(0, len(images), batch_size)] or parts
    records = []
    for part in parts:
        with model.inference():
            records.append(run_with_activations(model, part, chosen, stop_after=chosen[-1])[1])
    first = records[0]
    if len(records) == 1:
        return first
    values = {}
    for name in chosen:
        has_batch = first.catalogue[name].axes[0] == "B"
        values[name] = np.concatenate([acts[name] for acts in records]) if has_batch else first[name]
        values[name].flags.writeable = False
    return Activations(values, first.catalogue, first.notes)
