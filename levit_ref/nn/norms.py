"""The three pairs of a matrix product and a normalisation that LeViT is made of.

In inference each pair is one product: the normalisation is an affine map with constant coefficients. With
``norm="layer"`` (ablation A3) there is nothing to merge: a block's products get biases, and the block normalises its
input once, before the first of them, as ViT and DeiT do.
"""

from __future__ import annotations

import numpy as np

from levit_ref.nn.layers import BatchNorm, Conv2d, LayerNorm, Linear
from levit_ref.nn.module import Module
from levit_ref.nn.tap import Tap, no_tap
from levit_ref.ops._checks import Array


class ConvNorm(Module):
    """Convolution, then normalisation of its channels.

    Parameters
    ----------
    C_in, C_out, kernel_size, stride, padding : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator
    """

    def __init__(
        self, C_in: int, C_out: int, kernel_size: int, stride: int, padding: int, *, norm: str, rng: np.random.Generator
    ) -> None:
        self.linear = Conv2d(C_in, C_out, kernel_size, stride, padding, rng=rng, bias=norm == "layer")
        self.bn = BatchNorm(C_out, channel_axis=1) if norm == "batch" else LayerNorm(C_out, channel_axis=1)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, C_in, H, W) to (B, C_out, H_out, W_out)."""
        x = tap("linear", self.linear.forward(x))
        return tap("bn", self.bn.forward(x))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return self.linear.backward(self._backward_norm(dy, tap))

    def backward_weight_only(self, dy: Array, tap: Tap = no_tap) -> None:
        """As :meth:`backward`, without the gradient of the input."""
        self.linear.backward_weight_only(self._backward_norm(dy, tap))

    def _backward_norm(self, dy: Array, tap: Tap) -> Array:
        dy = self.bn.backward(tap("bn", dy))
        return tap("linear", dy)


class LinearNorm(Module):
    """Linear layer, then batch normalisation. With ``norm="layer"`` a linear layer with a bias and nothing after it.

    Parameters
    ----------
    C_in, C_out : int
    norm : {"batch", "layer"}
    norm_weight : float
        Initial scale of the batch normalisation. 0 on the last one of each residual branch.
    rng : numpy.random.Generator
    """

    def __init__(self, C_in: int, C_out: int, *, norm: str, rng: np.random.Generator, norm_weight: float = 1.0) -> None:
        if norm == "batch":
            self.linear = Linear(C_in, C_out, rng=rng)
            self.bn: BatchNorm | None = BatchNorm(C_out, weight=norm_weight)
        else:
            self.linear = Linear(C_in, C_out, rng=rng, bias=True, std=0.02)
            self.bn = None

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C_in) to (B, N, C_out)."""
        x = tap("linear", self.linear.forward(x))
        return x if self.bn is None else tap("bn", self.bn.forward(x))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        if self.bn is not None:
            dy = self.bn.backward(tap("bn", dy))
        return self.linear.backward(tap("linear", dy))


class NormLinear(Module):
    """Normalisation, then a linear layer with a bias: a classification head.

    Parameters
    ----------
    C_in, C_out : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator
        Draws the weight from a truncated normal distribution of width 0.02.
    """

    def __init__(self, C_in: int, C_out: int, *, norm: str, rng: np.random.Generator) -> None:
        self.bn = BatchNorm(C_in) if norm == "batch" else LayerNorm(C_in)
        self.linear = Linear(C_in, C_out, rng=rng, bias=True, std=0.02)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, C_in) to (B, C_out)."""
        x = tap("bn", self.bn.forward(x))
        return tap("linear", self.linear.forward(x))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dy = self.linear.backward(tap("linear", dy))
        return self.bn.backward(tap("bn", dy))
