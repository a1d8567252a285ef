"""The machine's peak: how many float32 operations a second its cores do when nothing holds them up.

``python benchmarks/peak.py`` prints it. Every benchmark measures it again beside its own figures, since shared machines
change their speed from minute to minute.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("fma_peak.c")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_peak(
    threads: int | None = None, seconds: float = 0.3, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, str]:
    """Peak in GFLOP/s of ``threads`` cores together, the best of all tries in so many seconds, and how it was found.

    Without a C compiler the best large matrix product of NumPy stands in for it, a few percent below.
    """
    threads = threads or available_cores()
    loop = _compiled_loop()
    if loop is None:
        return _matmul_peak(), "best NumPy matrix product, for want of a C compiler"

    def one_core(iterations: int) -> float:
        return float(loop(iterations, (ctypes.c_float * 1)(0.0)))  # ctypes releases the GIL

    # Short tries: other processes leave gaps of a few milliseconds, and one try in a gap is enough. Several threads
    # need longer ones, for it takes a while until all have started.
    one_try = 0.003 if threads == 1 else 0.015
    iterations, best, end = 100_000, 0.0, time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        run_all = map if threads == 1 else pool.map
        while best == 0.0 or time.perf_counter() < end:
            start = clock()
            operations = sum(run_all(one_core, [iterations] * threads))
            spent = clock() - start
            best = max(best, operations / spent)
            iterations = max(1, int(best / operations * iterations * one_try))
    return best / 1e9, f"FMA loop on {threads} cores"


@cache
def _compiled_loop() -> ctypes._FuncPointer | None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fma_peak.so"
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        loop = ctypes.CDLL(str(library)).fma_loop
    loop.restype = ctypes.c_double
    loop.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
    return loop


def _matmul_peak(n: int = 2048) -> float:
    a = np.random.default_rng(0).random((n, n), np.float32)
    best = 0.0
    for _ in range(7):
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best / 1e9


if __name__ == "__main__":
    peak, how = measure_peak()
    print(f"{peak:.1f} GFLOP/s ({how})")
