"""What looking inside costs: the time of recording nothing, one value and everything, and the memory of everything.

    python benchmarks/inspection.py                                      # 128S widths, 32x32 pictures, batch 128
    python benchmarks/inspection.py --model levit_128s --batch 16        # 224x224

"Nothing" is ``run_with_activations`` with no names, against the plain forward pass ``model(images)``. Memory is counted
by tracemalloc on the NumPy backend, whose arrays it sees all: the highest of a pass in which everything is recorded,
against what ``model.activation_specs()`` announces.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import common
from common import COLOURS, Record, Table
from matplotlib.figure import Figure
from steps import task_arguments, task_of

import levit_ref
from levit_ref import run_with_activations

RECORDED: dict[str, list[str]] = {
    "nothing": [],
    "pooled features": ["pooled"],
    "residual stream": ["stages.*.resid_*"],
    "attention probabilities": ["stages.*.probs"],
    "everything": ["*"],
}
PLAIN = "plain forward pass"
NAMES = {"numpy": "NumPy", "native": "native"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    task_arguments(parser)


def measure(args: argparse.Namespace) -> Record:
    """Time all of them in turns on each backend, then weigh everything."""
    task = task_of(args)
    model = task.network()
    model.eval()
    images, _ = task.pictures()
    seconds: dict[str, Any] = {}
    for backend in common.available_backends():
        with levit_ref.use_backend(backend):
            contestants: dict[str, Callable[[], object]] = {PLAIN: partial(model.forward, images)}
            for what, names in RECORDED.items():
                contestants[what] = partial(run_with_activations, model, images, names)
            seconds[NAMES[backend]] = common.race(contestants, args).record()
    announced = sum(spec.nbytes for spec in model.activation_specs(task.batch))
    return {"task": task.name, "seconds": seconds, "announced": announced, "peak": _peak(model, images)}


def _peak(model: Any, images: Any) -> int:
    """Bytes that a pass which records everything needs at its highest."""
    with levit_ref.use_backend("numpy"), model.inference():
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            recorded = run_with_activations(model, images, "*")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        del recorded
    return peak - before


def tables(record: Record) -> dict[str, Table]:
    """Milliseconds, and megabytes."""
    backends = list(record["seconds"])
    rows = []
    for what in [PLAIN, *RECORDED]:
        row = [what]
        for backend in backends:
            mine = record["seconds"][backend]
            ratio = mine[what]["median"] / mine[PLAIN]["median"]
            row += [f"{1e3 * mine[what]['median']:.2f}", f"{ratio:.3f}"]
        rows.append(row)
    header = ["recorded", *(text for backend in backends for text in (f"{backend}, ms", "of plain"))]
    megabytes = [f"{record[key] / 1e6:.1f}" for key in ("announced", "peak")]
    share = f"{record['peak'] / record['announced']:.3f}"
    return {
        "time": Table(f"{record['task']}: a forward pass, median", header, rows),
        "memory": Table(
            "Memory of a pass that records everything",
            ["", "announced, MB", "needed, MB", "of announced"],
            [["all values", *megabytes, share]],
        ),
    }


def figure(record: Record) -> Figure:
    """Times relative to the plain pass."""
    fig = common.new_figure(8, 2.4)
    axes = fig.subplots()
    backend = list(record["seconds"])[-1]
    mine = record["seconds"][backend]
    values = [mine[what]["median"] / mine[PLAIN]["median"] for what in RECORDED]
    common.labelled_bars(axes, list(RECORDED), values, [COLOURS[backend]] * len(values), "{:.2f}")
    axes.set_title(f"Time of a recorded pass, plain pass = 1; {backend}, {record['task']}", fontsize=10)
    return fig


if __name__ == "__main__":
    common.run(sys.modules[__name__])
