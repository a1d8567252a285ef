"""What a forward pass leaves for the backward pass: kept, computed again, or given back. All of it is decided here.

**Kept.** A module hands what its backward pass needs to ``remember`` and reads it with ``recall``. It lies in the
:class:`Pass` of the thread that computes, not on the module: threads that run one model do not see each other's passes.

**Computed again.** A third of what a training step would keep is outputs of normalisations and activations, which the
matrix product after them needs. One pass over memory makes such an output again from what the normalisation keeps
anyway. So a module declares it ``repeatable``; and wherever another module remembers that very array, or a view of it,
the way to make it again is kept in its place. The bits are the same, unless a parameter changes in between. A value
that a tap looks at is kept, since the tap may replace it. So is everything where NumPy computes: it takes many passes
over memory for the same, a tenth of a step's time.

**Given back.** A training step has no use for a second backward pass. In a lean one, everything is given back as soon
as it is recalled. Memory is freed layer by layer on the way back, and the peak of a step is what the forward pass kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, ref

import numpy as np

from levit_ref import functional as F
from levit_ref.nn.tap import Tap, no_tap
from levit_ref.ops import Array

if TYPE_CHECKING:
    from levit_ref.nn.module import Module

T = TypeVar("T")

GIVEN_BACK = object()
"""Stands where a module remembered something that a lean backward pass has given back."""


class _Repeat(NamedTuple):
    """Stands for an array, or a view of one, that is computed again instead of kept."""

    again: Callable[[], Array]
    offset: int  # in bytes, from the start of the memory
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Pass:
    """What the modules remember of their most recent forward passes.

    Parameters
    ----------
    keeps : bool
        False remembers nothing.
    """

    def __init__(self, *, keeps: bool = True) -> None:
        self.keeps = keeps
        self.is_lean = False
        self._saved: WeakKeyDictionary[Module, Any] = WeakKeyDictionary()
        # by the id of the array that owns the memory: a reference, which ends the entry with the array, and the way
        self._repeatable: dict[int, tuple[ref[Array], Callable[[], Array]]] = {}

    def declare(self, y: Array, again: Callable[[], Array], tap: Tap) -> None:
        """``again()`` makes ``y`` again, to the same bits, and cheaply if that is a kernel's work."""
        if self.keeps and tap is no_tap and F.has_kernel("batch_norm_forward", y.dtype):
            owner, known = _owner(y), self._repeatable
            key = id(owner)
            known[key] = ref(owner, lambda _: known.pop(key, None)), again

    def remember(self, module: Module, saved: Any) -> None:
        """Keep ``saved`` for the backward pass of ``module``, without the arrays that can be computed again."""
        if not self.keeps:
            return
        slim = _map(saved, np.ndarray, self._slim) if self._repeatable else saved
        self._saved[module] = slim, slim is not saved

    def recall(self, module: Module) -> Any:
        """What :meth:`remember` was given. In a lean backward pass that works once."""
        saved, is_slim = self._saved.get(module, (None, False))
        name = type(module).__name__
        if saved is None:
            raise RuntimeError(
                f"{name}.backward needs a forward pass before it, in the same thread and outside of inference(): "
                "nothing is remembered"
            )
        if saved is GIVEN_BACK:
            raise RuntimeError(
                f"{name}.backward needs another forward pass before it: a lean backward pass gave back what the last "
                "one remembered"
            )
        if self.is_lean:
            self._saved[module] = GIVEN_BACK, False
        return _map(saved, _Repeat, _Repeater()) if is_slim else saved

    def remembered(self, module: Module) -> Any:
        """What lies here for ``module``, as it lies here; None if there is nothing."""
        return self._saved.get(module, (None, False))[0]

    def _slim(self, array: Array) -> Any:
        owner = _owner(array)
        if id(owner) not in self._repeatable:
            return array
        offset = _address(array) - _address(owner)
        return _Repeat(self._repeatable[id(owner)][1], offset, array.shape, array.strides)


class _Thread(threading.local):
    """The passes that are open in a thread; modules remember in the last one."""

    def __init__(self) -> None:
        self.passes = [Pass()]


_thread = _Thread()


def current_pass() -> Pass:
    """The pass that this thread's modules remember in."""
    return _thread.passes[-1]


@contextmanager
def separate_pass(*, keeps: bool = True) -> Iterator[Pass]:
    """Forward and backward passes inside the block leave no trace on what was remembered before it.

    Parameters
    ----------
    keeps : bool
        Whether the passes inside remember anything. Without it there is no backward pass, and memory is freed layer by
        layer.
    """
    passes, own = _thread.passes, Pass(keeps=keeps)
    passes.append(own)
    try:
        yield own
    finally:
        passes.remove(own)  # perhaps not the last: blocks that are entered by hand may overlap


@contextmanager
def lean_backward() -> Iterator[None]:
    """Backward passes inside the block need less memory and compute what training needs, and no more.

    Everything that they need is given back as they go, so there is one for each forward pass. The gradient of the
    images is left out: ``backward`` of a network returns None. All other gradients are the same bits.
    """
    current = current_pass()
    before, current.is_lean = current.is_lean, True
    try:
        yield
    finally:
        current.is_lean = before


class _Repeater:
    """Computes again what a module remembers; an array that several parts are views of, once."""

    def __init__(self) -> None:
        self.results: dict[Callable[[], Array], Array] = {}

    def __call__(self, part: _Repeat) -> Array:
        if part.again not in self.results:
            self.results[part.again] = part.again()
        memory = _owner(self.results[part.again]).ravel(order="K")  # as it lies
        return np.ndarray(part.shape, memory.dtype, memory, part.offset, part.strides)


def _map(value: Any, kind: type[T], change: Callable[[T], Any]) -> Any:
    """``value``, a tuple perhaps with tuples inside, with everything of a kind in it changed; itself if nothing is."""
    if isinstance(value, kind):
        return change(value)
    if not isinstance(value, tuple):
        return value
    parts = [_map(part, kind, change) for part in value]
    if all(a is b for a, b in zip(parts, value, strict=True)):
        return value
    return value._make(parts) if hasattr(value, "_make") else tuple(parts)


def _owner(array: Array) -> Array:
    """The array whose memory ``array`` is a view of, or ``array`` itself."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
