"""A small model with random weights in evaluation mode, pictures for it, and a check that figures are drawn whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from levit_ref.nn import LeViT
from levit_ref.ops._checks import Array
from tests.nn.networks import tiny


@pytest.fixture
def model64() -> LeViT:
    """Two stages of 4x4 and 2x2 tokens, 4 pixels to a token, float64, smooth activations."""
    model = tiny()
    model.eval()
    return model


@pytest.fixture
def images64(rng: np.random.Generator) -> Array:
    return rng.standard_normal((3, 3, 16, 16))


@pytest.fixture
def picture(rng: np.random.Generator) -> Array:
    """What one of the images might look like before normalisation."""
    return rng.integers(0, 256, (3, 16, 16)).astype(np.uint8)


@pytest.fixture
def rendered() -> Callable[[Figure], Array]:
    """Draw a figure to pixels, (H, W, 4). A missing glyph or a layout that does not fit warns, which fails a test."""

    def render(figure: Figure) -> Array:
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())
        assert pixels.std() > 1, "the figure is empty"
        return pixels

    return render
