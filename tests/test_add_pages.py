"""The pages docs/add-an-ablation.md and docs/add-a-dataset.md, carried out on a copy of the tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import ROOT, carry_out, run_commands, section


@pytest.mark.parametrize(("page", "at_least"), [("add-an-ablation.md", 7), ("add-a-dataset.md", 10)])
def test_page(page: str, at_least: int, tmp_path: Path) -> None:
    text = section(ROOT / "docs" / page)
    carry_out(text, tmp_path)
    assert run_commands(text, tmp_path, LEVIT_REF_BACKEND="numpy") >= at_least
