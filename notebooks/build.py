"""Runs the notebooks and writes the ``.ipynb`` files with their outputs.

The source of a notebook is the percent script beside it (``03_batch_norm.py``); edit that one, then build::

    python notebooks/build.py            # all of them
    python notebooks/build.py 03 04      # those whose names begin so
    python notebooks/build.py --check    # run all, write nothing, fail where anything is wrong

``--check`` also fails where a built file does not hold the cells of its script, and where a notebook breaks a rule of
:func:`broken_rules`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
LONGEST_CELL = 15  # lines
SECONDS = 120
EXERCISES = 3


def scripts(prefixes: list[str]) -> list[Path]:
    """The notebooks' scripts in reading order: all, or those that begin with one of the prefixes."""
    found = sorted(path for path in FOLDER.glob("[0-9][0-9]_*.py") if path.name.startswith(tuple(prefixes) or ""))
    if not found:
        raise SystemExit(f"no notebook begins with {' or '.join(prefixes)}")
    return found


def load(script: Path) -> Any:
    """Notebook without outputs, with cell ids that do not change from build to build."""
    notebook = jupytext.read(script)
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def run(notebook: Any) -> float:
    """Execute every cell in a fresh kernel; returns the seconds it took."""
    start = time.perf_counter()
    place = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=SECONDS, coalesce_streams=True, resources=place).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
    return time.perf_counter() - start


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def broken_rules(notebook: Any, seconds: float) -> list[str]:
    """What every notebook promises its reader, where this one (already run) does not keep it."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    outputs = [output for cell in code for output in cell.outputs]
    solutions = [cell for cell in code if "solution" in tags(cell)]
    broken = [
        f"cell {cell['id']} has {len(cell.source.splitlines())} lines, {LONGEST_CELL} are allowed"
        for cell in code
        if len(cell.source.splitlines()) > LONGEST_CELL
    ]
    broken += [f"no section {mark!r}" for mark in ("**Question.**", "**Limitation.**", "**Next.**") if mark not in text]
    if "you can" not in notebook.cells[0].source:
        broken.append("the first cell does not say what you can do at the end")
    if "**Prediction.**" not in text:
        broken.append("nothing is predicted before it is computed")
    if not any("image/png" in output.get("data", {}) for output in outputs):
        broken.append("no figure")
    if sum("final-check" in tags(cell) and "assert" in cell.source for cell in code) != 1:
        broken.append("not exactly one cell tagged final-check that asserts")
    if len(solutions) != EXERCISES or text.count("**Exercise") != EXERCISES:
        broken.append(f"{EXERCISES} exercises with a solution each are expected, found {len(solutions)} solutions")
    if not all(cell.metadata.get("jupyter", {}).get("source_hidden") for cell in solutions):
        broken.append("a solution is not hidden")
    broken += [f"stderr: {output.text.strip()[:200]}" for output in outputs if output.get("name") == "stderr"]
    # What drawing raises at the end of a cell is an output, and does not stop the notebook.
    broken += [f"error: {output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]
    if seconds > SECONDS:
        broken.append(f"took {seconds:.0f} s, {SECONDS} are allowed")
    return broken


def is_stale(notebook: Any, built: Path) -> bool:
    """Whether the built file is missing or holds other cells than the script."""
    if not built.is_file():
        return True
    old = nbformat.read(built, as_version=4)
    return [(c.cell_type, c.source) for c in old.cells] != [(c.cell_type, c.source) for c in notebook.cells]


def main() -> int:
    """Build or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefixes", nargs="*", help="beginnings of names, e.g. 03")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    failed = False
    for script in scripts(arguments.prefixes):
        built = script.with_suffix(".ipynb")
        notebook = load(script)
        stale = arguments.check and is_stale(notebook, built)
        seconds = run(notebook)
        problems = broken_rules(notebook, seconds) + [f"{built.name} is not built from it"] * stale
        print(f"{script.name}: {seconds:.0f} s" + "".join(f"\n  {problem}" for problem in problems), flush=True)
        failed |= bool(problems)
        if not arguments.check:
            nbformat.write(notebook, built)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
