"""Run a picture through the network and keep any value on the way: one forward pass, with a recorder as its tap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from levit_ref import ops
from levit_ref.inspection.activations import Activations
from levit_ref.inspection.names import matches, nearest, select
from levit_ref.nn import ActivationSpec, ConvNorm, LeViT, LinearNorm, NormLinear, Residual, SelectiveTap
from levit_ref.nn.attention import BiasedAttention
from levit_ref.ops._checks import Array
from levit_ref.runtime import BACKENDS, get_backend

Edit: TypeAlias = Callable[[Array], Array]
"""Takes a copy of a value, which it may change, and returns what is to flow on in its place."""

Edits: TypeAlias = Mapping[str, Edit] | Iterable[Mapping[str, Edit]]
"""Edits by name or pattern, or several such mappings, which are applied one after another."""

FUSING = {
    "attention": ("attention_forward", (BiasedAttention,)),
    "normalisation": ("batch_norm_forward", (ConvNorm, LinearNorm, NormLinear)),
}
"""What a backend may fuse as long as nobody looks inside: the operation, and the components that call it."""


class _StopPass(Exception):  # noqa: N818 (no error)
    """Ends a forward pass behind the last value that was asked for."""


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
    plan = _Plan(model, images, names, stop_after, edits)
    logits = None
    try:
        with model.aside(), rolled_back_unless_complete(model):
            logits = model.forward(images, plan.tap())
    except _StopPass:
        pass
    return logits, Activations(plan.values, plan.specs, plan.notes)


class _Plan:
    """Which values of a pass are to be recorded or edited, and what has been recorded so far."""

    def __init__(
        self, model: LeViT, images: Array, names: Iterable[str], stop_after: str | None, edits: Edits | None
    ) -> None:
        self.specs = {spec.name: spec for spec in model.activation_specs(max(1, len(images)))}
        known = list(self.specs)
        self.stop_after = stop_after
        if stop_after is not None:
            if stop_after not in self.specs:
                raise ValueError(f"stop_after: there is no value {stop_after!r}; {nearest(stop_after, known)}")
            known = known[: known.index(stop_after) + 1]
        self.recorded = frozenset(_select_before(stop_after, names, known, self.specs))
        self.edits: dict[str, list[Edit]] = {}
        for mapping in _mappings(edits):
            for pattern, edit in mapping.items():
                for name in matches(pattern, list(self.specs), what="edits"):
                    self.edits.setdefault(name, []).append(edit)
        self.watched = self.recorded | self.edits.keys() | ({stop_after} if stop_after is not None else set())
        self.notes = unfused(model, self.watched)
        self.values: dict[str, Array] = {}

    def tap(self) -> SelectiveTap:
        """The tap that carries out the plan."""
        return SelectiveTap(self._see, self.watched)

    def _see(self, name: str, value: Array) -> Array:
        for edit in self.edits.get(name, ()):
            value = _edited(name, edit, value)
        if name in self.recorded:
            self.values[name] = frozen_copy(value)
        if name == self.stop_after:
            raise _StopPass
        return value


def frozen_copy(value: Array) -> Array:
    """A read-only copy in the memory layout of the original: put back, it flows through the very same arithmetic."""
    copied = value.copy(order="K")
    copied.flags.writeable = False
    return copied


def _edited(name: str, edit: Edit, value: Array) -> Array:
    edited = edit(value.copy(order="K"))
    if not isinstance(edited, np.ndarray):
        raise TypeError(f"the edit of {name} must return an array, got {type(edited).__name__}")
    if edited.shape != value.shape:
        raise ValueError(f"the edit of {name} returned shape {edited.shape}, expected {value.shape}")
    return edited.astype(value.dtype, copy=False)


def _mappings(edits: Edits | None) -> list[Mapping[str, Edit]]:
    if edits is None:
        return []
    return [edits] if isinstance(edits, Mapping) else list(edits)


def _select_before(
    stop_after: str | None, names: Iterable[str], known: list[str], specs: Mapping[str, ActivationSpec]
) -> list[str]:
    """The selected names among ``known``, which end with ``stop_after``."""
    for name in names:
        if name in specs and name not in known:
            raise ValueError(f"names: {name} comes after {stop_after}, behind which the pass is to stop")
    return select(names, known)


def unfused(model: LeViT, watched: Iterable[str]) -> list[str]:
    """Notes on what a compiled backend would have fused, had nobody asked for a value inside."""
    backend = get_backend()
    inside = {name[:dot] for name in watched for dot in range(len(name)) if name[dot] == "."}
    notes = []
    for what, (operation, kinds) in FUSING.items():
        if getattr(BACKENDS[backend], operation) is getattr(ops, operation) or model.dtype != np.float32:
            continue  # NumPy's: nothing is ever fused
        unfused = [name for name, module in model.named_modules() if name in inside and isinstance(module, kinds)]
        if unfused:
            notes.append(f"{backend} backend: {what} ran step by step, not fused, in {', '.join(unfused)}")
    return notes


@contextmanager
def rolled_back_unless_complete(model: LeViT) -> Iterator[None]:
    """Running statistics and random generators return to where they were if the block ends early."""
    if not model.training:
        yield
        return
    buffers = [(buffer, buffer.copy()) for _, buffer in model.named_buffers()]
    rngs = {id(m.rng): m.rng for _, m in model.named_modules() if isinstance(m, Residual)}
    states = [(rng.bit_generator, rng.bit_generator.state) for rng in rngs.values()]
    try:
        yield
    except BaseException:
        for buffer, before in buffers:
            buffer[...] = before
        for generator, state in states:
            generator.state = state
        raise
