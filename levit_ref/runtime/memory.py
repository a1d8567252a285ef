"""Memory for results that a module hands to an operation to be written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from levit_ref.ops._checks import Array
from levit_ref.runtime import registry
from levit_ref.runtime.native import extension


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array with whatever was in its memory.

    The native backend keeps the memory of results and uses it again, see ``csrc/runtime/buffers.h``; that of other
    dtypes and of NumPy's backend is new.
    """
    if registry.get_backend() == "native" and np.dtype(dtype) == np.float32:
        array: Array = extension.empty(shape)
        return array
    return np.empty(shape, dtype)
