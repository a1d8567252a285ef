"""Every operation that has a kernel, forward and backward: NumPy, native, PyTorch, at the shapes of a training step.

    python benchmarks/ops.py                                            # 128S widths, 32x32 pictures, batch 128
    python benchmarks/ops.py --model levit_128s --batch 16              # 224x224
    python benchmarks/ops.py --only attention --json attention.json --plot attention.svg

The cases are recorded from one training step of the model: its shapes and memory layouts. PyTorch's forward pass runs
in training mode, since ours keeps what the backward pass needs as well; where it can be written in several ways
(attention by hand or with scaled_dot_product_attention; images with channels first or last), the way whose two passes
together are the fastest counts. Results must agree before they are timed.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable
from math import isnan
from typing import Any

import common
import numpy as np
from common import COLOURS, Record, Table, milliseconds, times
from matplotlib.figure import Figure
from recording import Case, has_kernel, passes, record_cases
from steps import OurStep, TorchStep, task_arguments, task_of

import levit_ref

DIRECTIONS = ("forward", "backward")
NUMPY, NATIVE = "numpy", "native"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    task_arguments(parser)
    parser.add_argument("--only", default="*", help="pattern of the operations' names")
    parser.add_argument("--all", action="store_true", help="also operations that have no kernel yet")


def measure(args: argparse.Namespace) -> Record:
    """Time every case."""
    import torch

    torch.set_num_threads(args.threads)
    rows = []
    for case in record_cases(OurStep(task_of(args), NUMPY).gradients):
        wanted = args.all or any(has_kernel(f"{case.operation}_{direction}") for direction in DIRECTIONS)
        if not wanted or not fnmatch.fnmatch(case.operation, args.only) or case.dy is None:
            continue
        case.dy = _random_like(case.dy)
        ways = {name: _ours(case, name) for name in levit_ref.available_backends()} | _torch(case)
        seconds: dict[str, Record] = {}
        peaks = []
        for i, direction in enumerate(DIRECTIONS):
            race = common.race({name: way[i] for name, way in ways.items()}, args)
            peaks.append(race.peak_gflops)
            for name, result in race.record().items():
                seconds.setdefault(name, {})[direction] = result
        rows.append(
            {
                "operation": case.label,
                "shape": case.shape,
                "calls": case.calls,
                "gflop": {"forward": 2e-9 * case.multiply_adds, "backward": 2e-9 * case.backward_multiply_adds},
                "peak_gflops": max(peaks),
                "seconds": seconds,
            }
        )
    record = {"task": task_of(args).name, "rows": rows}
    return {**record, "update": _update(args)} if fnmatch.fnmatch("AdamW", args.only) else record


def _update(args: argparse.Namespace) -> Record:
    """AdamW on all parameters of the model; no operation of the network, but with a kernel as well."""
    ways: dict[str, Callable[[], object]] = {}
    for backend in levit_ref.available_backends():
        ours = OurStep(task_of(args), backend)
        ours()
        ways[backend] = ours.update
    theirs = TorchStep(task_of(args))
    theirs()
    ways["PyTorch fused"] = theirs.optimizer.step
    return {"parameters": ours.model.flat_data.size, "seconds": common.race(ways, args).record()}


def _random_like(dy: Any) -> Any:
    """Random values in the same memory layout.

    The step's own would hide errors and show false ones: after a normalisation that another one follows, the
    gradient of the bias is zero but for rounding.
    """
    if not isinstance(dy, np.ndarray):
        return dy
    values = np.empty_like(dy)
    values[...] = np.random.default_rng(0).standard_normal(dy.shape, np.float32)
    return values


Way = tuple[Callable[[], Any], Callable[[], Any]]
"""Forward and backward."""


def _ours(case: Case, backend: str) -> Way:
    forward, backward = passes(case.operation, backend)
    _, saved = forward(*case.args, **case.kwargs)
    return (
        lambda: forward(*case.args, **case.kwargs),
        lambda: backward(case.dy, saved, *case.backward_args, **case.backward_kwargs),
    )


def _torch(case: Case) -> dict[str, Way]:
    """PyTorch's ways, which must agree with ours."""
    from torch_ops import peers

    ways: dict[str, Way] = {}
    forward, backward = _ours(case, NUMPY)
    y, gradients = forward()[0], backward()
    gradients = [g for g in (gradients if isinstance(gradients, tuple) else (gradients,)) if g is not None]
    for name, (torch_forward, torch_backward) in peers(case).items():
        pairs = zip([y, *gradients], [torch_forward(), *torch_backward()], strict=False)
        for ours, theirs in pairs:
            # In the mean, not in the worst place: at a kink of hardswish rounding decides which slope is taken.
            error = float(np.linalg.norm(theirs.detach().numpy() - ours) / (np.linalg.norm(ours) or 1))
            if not error < 1e-2:
                raise SystemExit(f"{case.label} {case.shape}: PyTorch ({name}) and NumPy differ by {error:.1e}")
        ways[f"PyTorch {name}"] = torch_forward, torch_backward
    return ways


# --- tables and figure -----------------------------------------------------------------------------------------------


def fastest_torch(row: Record) -> str | None:
    """The way of PyTorch whose two passes together take the least."""
    names = [name for name in row["seconds"] if name.startswith("PyTorch")]
    return min(names, key=lambda name: sum(_seconds(row, name)), default=None)


def _seconds(row: Record, name: str | None) -> tuple[float, float]:
    if name not in row["seconds"]:
        return float("nan"), float("nan")
    return row["seconds"][name]["forward"]["median"], row["seconds"][name]["backward"]["median"]


def tables(record: Record) -> dict[str, Table]:
    """By case, and by operation over the whole step."""
    header = ["operation", "shapes", "calls"]
    for direction in DIRECTIONS:
        short = {"forward": "fwd", "backward": "bwd"}[direction]
        header += [f"{short} NumPy", "native", "PyTorch", "speed-up"]
    rows = []
    for row in record["rows"]:
        cells = [row["operation"], row["shape"], str(row["calls"])]
        numpy, native, torch = (_seconds(row, name) for name in (NUMPY, NATIVE, fastest_torch(row)))
        for i in range(2):
            cells += [_ms(numpy[i]), _ms(native[i]), _ms(torch[i]), _times(torch[i] / native[i])]
        rows.append(cells)
    title = f"ms of one call, {record['task']}; speed-up of native on PyTorch"
    result = {"cases": Table(title, header, rows, words=("shapes",)), "operations": _operations(record)}
    if any(row["operation"] == "attention" for row in record["rows"]):
        result["attention"] = _attention(record)
    if "update" in record:
        seconds = {name: s["median"] for name, s in record["update"]["seconds"].items()}
        rows = [[name, _ms(s), _times(seconds["PyTorch fused"] / s)] for name, s in seconds.items()]
        title = f"AdamW, {record['update']['parameters'] / 1e6:.2f} million parameters"
        result["update"] = Table(title, ["", "ms", "speed-up on PyTorch"], rows)
    return result


def _operations(record: Record) -> Table:
    rows = [
        [name, str(calls), *(_ms(t) for t in total.values()), _times(total["PyTorch"] / total[NATIVE])]
        for name, (calls, total) in by_operation(record).items()
    ]
    title = f"ms of all calls of one step, forward and backward, {record['task']}"
    return Table(title, ["operation", "calls", "NumPy", "native", "PyTorch", "speed-up on PyTorch"], rows)


def by_operation(record: Record) -> dict[str, tuple[int, dict[str, float]]]:
    """Calls, and seconds of all of them in a step, forward and backward, for each contestant."""
    totals: dict[str, tuple[int, dict[str, float]]] = {}
    for row in record["rows"]:
        calls, total = totals.get(row["operation"], (0, dict.fromkeys((NUMPY, NATIVE, "PyTorch"), 0.0)))
        for name, which in (NUMPY, NUMPY), (NATIVE, NATIVE), ("PyTorch", fastest_torch(row)):
            total[name] += row["calls"] * sum(_seconds(row, which))
        totals[row["operation"]] = calls + row["calls"], total
    return totals


def _attention(record: Record) -> Table:
    """Against both ways of writing it."""
    rows = []
    for row in record["rows"]:
        if row["operation"] != "attention":
            continue
        q, k, v = (shape.split("x") for shape in row["shape"].split()[:3])
        native = sum(_seconds(row, NATIVE))
        ways = ("PyTorch attention", "PyTorch attention_fused")
        by_hand, fused = (sum(_seconds(row, way)) for way in ways)
        share = sum(row["gflop"].values()) / native / row["peak_gflops"]
        rows.append(
            [
                *(f"{q[2]} x {k[2]}", f"{q[0]}, {q[1]}", f"{q[3]}, {v[3]}"),
                *(_ms(t) for t in (sum(_seconds(row, NUMPY)), native, by_hand, fused)),
                *(_times(t / native) for t in (fused, min(fused, by_hand))),
                "-" if isnan(share) else f"{share:.0%}",
            ]
        )
    header = ["queries x keys", "batch, heads", "D, E", "NumPy", "native", "PyTorch by hand"]
    header += ["scaled_dot_product_attention", "speed-up on it", "on the faster", "native of peak"]
    return Table(f"Attention with a bias, ms forward and backward, {record['task']}", header, rows)


def _ms(seconds: float) -> str:
    return "-" if isnan(seconds) else milliseconds(seconds)


def _times(ratio: float) -> str:
    return "-" if isnan(ratio) else times(ratio)


def figure(record: Record) -> Figure:
    """Time of each operation in a step; without those that nobody would see."""
    totals = {name: total for name, (_, total) in by_operation(record).items() if not isnan(total["PyTorch"])}
    totals = dict(sorted(totals.items(), key=lambda item: -item[1]["PyTorch"]))
    whole = sum(total["PyTorch"] for total in totals.values())
    totals = {name: total for name, total in totals.items() if total["PyTorch"] >= 0.001 * whole}
    fig = common.new_figure(8, 0.9 + 0.62 * len(totals))
    axes = fig.subplots()
    height = 0.27
    for i, (name, label) in enumerate(((NATIVE, "native"), ("PyTorch", "PyTorch"), (NUMPY, "NumPy"))):
        places = [place + (i - 1) * height for place in range(len(totals))]
        values = [1e3 * total[name] for total in totals.values()]
        bars = axes.barh(places, values, height, color=COLOURS[label], label=label)
        axes.bar_label(bars, ["" if isnan(value) else f"{value:.3g}" for value in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(totals)), list(totals), fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("ms in one training step, forward and backward", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower right")
    axes.set_title(f"{record['task']}, {common.threads_of(record)}", fontsize=10)
    return fig


if __name__ == "__main__":
    common.run(sys.modules[__name__])
