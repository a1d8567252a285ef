"""The tiny variant, known by its name during each test of this folder."""

from __future__ import annotations

import pytest

from levit_ref import configs
from tests.training.tiny_run import VARIANT


@pytest.fixture(autouse=True)
def tiny_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the variant for one test."""
    monkeypatch.setitem(configs.VARIANTS, VARIANT.name, VARIANT)
