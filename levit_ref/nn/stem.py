"""The convolution stem: pixels to the first tokens (paper, section 4.2, "Patch embedding")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np

from levit_ref.nn.config import StemConv
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.module import Module
from levit_ref.nn.pairs import ConvNorm
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops._checks import Array


class Stem(Module):
    """Convolutions with normalisation, an activation between each two, and the map laid out as tokens at the end.

    Four 3x3 convolutions of stride 2 in the paper's models: 224x224 pixels to 14x14 tokens. The components are
    named ``conv1``, ``conv2``, and so on; a tap sees the value behind the activation of ``conv1`` as ``act1``.

    Parameters
    ----------
    convs : sequence of StemConv
        Channels, kernel, stride and padding of each convolution.
    image_size : (int, int)
        Rows and columns of the images.
    activation : str
    norm : {"batch", "layer"}
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {
        "act": ("B C H W", "behind the activation that follows the convolution of this number"),
        "tokens": ("B N C", "the stem's output: the map of the last convolution, one token for each pixel, row by row"),
    }

    def __init__(
        self,
        convs: Sequence[StemConv],
        *,
        image_size: tuple[int, int],
        activation: str,
        norm: str,
        rng: np.random.Generator,
    ) -> None:
        self.image_size = image_size
        self.grids = [TokenGrid(*image_size)]
        """Of the pixels, and of the output of each convolution."""
        C_in = 3
        for i, conv in enumerate(convs, start=1):
            k, s, p = conv.kernel_size, conv.stride, conv.padding
            act = activation if i < len(convs) else "identity"
            setattr(self, f"conv{i}", ConvNorm(C_in, conv.channels, k, s, p, norm=norm, activation=act, rng=rng))
            self.grids.append(self.grids[-1].after_convolution(k, s, p))
            C_in = conv.channels
            if min(self.grid.shape) < 1:
                raise ValueError(
                    f"images of {image_size[0]}x{image_size[1]} are too small: convolution {i} leaves nothing"
                )

    @property
    def grid(self) -> TokenGrid:
        """Of the tokens."""
        return self.grids[-1]

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Images (B, 3, H, W) to tokens (B, N, C), row by row."""
        convs, again = cast(list[tuple[str, ConvNorm]], list(self.children())), None
        for i, (name, conv) in enumerate(convs, start=1):
            x = conv.forward(x, tap.scope(name), again)
            if i < len(convs):
                x = tap(f"act{i}", x)
                again = conv.again if tap is no_tap else None
        B, C, H, W = x.shape
        return tap("tokens", x.transpose(0, 2, 3, 1).reshape(B, H * W, C))  # a view: channels are innermost already

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the images."""
        return self.conv1.backward(self._backward_to_first(dy, tap), tap.scope("conv1"))

    def backward_weight_only(self, dy: Array, tap: Tap = no_tap) -> None:
        """As :meth:`backward`, without the gradient of the images: training has no use for it."""
        self.conv1.backward_weight_only(self._backward_to_first(dy, tap), tap.scope("conv1"))

    conv1: ConvNorm

    def _backward_to_first(self, dy: Array, tap: Tap) -> Array:
        dy = tap("tokens", dy)
        H, W = self.grid.shape
        dx = dy.reshape(len(dy), H, W, -1).transpose(0, 3, 1, 2)  # (B, C, H, W)
        convs = list(enumerate(self.children()))
        for i, (name, conv) in reversed(convs[1:]):
            dx = tap(f"act{i}", conv.backward(dx, tap.scope(name)))
        return dx
