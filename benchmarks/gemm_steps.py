"""How a matrix product gets fast, step by step: from three loops to the package's kernel, fused and on all cores.

    python benchmarks/gemm_steps.py                           # M = 8192 tokens, N = 512 and K = 256 channels
    python benchmarks/gemm_steps.py --json steps.json --plot steps.svg

The shape is that of an MLP in the first stage of LeViT-256: 128 pictures of 64 tokens, or 42 of 196. The steps are the
functions of ``gemm_steps.cpp``, which is compiled here with the package's flags and checked against NumPy. Then comes
what only the package has: the activation fused into the product, and threads.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import numpy.typing as npt
from common import COLOURS, Record, Table, milliseconds, times
from matplotlib.figure import Figure

import levit_ref
from levit_ref import ops
from levit_ref.runtime import BACKENDS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WHY, LEFT = "why", "with the compiler's vectorisation"


class StepText(NamedTuple):
    """A step of gemm_steps.cpp, in words."""

    name: str
    why: str


STEPS = (
    StepText("three loops", "the definition; every addition waits for the one before"),
    StepText("rows first", "whole cache lines are read, and sums do not wait for each other"),
    StepText("cache blocking, too early", "the caches are not what it waits for yet"),
    StepText("registers", "a 4 x 4 tile of C is summed in registers: two products for each load"),
    StepText("vectors", "one instruction multiplies and adds a whole vector"),
    StepText("larger tile", "enough sums in flight to hide how long one takes, fewer loads"),
    StepText("packing", "a panel of B is one contiguous run of memory"),
    StepText("cache blocking", "rows of A stay in the second-level cache while all panels go by"),
    StepText("the package's kernel", "a tile that fills the registers; what comes next is fetched ahead"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--shape", type=int, nargs=3, default=(8192, 512, 256), metavar=("M", "N", "K"))


def package_flags() -> tuple[list[str], list[str]]:
    """The compiler flags of setup.py: for everything, and for the instruction set that runs."""
    constants: dict[str, Any] = {}
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                constants[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    from levit_ref import _native

    return constants["FLAGS"], constants["X86_64"].get(_native.isa(), [])


Product = Callable[[int, npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]], None]
"""``product(step, A, B, C)``"""


def compiled(extra: list[str]) -> Product:
    """``gemm_steps.cpp``, built in a temporary folder."""
    from levit_ref import _native

    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise SystemExit("gemm_steps.py needs a C++ compiler")
    common_flags, isa_flags = package_flags()
    flags = [*common_flags, *isa_flags, *extra, f"-DLEVIT_ISA={_native.isa()}", f"-I{ROOT / 'csrc'}"]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "gemm_steps.so"
        sources = [str(HERE / "gemm_steps.cpp"), str(ROOT / "csrc" / "gemm" / "gemm.cpp")]
        subprocess.run([compiler, *flags, "-shared", "-fPIC", "-o", str(library), *sources], check=True)
        function = ctypes.CDLL(str(library)).run_step
    pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
    function.argtypes = [ctypes.c_int, size, size, size, pointer, pointer, pointer]
    function.restype = None

    def product(step: int, A: npt.NDArray[np.float32], B: npt.NDArray[np.float32], C: npt.NDArray[np.float32]) -> None:
        (M, K), N = A.shape, B.shape[1]
        function(step, M, N, K, A.ctypes.data, B.ctypes.data, C.ctypes.data)

    return product


def measure(args: argparse.Namespace) -> Record:
    """Time the steps, the fusion, the threads."""
    if "native" not in common.available_backends():
        raise SystemExit("gemm_steps.py compares with the native backend, which is not built")
    M, N, K = args.shape
    if M % 8 or N % 32:
        raise SystemExit("the small steps know whole tiles only: M must be a multiple of 8, N of 32")
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((M, K), np.float32), rng.standard_normal((K, N), np.float32)
    C = np.empty((M, N), np.float32)
    with ThreadPoolExecutor() as pool:
        scalar, vectorised = pool.map(compiled, (["-fno-tree-vectorize"], []))
    builds = {"scalar": scalar, "vectorised": vectorised}
    one = argparse.Namespace(threads=1, turns=args.turns, clock=args.clock)
    levit_ref.set_num_threads(1)
    rows = []
    for i, text in enumerate(STEPS):
        ways: dict[str, Callable[[], Any]] = {}
        for build, product in builds.items():
            C.fill(np.nan)
            product(i, A, B, C)
            if not np.allclose(C, A @ B, rtol=1e-3, atol=1e-3):
                raise SystemExit(f"step {i + 1}, {text.name}: not the product")
            ways[build] = lambda product=product, i=i: product(i, A, B, C)  # type: ignore[misc]
        race = common.race(ways, one)
        rows.append({**text._asdict(), "peak_gflops": race.peak_gflops, "seconds": race.record()})
    return {
        "shape": [M, N, K],
        "gflop": 2e-9 * M * N * K,
        "steps": rows,
        "fusion": _fusion(M, N, K, one),
        "threads": _threads(M, N, K, args),
    }


def _operands(M: int, N: int, K: int) -> tuple[npt.NDArray[np.float32], ...]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((M, K), np.float32), rng.standard_normal((N, K), np.float32), np.zeros(N, np.float32)


def _fusion(M: int, N: int, K: int, args: argparse.Namespace) -> Record:
    """A linear layer and the activation after it: one pass over the result, or two."""
    x, weight, bias = _operands(M, N, K)
    linear, activation = (BACKENDS["native"][f"{name}_forward"].function for name in ("linear", "activation"))
    ways = {
        "product alone": lambda: linear(x, weight, bias),
        "then hardswish": lambda: activation(linear(x, weight, bias)[0], "hardswish"),
        "hardswish fused": lambda: linear(x, weight, bias, activation="hardswish"),
        "then hardswish in NumPy": lambda: ops.hardswish_forward(linear(x, weight, bias)[0]),
    }
    race = common.race(ways, args)
    return {"peak_gflops": race.peak_gflops, "seconds": race.record()}


def _threads(M: int, N: int, K: int, args: argparse.Namespace) -> list[Record]:
    """The package's forward product on 1 .. n threads."""
    x, weight, _ = _operands(M, N, K)
    linear = BACKENDS["native"]["linear_forward"].function
    rows = []
    for n in range(1, args.threads + 1):
        levit_ref.set_num_threads(n)
        these = argparse.Namespace(threads=n, turns=args.turns, clock=args.clock)
        race = common.race({"native": lambda: linear(x, weight)}, these)
        rows.append({"threads": n, "peak_gflops": race.peak_gflops, "seconds": race.record()["native"]})
    levit_ref.set_num_threads(args.threads)
    return rows


def rate(record: Record, i: int, build: str) -> float:
    """GFLOP/s of a step; the best of its samples, for a student wants to know what the code can do."""
    return record["gflop"] / record["steps"][i]["seconds"][build]["minimum"]


def tables(record: Record) -> dict[str, Table]:
    """Steps, fusion, threads."""
    rows = []
    for i, step in enumerate(record["steps"]):
        scalar, vectorised = rate(record, i, "scalar"), rate(record, i, "vectorised")
        gain = times(scalar / rate(record, i - 1, "scalar")) if i else ""
        share = f"{scalar / step['peak_gflops']:.1%}"
        rows.append([f"{i + 1}. {step['name']}", f"{scalar:.1f}", share, gain, f"{vectorised:.1f}", step["why"]])
    M, N, K = record["shape"]
    title = f"C ({M}, {N}) = A ({M}, {K}) B ({K}, {N}) on one core"
    header = ["step", "GFLOP/s", "of peak", "step before", "left to the compiler", WHY]
    return {
        "steps": Table(title, header, rows, words=(WHY,)),
        "fusion": _fusion_table(record),
        "threads": _threads_table(record),
    }


def sentence(record: Record, number: int) -> str:
    """What a step reaches, for the page."""
    i = number - 1
    scalar, vectorised, step = rate(record, i, "scalar"), rate(record, i, "vectorised"), record["steps"][i]
    gain = f", {times(scalar / rate(record, i - 1, 'scalar'))} the step before" if i else ""
    text = f"**{scalar:.1f} GFLOP/s, {scalar / step['peak_gflops']:.0%} of the peak{gain}.**"
    if abs(vectorised / scalar - 1) > 0.15:
        text += f" ({vectorised:.1f} with the compiler's own vectorisation.)"
    return text


def _fusion_table(record: Record) -> Table:
    seconds = record["fusion"]["seconds"]
    alone = seconds["product alone"]["median"]
    rows = [
        [name, milliseconds(s["median"]), f"{record['gflop'] / s['median']:.0f}", f"+{s['median'] / alone - 1:.0%}"]
        for name, s in seconds.items()
    ]
    return Table("A linear layer and its activation", ["", "ms", "GFLOP/s", "more time"], rows)


def _threads_table(record: Record) -> Table:
    one = record["threads"][0]["seconds"]["median"]
    rows = []
    for row in record["threads"]:
        rate = record["gflop"] / row["seconds"]["median"]
        share = f"{rate / row['peak_gflops']:.0%}"
        rows.append([str(row["threads"]), f"{rate:.0f}", share, times(one / row["seconds"]["median"])])
    return Table("Threads", ["threads", "GFLOP/s", "of their peak", "one thread"], rows)


def figure(record: Record) -> Figure:
    """GFLOP/s by step, with the peak."""
    fig = common.new_figure(8, 3.6)
    axes = fig.subplots()
    places = np.arange(len(STEPS))
    peak = max(step["peak_gflops"] for step in record["steps"])
    series = (("scalar", -0.2, COLOURS["native"], "this idea alone"), ("vectorised", 0.2, COLOURS["NumPy"], LEFT))
    for build, offset, colour, label in series:
        values = [rate(record, i, build) for i in range(len(STEPS))]
        bars = axes.bar(places + offset, values, 0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in values], fontsize=8)
    axes.axhline(peak, color=COLOURS["peak"], linestyle="--", linewidth=1)
    axes.text(-0.45, peak * 1.02, f"FMA peak of one core: {peak:.0f}", fontsize=8)
    axes.set_ylim(0, peak * 1.12)
    axes.set_ylabel("GFLOP/s")
    labels = [textwrap.fill(f"{i + 1}. {step['name']}", 11) for i, step in enumerate(record["steps"])]
    axes.set_xticks(places, labels, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="center left")
    return fig


if __name__ == "__main__":
    common.run(sys.modules[__name__])
