"""Small networks and pictures, the backends that run here, and a check that figures are drawn whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from matplotlib.figure import Figure

import levit_ref
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


@pytest.fixture(params=[backend.name for backend in levit_ref.backends() if backend.available])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend that runs here, in turn."""
    with levit_ref.use_backend(request.param):
        yield request.param


@pytest.fixture
def model() -> LeViT:
    """A small float32 network with random weights, in eval mode: two stages, of 4x4 and 2x2 tokens."""
    model = tiny(dtype=np.float32)
    model.eval()
    return model


@pytest.fixture
def model64() -> LeViT:
    """The same in float64."""
    model = tiny()
    model.eval()
    return model


@pytest.fixture
def images(images64: Array) -> Array:
    return images64.astype(np.float32)


@pytest.fixture
def images64(rng: np.random.Generator) -> Array:
    return rng.standard_normal((3, 3, 16, 16))


@pytest.fixture
def picture() -> Array:
    """What one of the images might look like before normalisation."""
    return np.random.default_rng(7).integers(0, 256, (3, 16, 16)).astype(np.uint8)


@pytest.fixture
def rendered() -> Callable[[Figure], Array]:
    """Draw a figure to pixels, (H, W, 4). A missing glyph or a layout that does not fit warns, which fails a test."""

    def render(figure: Figure) -> Array:
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())
        assert pixels.std() > 1, "the figure is empty"
        return pixels

    return render
