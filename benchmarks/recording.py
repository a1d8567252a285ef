"""Looking at the operations of a training step: which ones run, on which arrays, and for how long.

Modules call operations as ``F.linear_forward(...)``, which looks the name up in the active backend. For the time of a
``with`` block that backend is replaced by one that calls the same functions and tells an observer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

import numpy as np

from levit_ref import ops
from levit_ref.runtime import BACKENDS

Around = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""``around(name, operation, args, kwargs)`` calls the operation and returns its result."""


class _Observed:
    def __init__(self, backend: ModuleType, around: Around) -> None:
        self.backend, self.around = backend, around

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.backend, name)
        if not name.endswith(("_forward", "_backward", "_again")):
            return operation
        return lambda *args, **kwargs: self.around(name, operation, args, kwargs)


@contextmanager
def observed(backend: str, around: Around) -> Iterator[None]:
    """Let ``around`` make every call of a backend's forward and backward functions, and of what computes again."""
    module = BACKENDS[backend]
    BACKENDS[backend] = cast(ModuleType, _Observed(module, around))
    try:
        yield
    finally:
        BACKENDS[backend] = module


def has_kernel(operation: str) -> bool:
    """Whether the native backend has its own function of that name, and does not borrow NumPy's."""
    native = BACKENDS.get("native")
    return native is not None and getattr(native, operation) is not getattr(ops, operation)


# --- which operations, on which arrays -------------------------------------------------------------------------------


@dataclass
class Case:
    """One operation as a training step calls it: the arrays of its first call with these shapes."""

    operation: str
    """Without ``_forward``."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    calls: int = 0
    dy: Any = None
    """The gradient that the backward pass got; None if it never came."""
    backward_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> str:
        """Shapes of the arrays that say what the case is, without vectors: ``128x64x128 384x128``."""
        arrays = [a for a in self.args if isinstance(a, np.ndarray) and a.ndim > 1]
        return " ".join("x".join(map(str, a.shape)) for a in arrays[:3])

    @property
    def label(self) -> str:
        """The operation, with the activation that is part of it."""
        activation = self.kwargs.get("activation", "identity")
        return self.operation if activation == "identity" else f"{self.operation} + {activation}"

    @property
    def multiply_adds(self) -> int:
        """Of the matrix products of its forward pass; 0 where there are none."""
        if self.operation == "linear":
            x, weight = self.args[:2]
            return x.size * len(weight)
        if self.operation == "conv2d":
            weight, dy = self.args[1], self.dy
            return dy.size * weight[0].size
        if self.operation == "attention":
            q, k, v = self.args[:3]
            return q.size * k.shape[2] + v.size * q.shape[2]
        return 0

    @property
    def backward_multiply_adds(self) -> int:
        """Of the backward pass: a product for each factor of each product, but for gradients that nobody wants."""
        return self.multiply_adds * (2 if self.backward_kwargs.get("need_dx", True) else 1)


def record_cases(step: Callable[[], object], backend: str = "numpy") -> list[Case]:
    """The operations that ``step`` runs on ``backend``, each combination of shapes once, in order of execution."""
    cases: dict[tuple[Any, ...], Case] = {}
    # By identity: a backward pass belongs to the forward pass it continues. Modules put some arrays of what was saved
    # aside, and compute them again; the others are the same ones.
    saved_of: dict[tuple[str, int], tuple[Case, Any]] = {}
    returning = False  # what runs forward in the backward pass belongs to it, and is no case

    def around(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal returning
        result = function(*args, **kwargs)
        operation, _, direction = name.rpartition("_")
        options = {k: v for k, v in kwargs.items() if k != "tap"}
        if direction == "forward" and not returning:
            key = (operation, *(_key(v) for v in (*args, *options.values())))
            case = cases.setdefault(key, Case(operation, args, options))
            case.calls += 1
            for part in _parts(result[1]):
                saved_of[operation, id(part)] = case, part
        elif direction == "backward":
            returning = True
            keys = ((operation, id(part)) for part in _parts(args[1]))
            for case, _ in [saved_of[key] for key in keys if key in saved_of][:1]:
                if case.dy is None:
                    case.dy, case.backward_kwargs = args[0], options
        return result

    with observed(backend, around):
        step()
    return list(cases.values())


def _parts(saved: Any) -> list[Any]:
    """What an operation saved, and the arrays in it."""
    arrays = [part for part in saved if isinstance(part, np.ndarray)] if isinstance(saved, tuple) else []
    return [saved, *arrays]


def _key(value: Any) -> Any:
    return (value.shape, value.strides) if isinstance(value, np.ndarray) else value


# --- how long --------------------------------------------------------------------------------------------------------


def time_operations(
    step: Callable[[], object], backend: str, clock: Callable[[], float]
) -> dict[str, tuple[int, float]]:
    """Calls and seconds of every function that ``step`` calls on ``backend``, by name."""
    spent: dict[str, tuple[int, float]] = {}

    def around(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = clock()
        result = function(*args, **kwargs)
        calls, seconds = spent.get(name, (0, 0.0))
        spent[name] = calls + 1, seconds + clock() - start
        return result

    with observed(backend, around):
        step()
    return spent
