"""What typer has no words for: the default of an option that is None, and image sizes."""

from __future__ import annotations

import re


def with_default(help_text: str, default: str) -> str:
    """The help of an option whose default is found later; typer would put words of our own in parentheses."""
    return f"{help_text} [dim]\\[default: {default}][/dim]"


def image_size_option(text: str) -> tuple[int, int]:
    """``224`` or ``192x256`` as (rows, columns)."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if match is None:
        raise ValueError(f"--image-size must be pixels like 224, or rows and columns like 192x256; got {text!r}")
    rows = int(match[1])
    return rows, rows if match[2] is None else int(match[2])
