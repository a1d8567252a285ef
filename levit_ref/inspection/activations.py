"""The record of a pass: read-only values by name, in the order of execution, each with its specification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from levit_ref._suggest import did_you_mean
from levit_ref.inspection.names import select
from levit_ref.nn import ActivationSpec
from levit_ref.ops import Array


class Activations(Mapping[str, Array]):
    """Values (or gradients) by name, in the order of execution. The arrays are read-only copies.

    Parameters
    ----------
    values : mapping of str to ndarray
    catalogue : mapping of str to ActivationSpec
        Of all values of the network, for one image.
    notes : sequence of str
        What ran differently from a plain forward pass.

    Attributes
    ----------
    catalogue : mapping of str to ActivationSpec
        Every value of the network, recorded or not: axes, shape for one image, meaning, and the maps of tokens.
    notes : tuple of str
        On the native backend: which components ran step by step instead of fused, because a value inside them was
        asked for. That takes longer, and changes no bit of the result. Otherwise empty.
    """

    def __init__(
        self, values: Mapping[str, Array], catalogue: Mapping[str, ActivationSpec], notes: Sequence[str] = ()
    ) -> None:
        self._values = dict(values)
        self.catalogue: Mapping[str, ActivationSpec] = dict(catalogue)
        self.notes = tuple(notes)

    def __getitem__(self, name: str) -> Array:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"{name} was not recorded{did_you_mean(name, self._values, n=1)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def spec(self, name: str) -> ActivationSpec:
        """Axes, shape, meaning and maps of a recorded value."""
        return self.catalogue[name].for_batch(len(self[name]))

    def as_grid(self, name: str) -> Array:
        """A recorded value laid out as a map, see :meth:`ActivationSpec.as_grid`: tokens as (B, H, W, C)."""
        return self.spec(name).as_grid(self[name])

    def needed(self, names: str | Iterable[str], *, by: str) -> dict[str, Array]:
        """The values that a tool computes from: every value of the network that ``names`` stand for.

        Parameters
        ----------
        names : str or iterable of str
            Names or patterns.
        by : str
            The tool, for the error message.

        Raises
        ------
        ValueError
            If one of them was not recorded, or a name or pattern stands for no value of the network.
        """
        patterns = [names] if isinstance(names, str) else list(names)
        wanted = select(patterns, list(self.catalogue), what=by)
        missing = [name for name in wanted if name not in self._values]
        if missing:
            others = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise ValueError(
                f"{by} needs {missing[0]}{others}, which this record does not have; "
                f"record(model, images, {patterns}) keeps all of it"
            )
        return {name: self._values[name] for name in wanted}

    @property
    def nbytes(self) -> int:
        """Memory of all values in bytes."""
        return sum(value.nbytes for value in self._values.values())

    def __repr__(self) -> str:
        lines = [f"  {name}: {' '.join(self.catalogue[name].axes)} {value.shape}" for name, value in self.items()]
        if len(lines) > 12:
            lines[6:-5] = [f"  ... {len(lines) - 11} more"]
        return "\n".join([f"Activations of {len(self)} names", *lines, *(f"  note: {note}" for note in self.notes)])
