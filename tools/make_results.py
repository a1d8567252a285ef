"""Copy what is worth keeping of a finished run into ``docs/results/``: settings, metrics, plots; no weights.

    python tools/make_results.py runs/cifar10-levit_1m_32px docs/results/cifar10-levit_1m_32px-numpy

Writes the run's row into the table of ``docs/results/README.md``, in place of the one that is there.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

from levit_ref.training import RunFolder

TABLE = re.compile(r"^(\|(?:---\|){6}\n)((?:\|.*\n)*)", re.MULTILINE)
"""The line below the head of the page's table, and the rows."""


def main() -> None:
    """Copy, and write the row of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--pictures", help="what to call the pictures, if the dataset's name does not say it")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    for name in "metrics.jsonl", "curves.png", "confusion.png":
        shutil.copy(args.run / name, args.results / name)
    settings = (args.run / "config.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in settings if not line.startswith("data_dir")]  # a place on one machine
    (args.results / "config.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")

    page = args.results.parent / "README.md"
    line = row(args.run, args.results.name, args.pictures)
    page.write_text(with_row(page.read_text(encoding="utf-8"), line), encoding="utf-8")
    print(line, end="")


def row(run: Path, name: str, pictures: str | None) -> str:
    """The line of the table; the accuracy is that after the last epoch, of the better of the two sets of weights."""
    config = RunFolder(run).read_config()
    (*_, session) = json.loads((run / "run.json").read_text(encoding="utf-8"))["sessions"]
    (*_, last) = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    accuracy = max(last["test_accuracy"], last["ema_test_accuracy"] or 0.0)
    cells = [
        f"[{name}]({name})",
        pictures or config.dataset,
        session["backend"],
        str(last["epoch"]),
        f"{last['seconds'] / 60:.0f} min",
        f"{100 * accuracy:.1f} %",
    ]
    return f"| {' | '.join(cells)} |\n"


def with_row(page: str, line: str) -> str:
    """The page with the row in its table: in place of the row of the same run, else at the end."""
    start = line.split("|")[1]

    def rows(found: re.Match[str]) -> str:
        lines = found[2].splitlines(keepends=True)
        same = [i for i, old in enumerate(lines) if old.split("|")[1] == start]
        if same:
            lines[same[0]] = line
        else:
            lines.append(line)
        return found[1] + "".join(lines)

    changed, count = TABLE.subn(rows, page, count=1)
    if not count:
        raise ValueError("the page has no table of six columns")
    return changed


if __name__ == "__main__":
    main()
