"""Looking at the operations of a training step: which ones run, on which arrays, and for how long.

Modules call operations as ``F.linear_forward(...)``. For the time of a ``with`` block each of these names stands for a
function that calls the same operation and tells an observer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from levit_ref import functional as F
from levit_ref.runtime import BACKENDS, use_backend

Around = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""``around(name, operation, args, kwargs)`` calls the operation and returns its result."""


_OBSERVED = ("_forward", "_backward", "_again", "_statistics", "_sums")
"""How the names of the operations of a step end."""


@contextmanager
def observed(around: Around) -> Iterator[None]:
    """Let ``around`` make every call of an operation of a step, on whichever backend is active."""
    real = {name: getattr(F, name) for name in vars(F) if name.endswith(_OBSERVED)}
    for name, operation in real.items():
        setattr(F, name, _through(around, name, operation))
    try:
        yield
    finally:
        for name, operation in real.items():
            setattr(F, name, operation)


def _through(around: Around, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: around(name, operation, args, kwargs)


def has_kernel(operation: str) -> bool:
    """Whether the native backend has a kernel for an operation."""
    return operation in BACKENDS.get("native", {})


def passes(operation: str, backend: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The whole forward pass of an operation on a backend, and the whole backward pass.

    They are two functions, but for batch normalisation, which is cut where the processes of a cluster would meet: its
    statistics belong to the forward pass, and its two sums to the backward pass.
    """
    forward, backward = getattr(F, f"{operation}_forward"), getattr(F, f"{operation}_backward")
    if operation == "batch_norm":
        forward, backward = _batch_norm_forward, _batch_norm_backward
    return _on(backend, forward), _on(backend, backward)


def _on(backend: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with use_backend(backend):
            return function(*args, **kwargs)

    return call


def _batch_norm_forward(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, **options: Any) -> Any:
    mean, variance = F.batch_norm_statistics(x, channel_axis=options.get("channel_axis", -1))
    return F.batch_norm_forward(x, mean, variance, weight, bias, **options)


def _batch_norm_backward(dy: Any, saved: Any) -> tuple[Any, Any, Any]:
    sums = F.batch_norm_backward_sums(dy, saved)
    return F.batch_norm_backward(sums, saved, dy.size // len(sums.dbias)), sums.dweight, sums.dbias


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
    backward_args: tuple[Any, ...] = ()
    """Of the backward pass, after the gradient and what was saved."""
    backward_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> str:
        """Shapes of the arrays that say what the case is, without vectors: ``128x64x128 384x128``."""
        arrays = [a for a in self.args if isinstance(a, np.ndarray) and a.ndim > 1]
        return " ".join("x".join(map(str, a.shape)) for a in arrays[:3])

    @property
    def label(self) -> str:
        """The operation, with the activation that is part of it."""
        if self.operation == "activation":
            return str(self.args[1])
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


def record_cases(step: Callable[[], object]) -> list[Case]:
    """The operations that ``step`` runs, each combination of shapes once, in order of execution."""
    cases: dict[tuple[Any, ...], Case] = {}
    # By identity: a backward pass belongs to the forward pass it continues. Modules put some arrays of what was saved
    # aside, and compute them again; the others are the same ones.
    saved_of: dict[tuple[str, int], tuple[Case, Any]] = {}
    returning = False  # what runs forward in the backward pass belongs to it, and is no case

    def around(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal returning
        result = function(*args, **kwargs)
        operation, _, direction = name.removesuffix("_sums").rpartition("_")
        options = {k: v for k, v in kwargs.items() if k not in ("tap", "add_to")}
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
                    case.dy, case.backward_args, case.backward_kwargs = args[0], args[2:], options
        return result

    with observed(around):
        step()
    return list(cases.values())


def _parts(saved: Any) -> list[Any]:
    """What an operation saved, and the arrays in it."""
    arrays = [part for part in saved if isinstance(part, np.ndarray)] if isinstance(saved, tuple) else []
    return [saved, *arrays]


def _key(value: Any) -> Any:
    return (value.shape, value.strides) if isinstance(value, np.ndarray) else value


# --- how long --------------------------------------------------------------------------------------------------------


def time_operations(step: Callable[[], object], clock: Callable[[], float]) -> dict[str, tuple[int, float]]:
    """Calls and seconds of every operation that ``step`` calls, by name."""
    spent: dict[str, tuple[int, float]] = {}

    def around(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = clock()
        result = function(*args, **kwargs)
        calls, seconds = spent.get(name, (0, 0.0))
        spent[name] = calls + 1, seconds + clock() - start
        return result

    with observed(around):
        step()
    return spent
