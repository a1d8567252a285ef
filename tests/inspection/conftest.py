from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import levit_ref
from levit_ref.nn import LeViT
from levit_ref.ops._checks import Array
from tests.nn.networks import tiny


@pytest.fixture(params=levit_ref.available_backends())
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend that runs here, in turn."""
    with levit_ref.backend(request.param):
        yield request.param


@pytest.fixture
def model() -> LeViT:
    """A small float32 network with random weights, in eval mode."""
    model = tiny(dtype=np.float32)
    model.eval()
    return model


@pytest.fixture
def images(rng: np.random.Generator) -> Array:
    return rng.standard_normal((3, 3, 16, 16)).astype(np.float32)
