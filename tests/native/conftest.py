"""Every test in this folder runs on each instruction set that was compiled in and that this processor has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import levit_ref
from levit_ref.runtime.native import about, extension

SUPPORTED = [name for name, supported in extension.instruction_sets() if supported] if extension else []
THREADS = (1, 2, 3)


@pytest.fixture(params=SUPPORTED or ["none"], autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction set in use."""
    if extension is None:
        pytest.skip(f"the native backend is not available: {about()}")
    before = extension.isa()
    extension.set_isa(request.param)
    with levit_ref.use_backend("native"):
        yield request.param
    extension.set_isa(before)


@pytest.fixture
def restore_threads(isa: str) -> Iterator[None]:
    """Whatever a test does to the number of threads ends with it."""
    before = extension.num_threads()
    yield
    extension.set_num_threads(before)
