"""``metrics.jsonl``: one line of JSON for each epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from levit_ref.files.atomic import replace_text

TIMING_FIELDS = ("images_per_second", "seconds")
"""The fields that differ between a resumed and an uninterrupted run; all others are equal to the last digit."""


class MetricsLog:
    """The records of the epochs of a run, on disk after every append.

    The file is small (a line an epoch), so it is rewritten as a whole: a reader, or a crash, never meets half a line.

    Parameters
    ----------
    path : path-like
        The ``.jsonl`` file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.records: list[dict[str, Any]] = []

    def read(self) -> None:
        """Take the records that the file has, if it exists.

        Raises
        ------
        ValueError
            If a line is not a JSON object; the message names file and line.
        """
        self.records = read_metrics(self.path) if self.path.exists() else []

    def append(self, record: Mapping[str, Any]) -> None:
        """Add the record of one epoch."""
        self.records.append(dict(record))
        self._write()

    def trim(self, epochs: int) -> None:
        """Keep the records of the first ``epochs`` epochs: what a checkpoint knows is what has happened."""
        kept = [record for record in self.records if record["epoch"] <= epochs]
        if len(kept) < len(self.records):
            self.records = kept
            self._write()

    def _write(self) -> None:
        replace_text(self.path, "".join(json.dumps(record) + "\n" for record in self.records))


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a metrics file, one dictionary for each line."""
    records = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(record, dict) or "epoch" not in record:
            raise ValueError(f"{path}: line {number} is not the record of an epoch")
        records.append(record)
    return records
