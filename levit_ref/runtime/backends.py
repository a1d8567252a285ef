"""Which backend runs: chosen once for the process, or for a ``with`` block.

A backend is a table of kernels by the name of their operation; NumPy computes what has none. So NumPy's own is empty.
The native one is the default where it was built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from levit_ref.runtime import native
from levit_ref.runtime.native.kernel import Kernel

BACKENDS: dict[str, Mapping[str, Kernel]] = {"numpy": {}}
"""Every backend that can run here, by name. To add one of your own, put its table here."""
if native.extension is not None:
    BACKENDS["native"] = native.kernels


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
        Backend("native", native.extension is not None, native.about()),
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
        One of :func:`available_backends`. The environment variable ``LEVIT_REF_BACKEND`` sets the first
        choice.

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


def active_kernels() -> Mapping[str, Kernel]:
    """The kernels of the active backend, by the name of the operation."""
    return BACKENDS[_active]


class use_backend:
    """Compute with another backend from now on; in a ``with`` block, until it ends, whatever happens inside.

    Parameters
    ----------
    name : str
        One of :func:`available_backends`.

    Raises
    ------
    ValueError
        If there is no such backend here.

    Examples
    --------
    >>> with use_backend("numpy"):
    ...     pass  # whatever is computed here, NumPy computes
    """

    def __init__(self, name: str) -> None:
        self._before = _active
        set_backend(name)

    def __enter__(self) -> use_backend:
        return self

    def __exit__(self, *exception: object) -> None:
        set_backend(self._before)


if "LEVIT_REF_BACKEND" in os.environ:
    try:
        set_backend(os.environ["LEVIT_REF_BACKEND"])
    except ValueError as error:
        raise ValueError(f"LEVIT_REF_BACKEND: {error}") from None
