"""Parameter, Buffer and Module: names, modes, gradients and state, and nothing about any particular layer."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from levit_ref.nn.memory import current_pass, separate_pass
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array

T = TypeVar("T")
Self = TypeVar("Self", bound="Module")


class Parameter:
    """A trainable array and its gradient.

    Parameters
    ----------
    data : ndarray
        Initial value, of floating dtype.

    Attributes
    ----------
    data, grad : ndarray
        Of one shape and dtype. In a finished model both are views into two flat arrays, see
        :meth:`levit_ref.nn.LeViT.flatten`; so assigning to either copies into it and never replaces it.
    """

    def __init__(self, data: Array) -> None:
        self._data = data
        self._grad = np.zeros(data.shape, data.dtype)  # zeros_like would touch memory that flatten() gives back

    @property
    def data(self) -> Array:
        """The value."""
        return self._data

    @data.setter
    def data(self, value: npt.ArrayLike) -> None:
        self._assign(self._data, value, "data")

    @property
    def grad(self) -> Array:
        """The gradient that backward passes have added up since the last ``zero_grad``."""
        return self._grad

    @grad.setter
    def grad(self, value: npt.ArrayLike) -> None:
        self._assign(self._grad, value, "grad")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``data``."""
        return self._data.shape

    @property
    def size(self) -> int:
        """Number of trainable numbers."""
        return self._data.size

    def move_to(self, data: Array, grad: Array) -> None:
        """Copy value and gradient into the given arrays (views of the flat ones) and live there from now on."""
        data[...], grad[...] = self._data, self._grad
        self._data, self._grad = data, grad

    def _assign(self, target: Array, value: npt.ArrayLike, what: str) -> None:
        array = np.asarray(value)
        if array.shape != target.shape:
            raise ValueError(f"Parameter.{what}: got shape {array.shape}, expected {target.shape}")
        target[...] = array

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self._data.dtype})"


class Buffer:
    """State that is saved with the model but not trained: the running statistics of batch normalisation."""

    def __init__(self, data: npt.NDArray[Any]) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Buffer(shape={self.data.shape}, dtype={self.data.dtype})"


_modes = threading.Lock()
"""Held while a mode changes: blocks of :meth:`Module.inference` overlap in several threads."""


class Module:
    """A component: parameters, buffers and child components in the order they were assigned.

    A subclass sets them as attributes in ``__init__`` and defines ``forward(x, tap)`` and ``backward(dy, tap)``.
    ``forward`` hands what ``backward`` needs to :meth:`remember`, and ``backward`` reads it by :meth:`recall`: it
    differentiates the most recent forward pass of the same thread, as often as it is called.
    """

    taps: ClassVar[Taps] = {}
    """Axes and meaning of every value that the component shows to its tap, by name; a number at its end is left out."""

    _training: bool = True
    _inferences: int = 0  # blocks of inference() that are open, in all threads

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Compute the output. ``tap`` sees every named value on the way."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Add the gradients of all parameters to their ``grad``, and return the gradient of the input."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def __call__(self, x: Array, tap: Tap = no_tap) -> Array:
        """Same as :meth:`forward`."""
        return self.forward(x, tap)

    # --- what backward needs: nn/memory.py decides what becomes of it ----------------------------------------------

    def remember(self, saved: Any) -> None:
        """Keep what :meth:`backward` will need."""
        current_pass().remember(self, saved)

    def recall(self) -> Any:
        """What the most recent forward pass of this thread remembered."""
        return current_pass().recall(self)

    def repeatable(self, y: Array, again: Callable[[], Array], tap: Tap) -> Array:
        """``y``; whoever remembers it may keep ``again``, which computes it again, in its place.

        For the output of a component that a kernel computes in one pass over what the component remembers anyway. If
        ``tap`` looks at it, ``y`` is kept.
        """
        current_pass().declare(y, again, tap)
        return y

    # --- modes ---------------------------------------------------------------------------------------------------

    @property
    def training(self) -> bool:
        """Whether the component is in training mode: batch statistics, stochastic depth."""
        return self._training and not self._inferences

    def train(self: Self, mode: bool = True) -> Self:
        """Switch to training mode, and return the module itself."""
        for _, module in self.named_modules():
            module._training = mode
        return self

    def eval(self: Self) -> Self:
        """Switch to evaluation mode (running statistics, no randomness), and return the module itself."""
        return self.train(False)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Evaluation mode, for as long as one such block is open in any thread, and nothing remembered in this one.

        Blocks may overlap. Modes, and what was remembered before, are untouched afterwards.
        """
        modules = [module for _, module in self.named_modules()]

        def count(change: int) -> None:
            with _modes:
                for module in modules:
                    module._inferences += change

        count(1)
        try:
            with separate_pass(keeps=False):
                yield
        finally:
            count(-1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_inferences"}

    # --- names ---------------------------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """Direct components by name; those in a list are named ``blocks.0``, ``blocks.1``, and so on."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This component and all below it, by dotted name; its own name is ``prefix``."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters as (dotted name, Parameter), in the order of the network."""
        yield from self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """All buffers as (dotted name, array), in the order of the network."""
        yield from ((name, buffer.data) for name, buffer in self._named(Buffer))

    def _named(self, kind: type[T]) -> Iterator[tuple[str, T]]:
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for _, parameter in self.named_parameters():
            parameter.grad[...] = 0

    # --- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all parameters and buffers by name, in the order of the network."""
        return {name: array.copy() for name, array in self._state_arrays().items()}

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]], strict: bool = True) -> None:
        """Copy values in by name. Nothing is changed unless everything fits.

        Parameters
        ----------
        state : mapping of str to ndarray
        strict : bool
            Whether missing and unknown names are errors. Wrong shapes always are.

        Raises
        ------
        ValueError
            With a list of what is missing, unknown (with the nearest name) and misshapen.
        """
        own = self._state_arrays()
        problems = []
        if strict:
            problems += [f"missing: {name} {own[name].shape}" for name in own if name not in state]
            for name in state:
                if name not in own:
                    near = difflib.get_close_matches(name, own, n=1)
                    problems.append(
                        f"unknown: {name} {np.shape(state[name])}" + (f"; did you mean {near[0]}?" if near else "")
                    )
        problems += [
            f"shape: {name} is {np.shape(state[name])}, the model's is {own[name].shape}"
            for name in own
            if name in state and np.shape(state[name]) != own[name].shape
        ]
        if problems:
            shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
            raise ValueError(
                f"state does not fit {type(self).__name__}, {len(problems)} differences:\n  " + "\n  ".join(shown)
            )
        for name, array in own.items():
            if name in state:
                array[...] = state[name]

    def _state_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The live arrays of the state: per component its own parameters and buffers, then its children's."""
        arrays = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, (Parameter, Buffer)):
                    arrays[f"{prefix}.{name}" if prefix else name] = value.data
        return arrays

    # --- to look at ----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return "\n".join(self._tree("", ""))

    def _tree(self, name: str, indent: str) -> Iterator[str]:
        """One line for the component, its parameters with their shapes on it, and the lines of its children."""
        own = [f"{n} {p.shape}" for n, p in vars(self).items() if isinstance(p, Parameter)]
        count = sum(p.size for _, p in self.named_parameters())
        words = [f"{indent}{name}:" if name else "", self._title(), *own, f"{count:,}" if count else ""]
        yield "  ".join(filter(None, words))
        for child_name, child in self.children():
            yield from child._tree(child_name, indent + "  ")

    def _title(self) -> str:
        """What the first line of ``repr`` calls the component."""
        return type(self).__name__
