"""The three pairs of a matrix product and a normalisation that LeViT is made of, with the activation behind them.

In inference each pair is one product: the normalisation is an affine map with constant coefficients. With
``norm="layer"`` (ablation A3) there is nothing to merge: a block's products get biases, and the block normalises its
input once, before the first of them, as ViT and DeiT do.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref.nn.layers import Activation, BatchNorm, Conv2d, LayerNorm, Linear
from levit_ref.nn.module import Again, Module
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops._checks import Array


class ConvNorm(Module):
    """Convolution, then normalisation of its channels, then an activation.

    Parameters
    ----------
    C_in, C_out, kernel_size, stride, padding : int
    norm : {"batch", "layer"}
    activation : str
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {
        "linear": ("B C H W", "behind the convolution"),
        "bn": ("B C H W", "behind the normalisation: scaled and shifted, before the activation"),
    }

    def __init__(
        self,
        C_in: int,
        C_out: int,
        kernel_size: int,
        stride: int,
        padding: int,
        *,
        norm: str,
        activation: str = "identity",
        rng: np.random.Generator,
    ) -> None:
        self.linear = Conv2d(C_in, C_out, kernel_size, stride, padding, rng=rng, bias=norm == "layer")
        self.bn = (BatchNorm if norm == "batch" else LayerNorm)(C_out, channel_axis=1, activation=activation)

    def forward(self, x: Array, tap: Tap = no_tap, again: Again | None = None) -> Array:
        """(B, C_in, H, W) to (B, C_out, H_out, W_out). With ``again``, which computes ``x``, it is not kept."""
        return self.bn.forward(tap("linear", self.linear.forward(x, again=again)), tap)

    def again(self) -> Array:
        """The output of the most recent forward pass, if it was not tapped."""
        return self.bn.again()

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return self.linear.backward(self._backward_norm(dy, tap))

    def backward_weight_only(self, dy: Array, tap: Tap = no_tap) -> None:
        """As :meth:`backward`, without the gradient of the input."""
        self.linear.backward_weight_only(self._backward_norm(dy, tap))

    def _backward_norm(self, dy: Array, tap: Tap) -> Array:
        return tap("linear", self.bn.backward(dy, tap))


class LinearNorm(Module):
    """Linear layer, then batch normalisation, then an activation. With ``norm="layer"`` there is a bias in its place.

    Parameters
    ----------
    C_in, C_out : int
    norm : {"batch", "layer"}
    activation : str
    norm_weight : float
        Initial scale of the batch normalisation. 0 on the last one of each residual branch.
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {
        "linear": ("B N C", "behind the matrix product"),
        "bn": ("B N C", "behind the normalisation: scaled and shifted, before an activation if there is one"),
    }

    def __init__(
        self,
        C_in: int,
        C_out: int,
        *,
        norm: str,
        rng: np.random.Generator,
        norm_weight: float = 1.0,
        activation: str = "identity",
    ) -> None:
        self.bn: BatchNorm | Activation
        if norm == "batch":
            self.linear = Linear(C_in, C_out, rng=rng)
            self.bn = BatchNorm(C_out, weight=norm_weight, activation=activation)
        else:
            self.linear = Linear(C_in, C_out, rng=rng, bias=True, std=0.02)
            self.bn = Activation(activation)

    def forward(self, x: Array, tap: Tap = no_tap, again: Again | None = None) -> Array:
        """(B, N, C_in) to (B, N, C_out). With ``again``, which computes ``x``, it is not kept."""
        return self.bn.forward(tap("linear", self.linear.forward(x, again=again)), tap)

    def again(self) -> Array:
        """The output of the most recent forward pass, if it was not tapped."""
        return self.bn.again()

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return self.linear.backward(tap("linear", self.bn.backward(dy, tap)))


class NormLinear(Module):
    """Normalisation, then a linear layer with a bias: a classification head.

    Parameters
    ----------
    C_in, C_out : int
    norm : {"batch", "layer"}
    rng : numpy.random.Generator
        Draws the weight from a truncated normal distribution of width 0.02.
    """

    taps: ClassVar[Taps] = {
        "bn": ("B C", "the pooled features, normalised for this head"),
        "linear": ("B classes", "behind the matrix product and its bias: the logits of this head"),
    }

    def __init__(self, C_in: int, C_out: int, *, norm: str, rng: np.random.Generator) -> None:
        self.bn = BatchNorm(C_in) if norm == "batch" else LayerNorm(C_in)
        self.linear = Linear(C_in, C_out, rng=rng, bias=True, std=0.02)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, C_in) to (B, C_out)."""
        return tap("linear", self.linear.forward(self.bn.forward(x, tap)))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return self.bn.backward(self.linear.backward(tap("linear", dy)), tap)
