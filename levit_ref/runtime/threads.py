"""The threads that compute: those of the kernels, and those of NumPy's BLAS."""

from __future__ import annotations

from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from levit_ref.runtime.native import about, extension


def num_threads() -> int:
    """Threads that kernels compute with: all cores that the process may use, or ``LEVIT_REF_THREADS``.

    1 where the native backend is not available; NumPy's threads are its BLAS library's.
    """
    return 1 if extension is None else int(extension.num_threads())


def blas_threads() -> int | None:
    """Threads that NumPy's BLAS computes with; None if the library does not say."""
    counts = [int(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas"]
    return max(counts, default=None)


def set_num_threads(n: int) -> None:
    """Compute with ``n`` threads from now on.

    Results depend on the instruction set, not on the number of threads. NumPy's threads are its BLAS library's;
    :func:`use_threads` sets both.

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


class use_threads:
    """Compute with ``count`` threads from now on, kernels and NumPy's BLAS; in a ``with`` block, until it ends.

    Parameters
    ----------
    count : int
        0 leaves both as they are.

    Raises
    ------
    ValueError, TypeError
        If ``count`` is negative or not an integer.

    Examples
    --------
    >>> with use_threads(1):
    ...     pass  # whatever is computed here, one thread computes
    """

    def __init__(self, count: int) -> None:
        if count < 0:
            raise ValueError(f"use_threads: count must be at least 0, got {count}")
        self._before = num_threads()
        self._blas: threadpool_limits | None = None
        if count:
            self._blas = threadpool_limits(count)
            if extension is not None:
                extension.set_num_threads(count)

    def __enter__(self) -> use_threads:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._blas is not None:
            self._blas.restore_original_limits()
            if extension is not None:
                extension.set_num_threads(self._before)
