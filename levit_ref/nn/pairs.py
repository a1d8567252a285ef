"""The three pairs of a matrix product and a normalisation that LeViT is made of, with the activation after them.

In inference each pair is one product: the normalisation is an affine map with constant coefficients. With
``norm="layer"`` (ablation A3) there is nothing to merge: a block's products get biases, and the block normalises its
input once, before the first of them, as ViT and DeiT do.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref.nn.config import StemConv
from levit_ref.nn.layers import Activation, BatchNorm, Conv2d, LayerNorm, Linear
from levit_ref.nn.module import Module
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array


class ProductNorm(Module):
    """A product, ``linear``, and one layer after it: ``bn``, ``norm`` or ``act``."""

    linear: Conv2d | Linear
    bn: BatchNorm | None = None
    norm: LayerNorm | None = None
    act: Activation | None = None

    @property
    def last(self) -> Module:
        """The layer after the product."""
        layer = self.bn or self.norm or self.act
        assert layer is not None  # every subclass sets one
        return layer

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, C_in, H, W) or (B, N, C_in) to the same with C_out channels; a convolution may shrink the map."""
        return self.last.forward(tap("linear", self.linear.forward(x)), tap)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return self.linear.backward(tap("linear", self.last.backward(dy, tap)))


class ConvNorm(ProductNorm):
    """Convolution, then normalisation of its channels, then an activation.

    Parameters
    ----------
    C_in : int
    conv : StemConv
        Output channels and geometry.
    norm : {"batch", "layer"}
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    activation : str
    reads_images : bool
        Whether its input is the images.
    """

    taps: ClassVar[Taps] = {
        "linear": ("B C H W", "after the convolution"),
        "bn": ("B C H W", "after batch normalisation: scaled and shifted, before the activation"),
        "norm": ("B C H W", "after layer normalisation: scaled and shifted, before the activation (ablation A3 only)"),
    }

    def __init__(
        self, C_in: int, conv: StemConv, norm: str, rng: np.random.Generator | None, *,
        activation: str = "identity", reads_images: bool = False,
    ) -> None:  # fmt: skip
        self.linear = Conv2d(C_in, conv, rng, bias=norm == "layer", reads_images=reads_images)
        if norm == "batch":
            self.bn = BatchNorm(conv.channels, channel_axis=1, activation=activation)
        else:
            self.norm = LayerNorm(conv.channels, channel_axis=1, activation=activation)


class LinearNorm(ProductNorm):
    """Linear layer, then batch normalisation, then an activation. With ``norm="layer"`` there is a bias in its place.

    Parameters
    ----------
    C_in, C_out : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    scale : float
        Initial scale of the batch normalisation. 0 on the last one of each residual branch.
    activation : str
    """

    taps: ClassVar[Taps] = {
        "linear": ("B N C", "after the matrix product"),
        "bn": ("B N C", "after the normalisation: scaled and shifted, before an activation if there is one"),
    }

    def __init__(
        self, C_in: int, C_out: int, norm: str, rng: np.random.Generator | None, *,
        scale: float = 1.0, activation: str = "identity",
    ) -> None:  # fmt: skip
        if norm == "batch":
            self.linear = Linear(C_in, C_out, rng)
            self.bn = BatchNorm(C_out, scale=scale, activation=activation)
        else:
            self.linear = Linear(C_in, C_out, rng, bias=True, std=0.02)
            self.act = Activation(activation)


class NormLinear(Module):
    """Normalisation, then a linear layer with a bias: a classification head.

    Parameters
    ----------
    C_in, C_out : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator, optional
        Draws the weight from a truncated normal distribution of width 0.02; zeros without it.
    """

    taps: ClassVar[Taps] = {
        "bn": ("B C", "the pooled features, batch-normalised for this head"),
        "norm": ("B C", "the pooled features, layer-normalised for this head (ablation A3 only)"),
        "linear": ("B classes", "after the matrix product and its bias: the logits of this head"),
    }

    bn: BatchNorm | None = None
    norm: LayerNorm | None = None

    def __init__(self, C_in: int, C_out: int, norm: str, rng: np.random.Generator | None) -> None:
        if norm == "batch":
            self.bn = BatchNorm(C_in)
        else:
            self.norm = LayerNorm(C_in)
        self.linear = Linear(C_in, C_out, rng, bias=True, std=0.02)

    @property
    def first(self) -> Module:
        """The normalisation."""
        layer = self.bn or self.norm
        assert layer is not None
        return layer

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, C_in) to (B, C_out)."""
        return tap("linear", self.linear.forward(self.first.forward(x, tap)))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return self.first.backward(self.linear.backward(tap("linear", dy)), tap)
