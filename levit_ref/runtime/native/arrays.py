"""What kernels can work on: float32, contiguous."""

from __future__ import annotations

import numpy as np

from levit_ref.ops._checks import Array


def serves(*arrays: object) -> bool:
    """Whether the kernels serve these: float32 arrays. NumPy's functions serve, or refuse, the rest."""
    return all(isinstance(array, np.ndarray) and array.dtype == np.float32 for array in arrays)


def rows(x: Array) -> Array:
    """(..., C) as a contiguous (M, C); a copy only if it has to be."""
    return np.ascontiguousarray(x.reshape(-1, x.shape[-1]))


def keys_first(bias: Array) -> Array:
    """(heads, N_q, N_k) as a contiguous (heads, N_k, N_q), which is how the kernels have biases in memory."""
    return np.ascontiguousarray(bias.swapaxes(-2, -1))
