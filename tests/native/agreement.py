"""Comparing the native backend with NumPy: the same call, on float32, against NumPy's own result in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension

EPS = float(np.finfo(np.float32).eps)

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""For properties over shapes: each is repeated for every instruction set."""

sizes = st.one_of(st.integers(1, 20), st.sampled_from([23, 31, 32, 33, 47, 48, 49, 64, 97, 128]))
"""Small ones, primes, vector widths and their neighbours."""


BLOCK = 16384  # values in a task of the kernels that update flat arrays

lengths = st.one_of(sizes, st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]))
"""Of flat arrays."""


def normal(seed: int, *shape: int) -> np.ndarray:
    """Random float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def misaligned(x: np.ndarray) -> np.ndarray:
    """A copy that starts four bytes after an address that vectors would like."""
    buffer = np.empty(x.size + 17, x.dtype)
    start = (-buffer.ctypes.data // 4) % 16 + 1
    y = buffer[start : start + x.size].reshape(x.shape)
    y[...] = x
    assert y.ctypes.data % 64 == 4
    return y


def assert_close(got: np.ndarray, expected: np.ndarray, *, terms: int = 1, scale: float | None = None) -> None:
    """Equal within the rounding of float32 sums of ``terms`` products, relative to the largest value expected."""
    assert got.dtype == np.float32, got.dtype
    assert got.shape == expected.shape, (got.shape, expected.shape)
    scale = float(np.abs(expected).max()) if scale is None else scale
    bound = EPS * (8 + 2 * np.sqrt(terms)) * (scale or 1.0)
    error = float(np.abs(got - expected).max())
    assert error <= bound, f"differs by {error:.2e}, {bound:.2e} allowed"


def assert_refused_alike(operation: str, *arguments: Any, numpy: Any = ops, native: Any = F, **options: Any) -> None:
    """The operation refuses these arguments on either backend, in the same words."""
    with pytest.raises((TypeError, ValueError)) as expected:
        getattr(numpy, operation)(*arguments, **options)
    with pytest.raises(expected.type) as got:
        getattr(native, operation)(*arguments, **options)
    assert str(got.value) == str(expected.value)


def assert_same_bits_for_any_threads(compute: Callable[[], Any], threads: tuple[int, ...] = (1, 2, 3)) -> None:
    """The same bits from every number of threads, and from run to run."""
    results = []
    for n in threads:
        extension.set_num_threads(n)
        results += [compute(), compute()]
    for other in results[1:]:
        for a, b in zip(_arrays(results[0]), _arrays(other), strict=True):
            np.testing.assert_array_equal(a, b)


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    return [array for item in value if item is not None for array in _arrays(item)]
