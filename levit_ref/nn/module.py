"""Parameter, Buffer and Module: names, modes, gradients and state, and nothing about any particular layer."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops._checks import Array
from levit_ref.runtime import computes_again

T = TypeVar("T")

Again: TypeAlias = Callable[[], Array]
"""Computes the output of a component's latest forward pass again: the same bits, if no parameter changed since then.

Whoever needs that output as an input in the backward pass keeps this in its place. Only for what takes one pass over
memory, and only where no tap came between, which might have replaced the value.
"""

RELEASED = object()
"""Stands where a module remembered something that a backward pass has given back."""


class _WithoutInput(NamedTuple):
    """What a module remembers, but for its input ``x``."""

    saved: Any
    again: Again


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


class Module:
    """A component: parameters, buffers and child components in the order they were assigned.

    A subclass sets them as attributes in ``__init__`` and defines ``forward`` and ``backward``. ``forward`` remembers
    what ``backward`` needs (:meth:`remember`); ``backward`` reads it without consuming it, so that it may be called
    again, in either mode: it differentiates the most recent forward pass. Only under :meth:`releasing` it consumes.
    """

    taps: ClassVar[Taps] = {}
    """Axes and meaning of every value that the component shows to its tap, by name; a number at its end is left out."""

    training: bool = True
    _remembers: bool = True
    _releases: bool = False
    _saved: Any = None

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Compute the output. ``tap`` sees every named value on the way."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Add the gradients of all parameters to their ``grad``, and return the gradient of the input."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def __call__(self, x: Array, tap: Tap = no_tap) -> Array:
        """Same as :meth:`forward`."""
        return self.forward(x, tap)

    # --- what backward needs -------------------------------------------------------------------------------------

    def remember(self, saved: Any, again: Again | None = None) -> None:
        """Keep what :meth:`backward` will need, unless the model runs under :meth:`inference`.

        With ``again``, the entry ``x`` of ``saved``, the input, is computed by :meth:`recall` instead of kept, on a
        backend that :func:`levit_ref.runtime.computes_again`.
        """
        if again is not None and saved.x is not None and computes_again():
            saved = _WithoutInput(saved._replace(x=None), again)
        self._saved = saved if self._remembers else None

    def recall(self) -> Any:
        """What the most recent forward pass remembered. Under :meth:`releasing` it can be recalled once."""
        saved = self.peek()
        if self._releases:
            self._saved = RELEASED
        return saved

    def peek(self) -> Any:
        """As :meth:`recall`, for somebody else's backward pass: nothing is given back."""
        saved = self._saved
        if saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a forward pass before it, outside of inference(): "
                "nothing is remembered"
            )
        if saved is RELEASED:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs another forward pass before it: a backward pass under "
                "releasing() gave back what the last one remembered"
            )
        return saved.saved._replace(x=saved.again()) if isinstance(saved, _WithoutInput) else saved

    @contextmanager
    def releasing(self) -> Iterator[None]:
        """``backward`` gives back what it needs as it goes: less memory, and one backward pass for each forward pass.

        Training runs it like that. Gradients are the same bits.
        """
        before = [(m, m._releases) for _, m in self.named_modules()]
        for module, _ in before:
            module._releases = True
        try:
            yield
        finally:
            for module, releases in before:
                module._releases = releases

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Eval mode without remembering anything for ``backward``; the modes before return at the end of the block."""
        before = [(m, m.training, m._remembers) for _, m in self.named_modules()]
        for module, _, _ in before:
            module.training, module._remembers, module._saved = False, False, None
        try:
            yield
        finally:
            for module, training, remembers in before:
                module.training, module._remembers = training, remembers

    @contextmanager
    def aside(self, *, training: bool | None = None, remember: bool = False) -> Iterator[None]:
        """Passes that leave no trace: afterwards modes, and what ``backward`` needs, are as they were before.

        Inside of the block nothing is :meth:`releasing`.

        Parameters
        ----------
        training : bool, optional
            The mode inside of the block; without it every component stays in its own.
        remember : bool
            Whether ``backward`` may be called inside of the block.
        """
        before = [(m, m.training, m._remembers, m._releases, m._saved) for _, m in self.named_modules()]
        for module, mode, *_ in before:
            module.training = mode if training is None else training
            module._remembers, module._releases = remember, False
        try:
            yield
        finally:
            for module, mode, remembers, releases, saved in before:
                module.training, module._remembers, module._releases = mode, remembers, releases
                module._saved = saved

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_saved"}  # activations are not state

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

    # --- modes and gradients -------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> None:
        """Switch to training mode: batch statistics, stochastic depth."""
        for _, module in self.named_modules():
            module.training = mode

    def eval(self) -> None:
        """Switch to evaluation mode: running statistics, no randomness."""
        self.train(False)

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
        """The live arrays behind the state: per component its own parameters and buffers, then its children's."""
        arrays = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, (Parameter, Buffer)):
                    arrays[f"{prefix}.{name}" if prefix else name] = value.data
        return arrays
