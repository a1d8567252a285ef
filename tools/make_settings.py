"""Write the list of settings in ``docs/training.md`` from their declarations."""

from __future__ import annotations

import re
from pathlib import Path

from levit_ref.training.config import settings_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "training.md"
BLOCK = re.compile(r"(<!-- settings -->\n).*?(<!-- end of settings -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with the list made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{settings_table()}{found[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
