"""Copy what is worth keeping of a finished run into ``docs/results/``: settings, metrics, plots; no weights.

python docs/make_results.py runs/cifar10-levit_1m_32px docs/results/cifar10-levit_1m_32px-numpy
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path


def main() -> None:
    """Copy, and print the row for the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("results", type=Path)
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    for name in "metrics.jsonl", "curves.png", "confusion.png":
        shutil.copy(args.run / name, args.results / name)
    settings = (args.run / "config.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in settings if not line.startswith("data_dir")]  # a place on one machine
    (args.results / "config.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")

    records = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = records[-1]
    print(f"epochs {last['epoch']}, steps {last['step']}, minutes {last['seconds'] / 60:.1f}")
    print(f"test accuracy {last['test_accuracy']:.4f}, with averaged weights {last['ema_test_accuracy']}")


if __name__ == "__main__":
    main()
