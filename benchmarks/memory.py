"""Peak resident memory of a training step, ours and PyTorch's, each in a process of its own.

    python benchmarks/memory.py                                         # 128S widths, 32x32 pictures, batch 128
    python benchmarks/memory.py --model levit_128s --batch 16           # 224x224

What is counted is everything that training needs (weights, gradients, AdamW's moments, the batch, activations, working
memory): the highest resident size of the process in four steps, less its size when the libraries were loaded and a
tiny network had been trained for two steps, so that the code of all operations was in memory as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import common
from common import COLOURS, Record, Table
from matplotlib.figure import Figure
from steps import OurStep, Task, TorchStep, task_arguments, task_of

import levit_ref

TINY = Task("levit_250k_32px", None, 2)
NAMES = {"numpy": "NumPy", "native": "native", "eager": "PyTorch eager"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    task_arguments(parser)
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)


def measure(args: argparse.Namespace) -> Record:
    """Start a process for each contestant."""
    task = task_of(args)
    options = ["--model", task.model, "--batch", str(task.batch), "--threads", str(args.threads)]
    if task.image_size:
        options += ["--image-size", str(task.image_size)]
    results = {}
    for contestant in [*common.available_backends(), "eager"]:
        command = [sys.executable, str(Path(__file__).resolve()), *options, "--child", contestant]
        child = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        results[NAMES[contestant]] = json.loads(child.stdout)
    parameters = task.network().flat_data.size
    images, _ = task.pictures()
    return {"task": task.name, "parameters": parameters, "batch_bytes": images.nbytes, "bytes": results}


def child(contestant: str, task: Task, steps: int = 4) -> Record:
    """Train in this process, and say what it took."""

    def train(what: Task, steps: int) -> None:
        step: Any = TorchStep(what) if contestant == "eager" else OurStep(what, contestant)
        for _ in range(steps):
            step()

    train(TINY, 2)
    before = resident()
    train(task, steps)
    return {"before": before, "peak": peak_resident(), "needed": peak_resident() - before}


def resident() -> int:
    """Bytes of this process in memory now; where the system does not tell, the most so far."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_resident()
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def peak_resident() -> int:
    """The most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def tables(record: Record) -> dict[str, Table]:
    """Megabytes."""
    eager = record["bytes"]["PyTorch eager"]["needed"]
    rows = [
        [name, *(f"{b[key] / 1e6:.0f}" for key in ("needed", "before", "peak")), f"{b['needed'] / eager:.0%}"]
        for name, b in record["bytes"].items()
    ]
    fixed = (16 * record["parameters"] + record["batch_bytes"]) / 1e6
    title = f"{record['task']}: MB, of which weights, gradients, moments and the batch are {fixed:.0f}"
    header = ["", "a training step needs", "libraries before", "peak of the process", "of PyTorch eager's"]
    return {"memory": Table(title, header, rows)}


def figure(record: Record) -> Figure:
    """One bar each."""
    fig = common.new_figure(8, 1.8)
    axes = fig.subplots()
    names = list(record["bytes"])
    values = [record["bytes"][name]["needed"] / 1e6 for name in names]
    common.labelled_bars(axes, names, values, [COLOURS.get(name, COLOURS["PyTorch"]) for name in names], "{:.0f}")
    axes.set_title(f"Peak memory of a training step in MB, {record['task']}", fontsize=10)
    return fig


if __name__ == "__main__":
    if "--child" in sys.argv:
        parser = argparse.ArgumentParser()
        arguments(parser)
        parser.add_argument("--threads", type=int)
        options = parser.parse_args()
        if options.child == "eager":
            import torch

            torch.set_num_threads(options.threads)
        elif options.child == "native":
            levit_ref.set_num_threads(options.threads)
        print(json.dumps(child(options.child, task_of(options))))
    else:
        common.run(sys.modules[__name__])
