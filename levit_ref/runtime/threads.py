"""The threads of the native backend."""

from __future__ import annotations

import os
import sys
from typing import Any

from levit_ref.runtime.native import about, extension

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LEVIT_REF_THREADS")
"""Variables that set the number of threads: of NumPy's BLAS, and with it the order of sums, and of the kernels."""


def num_threads() -> int:
    """Threads that kernels compute with: all cores that the process may use, or ``LEVIT_REF_THREADS``.

    1 where the native backend is not available; NumPy's threads are its BLAS library's.
    """
    return 1 if extension is None else int(extension.num_threads())


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


def use_threads(count: int) -> None:
    """Make sure that this process computes with ``count`` threads; 0 leaves it to the machine.

    BLAS libraries read the environment once, when they are loaded, and by the time that a command line has been
    parsed NumPy has loaded its own. So, unless the environment says ``count`` already, the process starts itself
    anew with the same command line in an environment that does. This function then does not return.

    Parameters
    ----------
    count : int
    """
    wanted = {name: str(count) for name in THREAD_VARIABLES}
    if count == 0 or all(os.environ.get(name) == value for name, value in wanted.items()):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
