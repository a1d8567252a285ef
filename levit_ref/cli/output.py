"""How results are printed: tables on a terminal as wide as it is, in a pipe as wide as they need to be."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

UNBOUNDED = 10_000
"""Columns of an output that is no terminal: nothing is wrapped or cut there."""

WIDE = 100
"""Columns from which on tables need not be tight."""


def console() -> Console:
    """A console on the standard output of this moment."""
    width = None if sys.stdout.isatty() else UNBOUNDED
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def table(*columns: str, left: int = 1) -> Table:
    """An empty table of numbers whose first ``left`` columns hold text; text gives way where the terminal is narrow."""
    result = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1) if console().width >= WIDE else 0, pad_edge=False, show_edge=False
    )
    for i, name in enumerate(columns):
        if i < left:
            result.add_column(name, overflow="fold")
        else:
            result.add_column(name, justify="right", no_wrap=True)
    return result


def print_json(data: Any) -> None:
    """Print one JSON document, for programs: no colours, no wrapping, never NaN (which is not JSON)."""
    print(json.dumps(data, indent=2, allow_nan=False))


def printable(text: str) -> str:
    """A text out of a file, without what would move the cursor or colour the terminal: control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
