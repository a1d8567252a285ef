"""The convolution stem: pixels to the first tokens (paper, section 4.2, "Patch embedding")."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref.nn.config import LeViTConfig
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.module import Module
from levit_ref.nn.pairs import ConvNorm
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array


class Stem(Module):
    """Convolutions with normalisation, an activation between each two, and the map laid out as tokens at the end.

    Four 3x3 convolutions of stride 2 in the paper's models: 224x224 pixels to 14x14 tokens. The components are
    named ``conv1``, ``conv2``, and so on; a tap sees the value after the activation of ``conv1`` as ``act1``.

    Parameters
    ----------
    config : LeViTConfig
    image_size : (int, int)
        Rows and columns of the images.
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    """

    taps: ClassVar[Taps] = {
        "act": ("B C H W", "after the activation that follows the convolution of this number"),
        "tokens": ("B N C", "the stem's output: the map of the last convolution, one token for each pixel, row by row"),
    }

    def __init__(self, config: LeViTConfig, image_size: tuple[int, int], rng: np.random.Generator | None) -> None:
        self.grids = [TokenGrid(*image_size)]
        """Of the pixels, and of the output of each convolution."""
        C_in = 3
        for i, conv in enumerate(config.stem, start=1):
            self.grids.append(self.grid.after_convolution(conv.kernel_size, conv.stride, conv.padding))
            if min(self.grid.shape) < 1:
                H, W = image_size
                raise ValueError(f"images of {H}x{W} are too small: convolution {i} leaves nothing")
            act = config.activation if i < len(config.stem) else "identity"
            setattr(self, f"conv{i}", ConvNorm(C_in, conv, config.norm, rng, activation=act, reads_images=i == 1))
            C_in = conv.channels

    conv1: ConvNorm

    @property
    def grid(self) -> TokenGrid:
        """Of the tokens."""
        return self.grids[-1]

    @property
    def convs(self) -> list[ConvNorm]:
        """The convolutions with their normalisations, ``conv1`` first."""
        return [module for _, module in self.children() if isinstance(module, ConvNorm)]

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Images (B, 3, H, W) to tokens (B, N, C), row by row."""
        convs = self.convs
        for i, conv in enumerate(convs, start=1):
            x = conv.forward(x, tap.scope(f"conv{i}"))
            if i < len(convs):
                x = tap(f"act{i}", x)
        B, C, H, W = x.shape
        return tap("tokens", x.transpose(0, 2, 3, 1).reshape(B, H * W, C))  # a view: channels are innermost already

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the images; None in a lean backward pass."""
        dx = tap("tokens", dy).reshape(len(dy), *self.grid.shape, -1).transpose(0, 3, 1, 2)  # (B, C, H, W)
        convs = self.convs
        for i, conv in reversed(list(enumerate(convs, start=1))):
            if i < len(convs):
                dx = tap(f"act{i}", dx)
            dx = conv.backward(dx, tap.scope(f"conv{i}"))
        return dx
