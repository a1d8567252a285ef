"""What all tests share: reproducible hypothesis runs and a seeded generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

# The same examples on every machine and in every run; what fails prints the line that reproduces it.
settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=True, database=None)
settings.load_profile("reproducible")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator in the same state at the start of every test."""
    return np.random.default_rng(20211011)
