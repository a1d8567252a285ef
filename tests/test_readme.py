"""The Python of the README, and of the pages that say so, runs and prints what its comments say."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    page: re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for page in ("README.md", "docs/inspection.md")
}


def test_there_is_something_to_run() -> None:
    assert min(map(len, PAGES.values())) >= 2


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_prints_what_it_says(page: str) -> None:
    names: dict[str, object] = {}
    for block in PAGES[page]:  # a block may use what the ones before it made
        expected = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(ROOT / page), "exec"), names)
        for said, comment in zip(printed.getvalue().splitlines(), expected, strict=True):
            assert comment == said or comment.startswith(f"{said}: "), block
