"""What the benchmarks share: the command line, timing in turns, tables, JSON and plots.

A benchmark is three functions: ``measure(args)`` returns a record of plain numbers, ``tables(record)`` and
``figure(record)`` show it. The pages in ``docs/performance`` are made of the same tables and figures, from the records
that are kept beside them, so what they say is what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from peak import available_cores, measure_peak
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

import levit_ref
from levit_ref.runtime import use_threads

Record: TypeAlias = dict[str, Any]
"""What a benchmark measured, as JSON holds it."""

Clock: TypeAlias = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Time that passes, or that this process spends: the latter is for one thread on a machine that others use as well."""


def available_backends() -> tuple[str, ...]:
    """Names of our backends that can run here."""
    return tuple(backend.name for backend in levit_ref.backends() if backend.available)


# Okabe and Ito's palette, which the common forms of colour blindness tell apart
COLOURS = {"native": "#0072B2", "PyTorch": "#D55E00", "NumPy": "#999999", "torch.compile": "#E69F00", "peak": "#000000"}


@dataclass(frozen=True)
class Table:
    """A table of text, for the terminal and for the page."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str] = ()
    """Names of the columns that hold words, and not numbers; the first one always does."""

    def print(self, console: Console) -> None:
        """In the terminal."""
        table = RichTable(title=self.title, box=box.SIMPLE_HEAD, title_justify="left")
        for name in self.header:
            table.add_column(name, justify="left" if self._holds_words(name) else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        """For the page."""
        rule = ["---" if self._holds_words(name) else "---:" for name in self.header]
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.header, rule, *self.rows))

    def _holds_words(self, name: str) -> bool:
        return name in (self.header[0], *self.words)


class Benchmark(Protocol):
    """A module of this folder."""

    __doc__: str | None

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def measure(self, args: argparse.Namespace) -> Record: ...
    def tables(self, record: Record) -> dict[str, Table]: ...
    def figure(self, record: Record) -> Figure: ...


def run(benchmark: Any, argv: Sequence[str] | None = None) -> Record:
    """Command line of a benchmark: measure, print the tables, write the record and the plot."""
    module: Benchmark = benchmark
    doc = module.__doc__ or ""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    module.arguments(parser)
    parser.add_argument("--threads", type=int, default=0, help="of all contestants; 0: all cores of this process")
    parser.add_argument("--turns", type=int, default=7, help="how often each contestant has its turn")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw them here (.svg or .png)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: leave out when other processes run")
    args = parser.parse_args(argv)
    use_threads(args.threads)
    args.threads = args.threads or available_cores()
    if args.clock == "cpu" and args.threads > 1:
        parser.error("--clock cpu adds the time of all threads up: it needs --threads 1")
    if "native" in available_backends():
        levit_ref.set_num_threads(args.threads)
    clock = CLOCKS[args.clock]

    record = {"command": _command(parser.prog, argv), "machine": machine(args.threads, clock), **module.measure(args)}
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    console.print(describe(record))
    for table in module.tables(record).values():
        table.print(console)
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        save_figure(module.figure(record), args.plot)
    return record


def _command(program: str, argv: Sequence[str] | None) -> str:
    """What was typed, without the names of the files that were written."""
    words = list(sys.argv[1:] if argv is None else argv)
    for option in "--json", "--plot":
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return shlex.join(["python", f"benchmarks/{program}", *words])


# --- the machine -----------------------------------------------------------------------------------------------------


def machine(threads: int, clock: Clock) -> Record:
    """What ran, and on what."""
    native = {b.name: b for b in levit_ref.backends()}["native"]
    peak, how = measure_peak(threads, clock=clock)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "clock": next(name for name, function in CLOCKS.items() if function is clock),
        "isa": native.about.removeprefix("C++ kernels for ").split(",")[0] if native.available else None,
        "numpy": np.__version__,
        "torch": _torch_version(),
        "peak_gflops": peak,
        "peak_how": how,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1] for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return " ".join(names[0].split())
    return platform.processor() or platform.machine()


def _torch_version() -> str | None:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def threads_of(record: Record) -> str:
    """``1 thread``, ``2 threads``."""
    threads = record["machine"]["threads"]
    return f"{threads} thread{'s' if threads > 1 else ''}"


def describe(record: Record) -> str:
    """One line about the machine."""
    m = record["machine"]
    threads = threads_of(record)
    threads += "" if m["clock"] == "wall" else f" ({m['clock']} time)"
    isa = [m["isa"]] if m.get("isa") else []
    parts = [m["processor"], *isa, threads, f"FMA peak {m['peak_gflops']:.0f} GFLOP/s", f"NumPy {m['numpy']}"]
    return ", ".join(parts + ([f"PyTorch {m['torch']}"] if m["torch"] else []))


# --- timing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """Seconds of one call of each contestant, and the machine's peak while they ran."""

    seconds: dict[str, list[float]]
    peak_gflops: float

    def median(self, name: str) -> float:
        """Of all samples."""
        return statistics.median(self.seconds[name])

    def record(self) -> Record:
        """Median and minimum of each."""
        return {name: {"median": statistics.median(s), "minimum": min(s)} for name, s in self.seconds.items()}


def race(contestants: Mapping[str, Callable[[], object]], args: argparse.Namespace, seconds: float = 0.03) -> Race:
    """Time contestants in turns, so that a change of the machine's speed hits all alike.

    Parameters
    ----------
    contestants : mapping of name to function
    args : argparse.Namespace
        ``turns``, ``clock``, and ``threads``, of which the peak is measured in each turn.
    seconds : float
        At least so long, and at least one call, is each turn of each. A sample is one call, or as many as take a
        millisecond.

    Returns
    -------
    race : Race
    """
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    clock, threads = CLOCKS[args.clock], args.threads
    plan = {name: _plan(contestant, seconds, clock) for name, contestant in contestants.items()}  # also warms up
    peak = 0.0
    for _ in range(args.turns):
        peak = max(peak, measure_peak(threads, 0.05, clock)[0])
        for name, contestant in contestants.items():
            if threads > 1:
                time.sleep(0.2)  # the threads of the one before stop spinning; OpenBLAS's do so for 0.1 s
            calls, repetitions = plan[name]
            contestant()
            for _ in range(repetitions):
                start = clock()
                for _ in range(calls):
                    contestant()
                samples[name].append((clock() - start) / calls)
    return Race(samples, peak)


def _plan(contestant: Callable[[], object], seconds: float, clock: Clock) -> tuple[int, int]:
    """Calls in a sample, and samples in a turn."""
    contestant()
    once = max(seconds_of(contestant, clock), 1e-7)
    calls = max(1, round(1e-3 / once))
    return calls, max(1, round(seconds / (calls * once)))


def seconds_of(function: Callable[[], object], clock: Clock) -> float:
    """Of one call."""
    start = clock()
    function()
    return clock() - start


# --- plots -----------------------------------------------------------------------------------------------------------


def new_figure(width: float = 8.0, height: float = 3.6) -> Figure:
    """A figure of a README's width; not pyplot's, whose list of figures is global state."""
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write SVG or PNG, by the name; the same figure gives the same bytes."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "levit_ref"}):
        about = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, facecolor="white", metadata=about)


def labelled_bars(axes: Any, labels: Sequence[str], values: Sequence[float], colours: Sequence[str], form: str) -> None:
    """Horizontal bars from the top down, each with its number after it."""
    places = range(len(labels))
    bars = axes.barh(places, values, color=colours)
    axes.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


# --- text of cells ---------------------------------------------------------------------------------------------------


def milliseconds(seconds: float) -> str:
    """Three digits."""
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}" if ms >= 1 else f"{ms:.3f}"


def times(ratio: float) -> str:
    """A speed-up: ``2.13x``."""
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"
