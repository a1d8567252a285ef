"""When numbers stop being finite: find where it began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref.nn import FunctionTap, LeViT
from levit_ref.training.flat import FloatArray


class NonFiniteError(ArithmeticError):
    """The loss, a gradient or a weight is NaN or infinite; the message says which step and where it began."""


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
    not_finite: list[str] = []

    def look(name: str, value: FloatArray) -> None:
        if not not_finite and not np.isfinite(value).all():
            not_finite.append(name)

    with np.errstate(all="ignore"):
        model.forward_heads(images, FunctionTap(look))
    activation = not_finite[0] if not_finite else None
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
