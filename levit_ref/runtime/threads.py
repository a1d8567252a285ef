"""The threads of the native backend."""

from __future__ import annotations

from typing import Any

from levit_ref.runtime.native import about, extension


def num_threads() -> int:
    """Threads that the native backend computes with: all cores that the process may use, or ``LEVIT_REF_THREADS``.

    Raises
    ------
    RuntimeError
        If the native backend is not available.
    """
    count: int = _extension().num_threads()
    return count


def set_num_threads(n: int) -> None:
    """Compute with ``n`` threads from now on.

    Results depend on the instruction set, not on the number of threads. NumPy's threads are its BLAS library's, which
    reads ``OMP_NUM_THREADS`` or ``OPENBLAS_NUM_THREADS`` when it is loaded.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    RuntimeError
        If the native backend is not available.
    ValueError, TypeError
        If ``n`` is not a positive integer.
    """
    _extension().set_num_threads(n)


def _extension() -> Any:
    if extension is None:
        raise RuntimeError(f"threads are the native backend's, which is not available: {about()}")
    return extension
