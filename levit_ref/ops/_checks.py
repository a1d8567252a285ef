"""Argument checks shared by the operations: every refusal names the argument, what came and what was expected."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from levit_ref.ops._types import Array

REFUSED = (np.ma.MaskedArray, np.matrix)
"""Arrays whose arithmetic is another one; a kernel would see their bare numbers."""

P = ParamSpec("P")
R = TypeVar("R")


Decorator: TypeAlias = Callable[[Callable[P, R]], Callable[P, R]]


def checked(check: Callable[P, None]) -> Decorator[P, R]:
    """Let ``check``, which raises if arguments do not fit together, see them before the decorated function does.

    The check and the bare function stay within reach as ``.check`` and ``.__wrapped__``.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            check(*args, **kwargs)
            return function(*args, **kwargs)

        vars(call)["check"] = check
        return call

    return decorate


def check_floating(op: str, **arrays: Array) -> None:
    """Raise unless every array is a NumPy array and all share one floating dtype.

    An operation never promotes silently: a float64 weight that turned a float32 network into a
    float64 one would be found by its speed, days later.

    Parameters
    ----------
    op : str
        Starts the message.
    **arrays : ndarray
        By the name of the argument.
    """
    first: tuple[str, np.dtype[Any]] | None = None
    for name, array in arrays.items():
        check_array(op, name, array)
        if array.dtype.kind != "f":
            raise TypeError(f"{op}: {name} must have a floating dtype, got {array.dtype}")
        if first is None:
            first = (name, array.dtype)
        elif array.dtype != first[1]:
            raise TypeError(f"{op}: {name} is {array.dtype} but {first[0]} is {first[1]}; all must share one dtype")


def given(**arrays: Array | None) -> dict[str, Array]:
    """Those arrays that are not None, for :func:`check_floating`: arguments that may be left out."""
    return {name: array for name, array in arrays.items() if array is not None}


def check_array(op: str, name: str, array: object) -> None:
    """Raise unless ``array`` is a NumPy array: a list would work in some places and not in others."""
    if type(array) is not np.ndarray and (not isinstance(array, np.ndarray) or isinstance(array, REFUSED)):
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


def check_flat(name: str, array: Array, like: Array | None = None) -> None:
    """Raise unless ``array`` is a contiguous 1-D float array, of the size and dtype of ``like`` if that is given."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}")
    if array.ndim != 1 or not array.flags.c_contiguous or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} must be a contiguous 1-D floating array, got {array.dtype} of shape {array.shape}")
    if like is not None and (array.shape != like.shape or array.dtype != like.dtype):
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {like.dtype} of shape {like.shape}")
