"""Measure everything that the pages in ``docs/performance`` show, draw their plots, and write their tables.

    python benchmarks/refresh_docs.py                          # all of it, about twenty-five minutes
    python benchmarks/refresh_docs.py --only gemm ops_224      # some of it
    python benchmarks/refresh_docs.py --tables-only            # the pages again, from the records that are there
    python benchmarks/refresh_docs.py --threads 1 --turns 3    # options for every benchmark

Each benchmark leaves its record in ``docs/performance/NAME.json`` and its plot beside it. On the pages, everything
between ``<!-- from: NAME TABLE -->`` and ``<!-- end -->`` is made from the record: text and numbers cannot drift apart.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import common

HERE = Path(__file__).resolve().parent
RECORDS = HERE.parent / "docs" / "performance"
PAGES = tuple(sorted(RECORDS.glob("*.md")))

LARGE = ["--model", "levit_128s", "--batch", "16"]
RUNS = {
    "gemm_steps": ["gemm_steps"],
    "gemm_one_core": ["gemm", "--threads", "1"],
    "gemm": ["gemm"],
    "step_32px": ["train_step"],
    "step_224": ["train_step", *LARGE],
    "ops_32px": ["ops"],
    "ops_224": ["ops", *LARGE],
    "memory_32px": ["memory"],
    "memory_224": ["memory", *LARGE],
    "end_to_end": ["end_to_end"],
    "inspection": ["inspection"],
}
"""Benchmark and options, by the name of the record."""

BLOCK = re.compile(r"(<!-- from: (\w+) ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def record_of(name: str) -> common.Record | None:
    """What was measured; None if it was not."""
    path = RECORDS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def filled(page: str) -> str:
    """The page with every block made anew from its record."""

    def block(match: re.Match[str]) -> str:
        opening, name, what, closing = match.groups()
        return f"{opening}{_text(name, what)}\n{closing}"

    return BLOCK.sub(block, page)


def _text(name: str, what: str) -> str:
    """What stands in a block: a table, or with ``step 3`` a sentence about a step."""
    benchmark: Any = import_module(RUNS[name][0])
    record = record_of(name)
    kind, _, number = what.partition(" ")
    if record is not None and kind == "step":
        return benchmark.sentence(record, int(number))
    tables: dict[str, common.Table] = {} if record is None else benchmark.tables(record)
    if record is None or what not in tables:
        return f"*Not measured yet: {name}.*"
    table = tables[what]
    return f"{table.title}:\n\n{table.markdown()}\n\n<sub>`{record['command']}`: {common.describe(record)}.</sub>"


def redraw(name: str) -> None:
    """The plot of a record that is there."""
    record = record_of(name)
    if record is not None:
        common.save_figure(import_module(RUNS[name][0]).figure(record), RECORDS / f"{name}.svg")


def main(argv: list[str] | None = None) -> None:
    """Run the benchmarks one after the other, then write the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="NAME")
    parser.add_argument("--tables-only", action="store_true", help="measure nothing")
    args, options = parser.parse_known_args(argv)
    RECORDS.mkdir(exist_ok=True)
    for name in args.only:
        if args.tables_only:
            redraw(name)
            continue
        script, *own = RUNS[name]
        files = ["--json", str(RECORDS / f"{name}.json"), "--plot", str(RECORDS / f"{name}.svg")]
        print(f"=== {name}", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{script}.py"), *own, *options, *files], check=True)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
