"""One training step (forward, loss, backward, AdamW): NumPy, native, PyTorch eager, torch.compile.

    python benchmarks/train_step.py                                       # 128S widths, 32x32 pictures, batch 128
    python benchmarks/train_step.py --model levit_128s --batch 16         # 224x224
    python benchmarks/train_step.py --threads 1 --no-compile --json step.json --plot step.svg

The same weights, the same batch, the same threads, in one process and in turns. Before anything is timed, loss and
gradients of all must agree. A second table says which operations the native step spends its time in.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import common
from common import COLOURS, Record, Table, milliseconds, times
from matplotlib.figure import Figure
from recording import has_kernel, record_cases, time_operations
from steps import OurStep, Step, Task, TorchStep, check_agreement, task_arguments, task_of

EAGER, CHANNELS_LAST, COMPILE = "PyTorch eager", "PyTorch eager, channels_last", "torch.compile"
OURS = {"numpy": "NumPy", "native": "native"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    task_arguments(parser)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (it takes a minute)")
    parser.add_argument("--no-numpy", action="store_true", help="leave the NumPy backend out")


def measure(args: argparse.Namespace) -> Record:
    """Time the whole step, then its parts."""
    import torch

    torch.set_num_threads(args.threads)
    task = task_of(args)
    backends = [name for name in common.available_backends() if not (args.no_numpy and name == "numpy")]
    for backend in backends:
        check_agreement(task, backend)
    steps: dict[str, Step] = {OURS[backend]: OurStep(task, backend) for backend in backends}
    steps[EAGER], steps[CHANNELS_LAST] = TorchStep(task), TorchStep(task, channels_last=True)
    if not args.no_compile:
        faster = common.race({name: steps[name] for name in (EAGER, CHANNELS_LAST)}, args)
        channels_last = faster.median(CHANNELS_LAST) < faster.median(EAGER)
        steps[COMPILE] = TorchStep(task, channels_last=channels_last, compiled=True)
        steps[COMPILE]()
    race = common.race(steps, args, seconds=0.5)
    fastest = backends[-1]
    return {
        "task": task.name,
        "images": task.batch,
        "gflop": task.gflop(),
        "peak_gflops": race.peak_gflops,
        "seconds": race.record(),
        "breakdown": breakdown(task, fastest, common.CLOCKS[args.clock]),
    }


def breakdown(task: Task, backend: str, clock: common.Clock, steps: int = 5) -> Record:
    """Time of every operation in a step of ``backend``; the median over some steps."""
    step = OurStep(task, backend)
    step()
    gflop: dict[str, float] = {}
    for case in record_cases(step.gradients):
        forward, backward = f"{case.operation}_forward", f"{case.operation}_backward"
        gflop[forward] = gflop.get(forward, 0) + 2e-9 * case.calls * case.multiply_adds
        gflop[backward] = gflop.get(backward, 0) + 2e-9 * case.calls * case.backward_multiply_adds

    samples: dict[str, list[float]] = {}
    calls: dict[str, int] = {}
    for _ in range(steps):
        spent = time_operations(step.gradients, clock)
        update = common.seconds_of(step.update, clock)
        whole = common.seconds_of(step, clock)
        rest = whole - update - sum(seconds for _, seconds in spent.values())
        for name, (count, seconds) in {**spent, "AdamW": (1, update), "everything else": (0, rest)}.items():
            samples.setdefault(name, []).append(seconds)
            calls[name] = count
    rows = [
        {
            "operation": name,
            "calls": calls[name],
            "seconds": statistics.median(seconds),
            "gflop": gflop.get(name, 0.0),
            "kernel": name == "AdamW" or (name != "everything else" and has_kernel(name)),
        }
        for name, seconds in samples.items()
    ]
    return {"backend": backend, "rows": sorted(rows, key=lambda row: -row["seconds"])}


def best_torch(record: Record) -> str:
    """The fastest of PyTorch's ways."""
    torch = [name for name in record["seconds"] if "orch" in name]
    return min(torch, key=lambda name: record["seconds"][name]["median"])


def tables(record: Record) -> dict[str, Table]:
    """The steps, and the breakdown."""
    seconds, best = record["seconds"], best_torch(record)
    rows = [
        [
            name,
            milliseconds(s["median"]),
            milliseconds(s["minimum"]),
            f"{record['images'] / s['median']:.0f}",
            f"{record['gflop'] / s['median'] / record['peak_gflops']:.0%}",
            *(times(seconds[torch]["median"] / s["median"]) for torch in (EAGER, best)),
        ]
        for name, s in seconds.items()
    ]
    title = f"{record['task']}: {record['gflop']:.1f} GFLOP a step, peak {record['peak_gflops']:.0f} GFLOP/s"
    header = ["", "ms (median)", "ms (best)", "images/s", "of peak", "speed-up on eager", "on best PyTorch"]
    return {"steps": Table(title, header, rows), "breakdown": _breakdown_table(record)}


def _breakdown_table(record: Record) -> Table:
    parts = record["breakdown"]
    whole = sum(row["seconds"] for row in parts["rows"])
    rows = [
        [
            row["operation"],
            str(row["calls"] or ""),
            milliseconds(row["seconds"]),
            f"{row['seconds'] / whole:.1%}",
            f"{row['gflop'] / row['seconds'] / record['peak_gflops']:.0%}" if row["gflop"] else "",
            "kernel" if row["kernel"] else "",
        ]
        for row in parts["rows"]
    ]
    title = f"Where the {parts['backend']} step spends its time"
    return Table(title, ["operation", "calls", "ms", "share", "of peak", "by"], rows, words=("by",))


def figure(record: Record) -> Figure:
    """Bars: the step of each, and ours cut into operations."""
    fig = common.new_figure(8, 3.2)
    axes, parts = fig.subplots(1, 2, width_ratios=(3, 2))
    names = list(record["seconds"])
    medians = [1e3 * record["seconds"][name]["median"] for name in names]
    colours = [COLOURS.get(name, COLOURS["PyTorch"]) for name in names]
    common.labelled_bars(axes, [name.replace(", ", ",\n") for name in names], medians, colours, "{:.0f}")
    floor = 1e3 * record["gflop"] / record["peak_gflops"]
    axes.axvline(floor, color=COLOURS["peak"], linestyle="--", linewidth=1)
    axes.set_title(f"{record['task']}\nms a step (dashed: all products at the FMA peak)", fontsize=9)

    rows = record["breakdown"]["rows"]
    shown, rest = rows[:9], rows[9:]
    labels = [row["operation"].replace("_", " ") for row in shown] + (["the rest"] if rest else [])
    values = [1e3 * row["seconds"] for row in shown] + ([1e3 * sum(row["seconds"] for row in rest)] if rest else [])
    common.labelled_bars(parts, labels, values, [COLOURS["native"]] * len(values), "{:.1f}")
    parts.set_title(f"ms in the {record['breakdown']['backend']} step", fontsize=9)
    return fig


if __name__ == "__main__":
    common.run(sys.modules[__name__])
