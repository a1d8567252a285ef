"""The three matrix products of training at LeViT's shapes, as a fraction of the FMA peak: native, NumPy, PyTorch.

    python benchmarks/gemm.py --threads 1                       # one core
    python benchmarks/gemm.py                                   # all cores
    python benchmarks/gemm.py --model levit_128s --batch 16 --json gemm.json --plot gemm.svg

    forward  y  (M, N) = x  (M, K) W^T      M tokens, K input channels, N output channels
    dx       dx (M, K) = dy (M, N) W
    dW       dW (N, K) = dy^T      x

The shapes are those of every linear layer in one training step of the model. NumPy (its BLAS) and PyTorch write into
memory that is there already, as the native backend does by itself; nobody pays for fresh pages. All read the same
arrays, which lie in huge pages as they do in a training step, where the native backend keeps the memory of results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import common
import numpy as np
import numpy.typing as npt
from common import COLOURS, Record, Table
from matplotlib.figure import Figure
from recording import record_cases
from steps import OurStep, task_arguments, task_of

PRODUCTS = ("forward", "dx", "dW")
CONTESTANTS = ("native", "NumPy", "PyTorch")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    task_arguments(parser)
    parser.add_argument("--smallest", type=float, default=0.01, help="leave out shapes with less of the step's work")


def shapes(args: argparse.Namespace) -> dict[tuple[int, int, int], int]:
    """(M, N, K) of the linear layers in a training step, and how many have them."""
    counts: dict[tuple[int, int, int], int] = {}
    for case in record_cases(OurStep(task_of(args), "numpy").gradients):
        if case.operation == "linear":
            x, weight = case.args[:2]
            N, K = weight.shape
            counts[x.size // K, N, K] = counts.get((x.size // K, N, K), 0) + case.calls
    work = sum(M * N * K * count for (M, N, K), count in counts.items())
    return {(M, N, K): n for (M, N, K), n in counts.items() if M * N * K * n >= args.smallest * work}


def in_huge_pages(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A float32 array in memory for which the system is asked for pages of 2 MB; NumPy asks it from 4 MB on."""
    (rows, columns), floats = shape, max(shape[0] * shape[1], 1 << 20)
    return np.empty(floats, np.float32)[: rows * columns].reshape(shape)


def contestants(M: int, N: int, K: int) -> dict[str, dict[str, Callable[[], Any]]]:
    """Each product by each contestant, on the same arrays."""
    import torch

    rng = np.random.default_rng(0)
    x, w, dy, y, dx, dw = (in_huge_pages(shape) for shape in ((M, K), (N, K), (M, N), (M, N), (M, K), (N, K)))
    for array in (x, w, dy):
        array[...] = rng.standard_normal(array.shape, np.float32)
    tx, tw, tdy, ty, tdx, tdw = (torch.from_numpy(array) for array in (x, w, dy, y, dx, dw))
    ways: dict[str, dict[str, Callable[[], Any]]] = {
        "forward": {
            "NumPy": lambda: np.matmul(x, w.T, out=y),
            "PyTorch": lambda: torch.mm(tx, tw.T, out=ty).numpy(),
        },
        "dx": {"NumPy": lambda: np.matmul(dy, w, out=dx), "PyTorch": lambda: torch.mm(tdy, tw, out=tdx).numpy()},
        "dW": {"NumPy": lambda: np.matmul(dy.T, x, out=dw), "PyTorch": lambda: torch.mm(tdy.T, tx, out=tdw).numpy()},
    }
    if "native" in common.available_backends():
        from levit_ref import _native

        ways["forward"]["native"] = lambda: _native.linear_forward(x, w, None, "identity")
        ways["dx"]["native"] = lambda: _native.linear_backward_x(dy, w)
        ways["dW"]["native"] = lambda: _native.linear_backward_weight(dy, x)
    return ways


def measure(args: argparse.Namespace) -> Record:
    """Time every product at every shape."""
    import torch

    torch.set_num_threads(args.threads)
    rows = []
    for (M, N, K), calls in shapes(args).items():
        for product, ways in contestants(M, N, K).items():
            with torch.no_grad():
                expected = ways["NumPy"]().copy()
                for name, way in ways.items():
                    error = np.abs(way() - expected).max() / np.abs(expected).max()
                    if not error < 1e-4:
                        raise SystemExit(f"{name}, {product} of {(M, N, K)}: wrong by {error:.1e}")
                race = common.race(ways, args)
            gflop = 2e-9 * M * N * K
            row = {"M": M, "N": N, "K": K, "calls": calls, "product": product, "gflop": gflop}
            rows.append({**row, "peak_gflops": race.peak_gflops, "seconds": race.record()})
    return {"task": task_of(args).name, "rows": rows}


def shares(record: Record, name: str, product: str, statistic: str = "median") -> list[float]:
    """Fraction of the peak, shape by shape."""
    rows = (row for row in record["rows"] if row["product"] == product and name in row["seconds"])
    return [row["gflop"] / row["seconds"][name][statistic] / row["peak_gflops"] for row in rows]


def overall(record: Record, name: str, product: str, statistic: str = "median") -> float:
    """Fraction of the peak over all layers of the step together."""
    rows = [row for row in record["rows"] if row["product"] == product and name in row["seconds"]]
    ideal = sum(row["calls"] * row["gflop"] / row["peak_gflops"] for row in rows)
    return ideal / sum(row["calls"] * row["seconds"][name][statistic] for row in rows) if rows else float("nan")


def tables(record: Record) -> dict[str, Table]:
    """By shape, and over all layers."""
    present = [name for name in CONTESTANTS if any(name in row["seconds"] for row in record["rows"])]
    header = ["M x N x K", "layers", *(f"{product} {name}" for product in PRODUCTS for name in present)]
    by_shape: dict[tuple[int, int, int, int], list[str]] = {}
    for row in record["rows"]:
        cells = by_shape.setdefault((row["M"], row["N"], row["K"], row["calls"]), [])
        for name in present:
            cells.append(f"{row['gflop'] / row['seconds'][name]['median'] / row['peak_gflops']:.0%}")
    rows = [[f"{M} x {N} x {K}", str(calls), *cells] for (M, N, K, calls), cells in by_shape.items()]
    rows.append(
        ["all layers", "", *(f"{overall(record, name, product):.0%}" for product in PRODUCTS for name in present)]
    )
    best = [
        [name, *(f"{overall(record, name, product, which):.0%}" for product in PRODUCTS for which in STATISTICS)]
        for name in present
    ]
    best_header = ["all layers", *(f"{product}, {which}" for product in PRODUCTS for which in STATISTICS)]
    title = f"Fraction of the FMA peak, {record['task']}"
    return {"shapes": Table(title, header, rows), "overall": Table(title, best_header, best)}


STATISTICS = ("median", "minimum")


def figure(record: Record) -> Figure:
    """Fraction of the peak by shape, one plot for each product."""
    fig = common.new_figure(8.5, 3.4)
    all_axes = fig.subplots(1, 3, sharey=True)
    labels = [f"{r['M']}, {r['N']}, {r['K']}" for r in record["rows"] if r["product"] == "forward"]
    for axes, product in zip(all_axes, PRODUCTS, strict=True):
        for name, marker in zip(CONTESTANTS, "os^", strict=True):
            values = [100 * share for share in shares(record, name, product)]
            if values:
                axes.plot(values, range(len(values)), marker, color=COLOURS[name], label=name, markersize=5)
        axes.axvline(100, color=COLOURS["peak"], linestyle="--", linewidth=1)
        axes.set_xlim(0, 105)
        axes.set_title({"forward": "y = x Wᵀ", "dx": "dx = dy W", "dW": "dW = dyᵀ x"}[product], fontsize=10)
        axes.set_xlabel("% of the FMA peak", fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    all_axes[0].set_yticks(range(len(labels)), labels, fontsize=8)
    all_axes[0].invert_yaxis()
    all_axes[0].set_ylabel("M, N, K", fontsize=9)
    all_axes[0].legend(fontsize=8, loc="lower left")
    fig.suptitle(f"{record['task']}, {common.threads_of(record)}", fontsize=10)
    return fig


if __name__ == "__main__":
    common.run(sys.modules[__name__])
