"""Argument checks shared by the operations: every refusal names the argument, what came and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]

Tap: TypeAlias = Callable[[str, Array], Array]
"""Called as ``value = tap(name, value)`` wherever a value has a name; what it returns is what flows on."""


class _Untapped:
    """Looks at nothing, keeps nothing, costs one call. A backend that meets it is free to skip what has a name."""

    def __call__(self, name: str, value: Array) -> Array:
        return value

    def scope(self, name: str) -> _Untapped:
        """The tap of a component, see :mod:`levit_ref.nn.tap`."""
        return self


untapped = _Untapped()
"""The tap that looks at nothing. There is one only: ``tap is untapped``."""


def check_floating(op: str, **arrays: Array | None) -> None:
    """Raise unless every given array is a NumPy array and all share one floating dtype.

    An operation never promotes silently: a float64 weight that turned a float32 network into a
    float64 one would be found by its speed, days later.
    """
    first: tuple[str, np.dtype[Any]] | None = None
    for name, array in arrays.items():
        if array is None:
            continue
        check_array(op, name, array)
        if array.dtype.kind != "f":
            raise TypeError(f"{op}: {name} must have a floating dtype, got {array.dtype}")
        if first is None:
            first = (name, array.dtype)
        elif array.dtype != first[1]:
            raise TypeError(f"{op}: {name} is {array.dtype} but {first[0]} is {first[1]}; all must share one dtype")


def check_array(op: str, name: str, array: object) -> None:
    """Raise unless ``array`` is a NumPy array: a list would work in some places and not in others."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{op}: {name} must be a numpy array, got {type(array).__name__}")


def check_ndim(op: str, name: str, array: npt.NDArray[Any], axes: str) -> None:
    """Raise unless ``array`` has as many axes as ``axes`` names, e.g. ``"(B, N, C)"``, and none is empty."""
    check_array(op, name, array)
    expected = axes.count(",") + 1
    if array.ndim != expected:
        raise ValueError(f"{op}: {name} must have {expected} axes {axes}, got shape {array.shape}")
    check_not_empty(op, name, array)


def check_not_empty(op: str, name: str, array: npt.NDArray[Any]) -> None:
    """Raise if ``array`` has no axis, or no element as an empty batch has: its statistics and its mean do not exist."""
    if array.ndim == 0:
        raise ValueError(f"{op}: {name} has shape (), expected at least one axis")
    if array.size == 0:
        raise ValueError(f"{op}: {name} is empty, got shape {array.shape}; every axis needs at least one entry")


def check_shape(op: str, name: str, array: npt.NDArray[Any], expected: tuple[int, ...], why: str = "") -> None:
    """Raise unless ``array.shape == expected``; ``why`` says where the expectation comes from."""
    if array.shape != expected:
        raise ValueError(f"{op}: {name} has shape {array.shape}, expected {expected}{f' ({why})' if why else ''}")


def pair(op: str, name: str, value: int | tuple[int, int], minimum: int) -> tuple[int, int]:
    """``value`` as (rows, columns), each an integer of at least ``minimum``."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(isinstance(v, (int, np.integer)) and v >= minimum for v in both):
        raise ValueError(f"{op}: {name} must be an integer >= {minimum} or a pair of them, got {value!r}")
    return int(both[0]), int(both[1])
