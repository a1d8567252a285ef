"""What a test must know about an operation to hold it to the contract that all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import torch

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Sizes: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """The arguments of one call of a forward function."""

    arrays: Mapping[str, Array]
    """Those that have a gradient, in the order in which backward returns them."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Those that have none: targets, indices, running statistics, options."""

    def astype(self, dtype: npt.DTypeLike) -> Example:
        """The same with every floating array in ``dtype``."""
        return self.map(lambda a: a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a)

    def map(self, change: Callable[[npt.NDArray[Any]], Any]) -> Example:
        """The same with ``change`` applied to every array, constants included."""
        constants = {name: change(c) if isinstance(c, np.ndarray) else c for name, c in self.constants.items()}
        return Example({name: change(a) for name, a in self.arrays.items()}, constants)

    def replace(self, name: str, value: Any) -> Example:
        """The same with another value for one array that has a gradient."""
        return Example({**self.arrays, name: value}, self.constants)


@dataclass(frozen=True)
class OpCase:
    """An operation, or one mode of it, with what generic tests need to exercise it."""

    name: str
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]
    torch: Callable[..., torch.Tensor]
    """The same function of tensors, from PyTorch's own operations."""
    make: Callable[..., Example]
    """``make(rng, **sizes)`` draws float64 arguments."""
    sizes: st.SearchStrategy[Sizes]
    """Every problem size that the operation must handle."""
    typical: Sizes
    """One tiny problem with nothing special about it: all sizes differ."""
    any_shape: bool = False
    """Whether the first argument may have any number of axes."""
    hands_dy_on: tuple[str, ...] = ()
    """Inputs whose gradient is ``dy`` itself, not a copy."""

    def __str__(self) -> str:
        return self.name

    def example(self, seed: int = 0, dtype: npt.DTypeLike = np.float64, sizes: Sizes | None = None) -> Example:
        """Arguments of the given size (default: the typical one), the same for the same seed."""
        rng = np.random.default_rng([seed, 1])
        return self.make(rng, **(self.typical if sizes is None else sizes)).astype(dtype)

    def run(self, example: Example) -> tuple[Any, Any]:
        """``y, saved``."""
        return self.forward(**example.arrays, **example.constants)

    def gradients(self, dy: Any, saved: Any, example: Example) -> dict[str, Array]:
        """What backward returns, by the name of the input; without gradients of inputs that were left out."""
        returned = self.backward(dy, saved)
        returned = returned if isinstance(returned, tuple) else (returned,)
        return dict(zip(example.arrays, returned, strict=False))

    def torch_gradients(self, dy: Any, example: Example) -> tuple[Array, dict[str, Array]]:
        """``y`` and the gradients of the same arguments by PyTorch's autograd."""
        tensors = {name: torch.tensor(a, requires_grad=True) for name, a in example.arrays.items()}
        constants = {name: torch.tensor(c) if isinstance(c, np.ndarray) else c for name, c in example.constants.items()}
        y = self.torch(*tensors.values(), **constants)
        gradients = torch.autograd.grad(y, list(tensors.values()), torch.tensor(dy))
        return y.detach().numpy(), {name: g.numpy() for name, g in zip(tensors, gradients, strict=True)}


def upstream(y: Any, seed: int = 0) -> Any:
    """A random gradient for ``y``, of its shape and dtype; a scalar for a scalar."""
    dy = np.random.default_rng([seed, 2]).standard_normal(np.shape(y))
    return np.asarray(dy).astype(y.dtype)[()]


def arrays_in(saved: Any) -> Iterator[npt.NDArray[Any]]:
    """Every array in what a forward function saved."""
    if isinstance(saved, np.ndarray):
        yield saved
    elif isinstance(saved, tuple) or hasattr(saved, "__dict__"):
        for entry in saved if isinstance(saved, tuple) else vars(saved).values():
            yield from arrays_in(entry)


def relative_error(actual: Any, expected: Any, floor: float = 1e-2) -> float:
    """Largest difference relative to the largest magnitude of ``expected``.

    ``floor`` bounds that magnitude from below: where terms cancel (a sum over rows that happens to be small, softmax
    over one key), their rounding is all that is left.
    """
    assert np.shape(actual) == np.shape(expected), f"shape {np.shape(actual)}, expected {np.shape(expected)}"
    return float(np.max(np.abs(actual - expected)) / max(np.max(np.abs(expected)), floor))


def assert_same(actual: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float, floor: float = 1e-2) -> None:
    """Raise AssertionError unless both hold the same names and, within the tolerance, the same values."""
    assert list(actual) == list(expected)
    for name in expected:
        error = relative_error(actual[name], expected[name], floor)
        assert error < tolerance, f"{name}: relative error {error:.1e} (limit {tolerance:.0e})"
