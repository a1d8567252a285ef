"""What a recorded pass hands back: read-only values by name, in the order of execution."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from levit_ref.nn import ActivationSpec
from levit_ref.ops import Array


class Activations(Mapping[str, Array]):
    """Values (or gradients) by name, in the order of execution. The arrays are read-only copies.

    Parameters
    ----------
    values : mapping of str to ndarray
    specs : mapping of str to ActivationSpec
        Of the values, for the batch that they are of.
    notes : sequence of str
        What ran otherwise than in a plain forward pass.

    Attributes
    ----------
    notes : tuple of str
        On the native backend: which components ran step by step instead of fused, because a value inside of them was
        asked for. That takes longer, and changes no bit of the result. Otherwise empty.
    """

    def __init__(
        self, values: Mapping[str, Array], specs: Mapping[str, ActivationSpec], notes: Sequence[str] = ()
    ) -> None:
        self._values = dict(values)
        self._specs = {name: specs[name] for name in self._values}
        self.notes = tuple(notes)

    def __getitem__(self, name: str) -> Array:
        try:
            return self._values[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._values, n=1)
            raise KeyError(f"{name} was not recorded" + (f"; did you mean {near[0]}?" if near else "")) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def spec(self, name: str) -> ActivationSpec:
        """Axes, shape and meaning of a recorded value."""
        self[name]
        return self._specs[name]

    def as_grid(self, name: str) -> Array:
        """A recorded value laid out as a map, see :meth:`ActivationSpec.as_grid`: tokens as (B, H, W, C)."""
        return self.spec(name).as_grid(self[name])

    @property
    def nbytes(self) -> int:
        """Memory of all values in bytes."""
        return sum(value.nbytes for value in self._values.values())

    def __repr__(self) -> str:
        lines = [f"  {name}: {' '.join(self._specs[name].axes)} {value.shape}" for name, value in self.items()]
        if len(lines) > 12:
            lines[6:-5] = [f"  ... {len(lines) - 11} more"]
        return "\n".join([f"Activations of {len(self)} names", *lines, *(f"  note: {note}" for note in self.notes)])
