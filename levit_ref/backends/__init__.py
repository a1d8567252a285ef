"""Which implementation of the operations runs: chosen once for the process, or for a ``with`` block.

Modules call operations as ``F.linear_forward(...)``; ``F`` looks the name up in the active backend. A backend is a
Python module with the names and signatures of :mod:`levit_ref.ops`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from levit_ref import ops

BACKENDS: dict[str, ModuleType] = {"numpy": ops}
"""Every backend that can run here, by name."""

_active = "numpy"


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
        raise ValueError(f"there is no backend {name!r} here; available: {', '.join(BACKENDS)}")
    _active = name


def get_backend() -> str:
    """Name of the active backend."""
    return _active


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can run here."""
    return tuple(BACKENDS)


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
