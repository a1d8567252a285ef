"""The native backend: the operations of :mod:`levit_ref.ops` by C++ kernels, with the same names and signatures.

``operations`` is the backend, or None where the extension was not built. It serves float32; other dtypes are served
by NumPy under the same call, so that a gradient check in float64 runs on either backend. Operations that have no
kernel are NumPy's.
"""

from __future__ import annotations

from importlib import import_module, resources
from types import ModuleType
from typing import Any

extension: Any = None
"""The compiled module, or None."""

operations: ModuleType | None = None
"""The backend, or None."""

_missing = ""

try:
    extension = import_module("levit_ref._native")
except ImportError as error:
    _missing = str(error)
else:
    extension.isa()  # reads LEVIT_REF_ISA, or refuses it
    extension.num_threads()  # and LEVIT_REF_THREADS
    operations = import_module("levit_ref.runtime.native.operations")


def about() -> str:
    """What the native backend runs on, or why it is not available."""
    if extension is not None:
        threads = extension.num_threads()
        return f"C++ kernels for {extension.isa()}, {threads} thread{'s' if threads > 1 else ''}"
    return _why_not_built() or _missing


def _why_not_built() -> str:
    reason = resources.files("levit_ref") / "_native_missing.txt"
    return reason.read_text().strip() if reason.is_file() else ""
