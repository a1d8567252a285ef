"""The compiled module, see ``csrc/bindings/``, or None where it was not built."""

from __future__ import annotations

from importlib import import_module
from typing import Any

extension: Any = None
"""The module ``levit_ref._native``. Its arrays are float32 and contiguous unless a binding says otherwise."""

why_missing = ""
"""What the import said, if it failed."""

try:
    extension = import_module("levit_ref._native")
except ImportError as error:
    why_missing = str(error)
