"""Run a picture through the network and keep any value on the way: one forward pass, with a recorder as its tap."""

from __future__ import annotations

from collections.abc import Iterable

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.edits import Edits
from levit_ref.inspection.plan import Plan, StopPass, rolled_back_unless_complete
from levit_ref.nn import LeViT, separate_pass
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
    stochastic depth as ``model(images)`` does; one that ``stop_after`` or an exception ends leaves the model as it
    was. What a later ``model.backward`` needs stays that of the last ``model(images)``. With nothing to record, to
    edit or to stop at, this is ``model(images)``.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised, as for ``model(images)``.
    names : str or iterable of str
        Names of ``model.activation_specs()``, or patterns: in ``"stages.*.attn.probs"`` the ``*`` stands for any text,
        dots included; ``"*"`` means all.
    stop_after : str, optional
        The last value to compute; what follows is not run.
    edits : mapping of str to callable, or several, optional
        ``edit(value)`` gets a copy of the value of that name (or of every name that the pattern matches) and returns
        what flows on in its place, see :mod:`levit_ref.inspection.edits`. What is recorded is what flows on.

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
    >>> model = levit_ref.create_model("levit_250k_32px", num_classes=10)
    >>> model.eval()
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
