"""Which implementation of the operations runs: chosen once for the process, or for a ``with`` block.

The native one is the default where it was built. Modules call operations as ``F.linear_forward(...)``; ``F`` looks
the name up in the active backend. A backend is a Python module with the names and signatures of :mod:`levit_ref.ops`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from levit_ref import ops
from levit_ref.runtime import native

BACKENDS: dict[str, ModuleType] = {"numpy": ops}
"""Every backend that can run here, by name."""
if native.operations is not None:
    BACKENDS["native"] = native.operations


class Backend(NamedTuple):
    """A backend of this package, and whether it can run here."""

    name: str
    available: bool
    about: str
    """What it runs on, or why it is not available."""


def backends() -> tuple[Backend, ...]:
    """All backends of this package.

    Returns
    -------
    backends : tuple of Backend
        Those that are not available say why.
    """
    return (
        Backend("numpy", True, f"NumPy {np.__version__}, the reference"),
        Backend("native", native.operations is not None, native.about()),
    )


def describe_backend() -> str:
    """The active backend and what it runs on, for logs; if it is NumPy because it has to be, why."""
    numpy, native = backends()
    if _active == "native":
        return f"native: {native.about}"
    return f"{_active}: {numpy.about}" + ("" if native.available else f" (native is not available: {native.about})")


_active = "native" if "native" in BACKENDS else "numpy"


def set_backend(name: str) -> None:
    """Choose the backend of the process.

    Parameters
    ----------
    name : str
        One of :func:`available_backends`. The environment variable ``LEVIT_REF_BACKEND`` sets the first choice.

    Raises
    ------
    ValueError
        If there is no such backend here.
    """
    global _active
    if name not in BACKENDS:
        why = next((f" ({b.about})" for b in backends() if b.name == name), "")
        raise ValueError(f"there is no backend {name!r} here{why}; available: {', '.join(BACKENDS)}")
    _active = name


def get_backend() -> str:
    """Name of the active backend."""
    return _active


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can run here."""
    return tuple(BACKENDS)


def computes_again() -> bool:
    """Whether modules should compute again, in the backward pass, what takes a kernel one pass over memory.

    That is less time than it sounds, since what it reads and writes is used next, and a third less memory. NumPy takes
    many passes for the same, a tenth of the time of a step: there it is kept.
    """
    return _active == "native"


_FLOAT32 = np.dtype(np.float32)


def native_serves(*arrays: object) -> bool:
    """Whether the native backend is active and its kernels can work in place on these: contiguous float32 arrays.

    For what is no operation: training and augmentation hold their arithmetic in NumPy and, before it, a call of the
    kernel that does the same in one pass (:mod:`levit_ref.runtime.native.training`, ``pictures``) where this says so.
    """
    return _active == "native" and all(
        isinstance(array, np.ndarray) and array.dtype == _FLOAT32 and array.flags.c_contiguous for array in arrays
    )


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run a ``with`` block on another backend, and return to the one before, whatever happens inside."""
    before = _active
    set_backend(name)
    try:
        yield
    finally:
        set_backend(before)


class _ActiveBackend:
    """``F.<operation>`` of whatever backend is active when it is called."""

    def __getattr__(self, operation: str) -> Any:
        return getattr(BACKENDS[_active], operation)


if TYPE_CHECKING:
    F = ops  # every backend has the operations' signatures
else:
    F = _ActiveBackend()

if "LEVIT_REF_BACKEND" in os.environ:
    try:
        set_backend(os.environ["LEVIT_REF_BACKEND"])
    except ValueError as error:
        raise ValueError(f"LEVIT_REF_BACKEND: {error}") from None
