"""When numbers stop being finite: find where it began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from levit_ref.training.flat import FloatArray

if TYPE_CHECKING:
    from levit_ref.nn import LeViT


class NonFiniteError(ArithmeticError):
    """The loss, a gradient or a weight is NaN or infinite; the message says which step and where it began."""


class NonFiniteFinder:
    """A tap that remembers the name of the first value, in execution order, that is not finite."""

    def __init__(self) -> None:
        self.first: str | None = None

    def __call__(self, name: str, value: FloatArray) -> FloatArray:
        """Look at ``value`` and pass it on."""
        if self.first is None and not np.isfinite(value).all():
            self.first = name
        return value

    def scope(self, name: str) -> _Scoped:
        """The tap of the component ``name``."""
        return _Scoped(self, name)


class _Scoped:
    def __init__(self, finder: NonFiniteFinder, prefix: str) -> None:
        self.finder, self.prefix = finder, prefix

    def __call__(self, name: str, value: FloatArray) -> FloatArray:
        return self.finder(f"{self.prefix}.{name}", value)

    def scope(self, name: str) -> _Scoped:
        return _Scoped(self.finder, f"{self.prefix}.{name}")


def first_nonfinite(named: Iterable[tuple[str, npt.NDArray[Any]]]) -> str | None:
    """Name of the first array that holds a NaN or an infinity, or None."""
    for name, array in named:
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            return name
    return None


def diagnose(model: LeViT, images: FloatArray) -> str:
    """Where a forward pass of this batch stops being finite, in words.

    Runs the forward pass once more, in the mode the model is in, with a tap that checks every named value in
    execution order. In training mode that moves the running statistics: for a run that is to stop.

    Parameters
    ----------
    model : LeViT
    images : ndarray, (B, 3, H, W)

    Returns
    -------
    report : str
        Names the first parameter that is not finite, if one is, and the first activation that is not.
    """
    if not np.isfinite(images).all():
        return "the images themselves are not finite"
    parameter = first_nonfinite((name, p.data) for name, p in model.named_parameters())
    finder = NonFiniteFinder()
    with np.errstate(all="ignore"):
        heads = model.forward_heads(images, tap=finder)
        outputs = {"head": heads.head} | ({} if heads.head_dist is None else {"head_dist": heads.head_dist})
    activation = finder.first or first_nonfinite(outputs.items())
    found = []
    if activation is None:
        found.append("every activation is finite")
    else:
        found.append(f"the first activation that is not finite is {activation}")
    if parameter is not None:
        found.append(f"the first parameter that is not finite is {parameter}")
    return ", ".join(found)


def check_finite(arrays: Mapping[str, npt.NDArray[Any]], doing: str) -> None:
    """Raise :class:`NonFiniteError` naming the first array with a NaN or an infinity; ``doing`` starts the message."""
    name = first_nonfinite(arrays.items())
    if name is not None:
        raise NonFiniteError(f"{doing}: {name} is not finite")
