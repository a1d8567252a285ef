"""The native backend: C++ kernels for the operations of :mod:`levit_ref.ops`, each under the operation's own signature.

``kernels`` has them by name; it is empty where the extension was not built. Each module here wraps the kernels of one
operation: it brings arrays into the layout that the kernel reads. Arguments have been checked before, and dtypes that a
kernel does not serve never come here: :mod:`levit_ref.functional` sees to both.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module, resources

from levit_ref.runtime.native.extension import extension, why_missing
from levit_ref.runtime.native.kernel import kernels

if extension is not None:
    extension.isa()  # reads LEVIT_REF_ISA, or refuses it
    extension.num_threads()  # and LEVIT_REF_THREADS
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")  # registers its kernels

__all__ = ["about", "extension", "kernels"]


def about() -> str:
    """What the native backend runs on, or why it is not available."""
    if extension is not None:
        threads = extension.num_threads()
        return f"C++ kernels for {extension.isa()}, {threads} thread{'s' if threads > 1 else ''}"
    reason = resources.files("levit_ref") / "_native_missing.txt"
    return (reason.read_text().strip() if reason.is_file() else "") or why_missing
