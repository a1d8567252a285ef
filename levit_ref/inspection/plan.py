"""Which values of a pass are recorded or edited: names looked up, and an error for every name that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from levit_ref import functional as F
from levit_ref._suggest import the_nearest
from levit_ref.inspection.activations import Activations
from levit_ref.inspection.edits import Edit, Edits, edited
from levit_ref.inspection.names import matches
from levit_ref.nn import BatchNorm, ConvNorm, LeViT, LinearNorm, Module, SelectiveTap
from levit_ref.nn.attention import BiasedAttention
from levit_ref.nn.specs import catalogue
from levit_ref.ops import Array
from levit_ref.runtime import get_backend


def _is_attention(module: Module) -> bool:
    return isinstance(module, BiasedAttention)


def _is_normalisation_with_activation(module: Module) -> bool:
    norm = module.bn if isinstance(module, (ConvNorm, LinearNorm)) else None
    return isinstance(norm, BatchNorm) and norm.activation != "identity"


FUSING: Sequence[tuple[str, str, Callable[[Module], bool]]] = [
    ("attention", "attention_forward", _is_attention),
    ("normalisation with activation", "batch_norm_forward", _is_normalisation_with_activation),
]
"""What a backend may fuse as long as nobody looks inside: its name, the operation, and which components call it."""


class StopPass(Exception):  # noqa: N818 (no error: it never reaches the caller)
    """Ends a forward pass after the last value that was asked for."""


class Plan:
    """The recorder of one forward pass.

    Parameters
    ----------
    model : LeViT
    names : str or iterable of str
        What to record.
    edits : mapping, or several, optional
    stop_after : str, optional
    also : iterable of str
        Names to watch without recording them.

    Attributes
    ----------
    recorded, watched : frozenset of str
    edits : dict of str to list
        The edits of every edited value, in the order in which they apply.

    Raises
    ------
    ValueError
        If a name is unknown, a pattern matches nothing, or a name comes after ``stop_after``.
    """

    def __init__(
        self,
        model: LeViT,
        names: str | Iterable[str],
        edits: Edits | None = None,
        stop_after: str | None = None,
        also: Iterable[str] = (),
    ) -> None:
        self.model, self.stop_after = model, stop_after
        self.specs = catalogue(model)
        self._reached = list(self.specs)
        if stop_after is not None:
            if stop_after not in self.specs:
                raise ValueError(f"stop_after: there is no value {stop_after!r}; {the_nearest(stop_after, self.specs)}")
            del self._reached[self._reached.index(stop_after) + 1 :]
        names = [names] if isinstance(names, str) else names
        self.recorded = frozenset(name for pattern in names for name in self._find("names", pattern))
        self.edits: dict[str, list[Edit]] = {}
        for mapping in _mappings(edits):
            for pattern, edit in mapping.items():
                for name in self._find("edits", pattern):
                    self.edits.setdefault(name, []).append(edit)
        unrecorded = [name for pattern in also for name in self._find("of", pattern)]
        self.watched = self.recorded.union(self.edits, unrecorded, [] if stop_after is None else [stop_after])
        self._values: dict[str, Array] = {}

    def tap(self) -> SelectiveTap:
        """The tap of the forward pass."""
        return SelectiveTap(self._see, self.watched)

    def edit(self, name: str, value: Array) -> Array:
        """The value that flows on in place of ``value``."""
        for edit in self.edits.get(name, ()):
            value = edited(name, edit, value)
        return value

    def result(self, values: Mapping[str, Array] | None = None) -> Activations:
        """The recorded values, or ``values`` under their names, in the order of the forward pass."""
        values = self._values if values is None else values
        found = {name: values[name] for name in self.specs if name in self.recorded}
        return Activations(found, self.specs, unfused(self.model, self.watched))

    def _find(self, what: str, pattern: str) -> list[str]:
        """The names that ``pattern`` stands for, up to where the pass is to stop; ``what`` starts the error message."""
        found = set(matches(pattern, list(self.specs), what=what))
        reached = [name for name in self._reached if name in found]
        if not reached:
            raise ValueError(f"{what}: {pattern} comes after {self.stop_after}, where the pass is to stop")
        return reached

    def _see(self, name: str, value: Array) -> Array:
        value = self.edit(name, value)
        if name in self.recorded:
            self._values[name] = frozen_copy(value)
        if name == self.stop_after:
            raise StopPass
        return value


def frozen_copy(value: Array) -> Array:
    """A read-only copy in the memory layout of the original: put back, it flows through the very same arithmetic."""
    copied = value.copy(order="K")
    copied.flags.writeable = False
    return copied


@contextmanager
def rolled_back_unless_complete(model: LeViT) -> Iterator[None]:
    """If the block ends early, running statistics and stochastic depth's generator return to where they were."""
    if not model.training:
        yield
        return
    buffers = [(buffer, buffer.copy()) for _, buffer in model.named_buffers()]
    generator = model.drop_path.rng.bit_generator
    state = generator.state
    try:
        yield
    except BaseException:
        for buffer, before in buffers:
            buffer[...] = before
        generator.state = state
        raise


def unfused(model: LeViT, watched: Iterable[str]) -> list[str]:
    """Notes on the components that a compiled backend would have fused, had nobody asked for a value inside."""
    backend = get_backend()
    inside = {name[:dot] for name in watched for dot in range(len(name)) if name[dot] == "."}
    notes = []
    for what, operation, calls in FUSING:
        if not F.has_kernel(operation, model.dtype):
            continue  # NumPy computes it, and fuses nothing
        components = [name for name, module in model.named_modules() if name in inside and calls(module)]
        if components:
            notes.append(f"{backend} backend: {what} ran step by step, not fused, in {', '.join(components)}")
    return notes


def _mappings(edits: Edits | None) -> Sequence[Mapping[str, Edit]]:
    if edits is None:
        return []
    return [edits] if isinstance(edits, Mapping) else list(edits)
