"""Layers with parameters: each owns its arrays, calls one operation forward and one backward, and adds up gradients."""

from __future__ import annotations

from functools import partial

import numpy as np

from levit_ref import functional as F
from levit_ref.nn import init
from levit_ref.nn.config import StemConv
from levit_ref.nn.memory import current_pass
from levit_ref.nn.module import Buffer, Module, Parameter
from levit_ref.nn.tap import Tap, no_tap
from levit_ref.ops import Array, update_running_statistics


class Conv2d(Module):
    """Convolution; with a bias only where no batch normalisation follows (ablation A3).

    Parameters
    ----------
    C_in : int
    conv : StemConv
        Output channels, kernel, stride and padding.
    rng : numpy.random.Generator, optional
        Draws the weight, shape (C_out, C_in, kernel_size, kernel_size), as PyTorch does by default; zeros without it.
    bias : bool
    reads_images : bool
        Whether its input is the images, whose gradient a lean backward pass leaves out.
    """

    def __init__(
        self, C_in: int, conv: StemConv, rng: np.random.Generator | None, *,
        bias: bool = False, reads_images: bool = False,
    ) -> None:  # fmt: skip
        self.weight = Parameter(init.fan_in_uniform(rng, (conv.channels, C_in, conv.kernel_size, conv.kernel_size)))
        self.bias = Parameter(np.zeros(conv.channels)) if bias else None
        self.stride, self.padding, self.reads_images = conv.stride, conv.padding, reads_images

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, C_in, H, W) to (B, C_out, H_out, W_out)."""
        bias = None if self.bias is None else self.bias.data
        y, saved = F.conv2d_forward(x, self.weight.data, bias, stride=self.stride, padding=self.padding)
        self.remember(saved)
        return y

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        need_dx = not (self.reads_images and current_pass().is_lean)
        dx, dweight, dbias = F.conv2d_backward(dy, self.recall(), need_dx=need_dx)
        self.weight.grad += dweight
        if self.bias is not None and dbias is not None:
            self.bias.grad += dbias
        return dx


class Linear(Module):
    """Affine map of the last axis.

    Parameters
    ----------
    C_in, C_out : int
    rng : numpy.random.Generator, optional
        Without it the weight is zeros.
    bias : bool
        Starts at zero.
    std : float, optional
        Draw the weight, shape (C_out, C_in), from a truncated normal distribution of this width (LeViT's heads);
        without it uniformly, as PyTorch does by default.
    """

    def __init__(
        self, C_in: int, C_out: int, rng: np.random.Generator | None, *, bias: bool = False, std: float | None = None
    ) -> None:
        shape = (C_out, C_in)
        weight = init.fan_in_uniform(rng, shape) if std is None else init.truncated_normal(rng, shape, std)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(C_out)) if bias else None

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(..., C_in) to (..., C_out)."""
        y, saved = F.linear_forward(x, self.weight.data, None if self.bias is None else self.bias.data)
        self.remember(saved)
        return y

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx, _, dbias = F.linear_backward(dy, self.recall(), add_to=self.weight.grad)
        if self.bias is not None and dbias is not None:
            self.bias.grad += dbias
        return dx


class Activation(Module):
    """One of :data:`levit_ref.ops.ACTIVATIONS`, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Elementwise; the shape stays."""
        y, saved = F.activation_forward(x, self.name)
        self.remember(saved)
        return y if y is x else self.repeatable(y, lambda: F.activation_forward(x, self.name)[0], tap)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        return F.activation_backward(dy, self.recall(), self.name)


class BatchNorm(Module):
    """Batch normalisation of one axis, and the activation after it.

    In training it also moves its running statistics, as PyTorch does. The tap sees ``bn``, the value between
    normalisation and activation.

    Parameters
    ----------
    channels : int
    channel_axis : int
        1 for images (B, C, H, W), -1 for tokens.
    scale : float
        Initial weight: 0 makes a residual branch start as nothing (paper, section 4.2, after Goyal et al. 2017).
    activation : str
    """

    eps = 1e-5
    momentum = 0.1

    def __init__(
        self, channels: int, *, channel_axis: int = -1, scale: float = 1.0, activation: str = "identity"
    ) -> None:
        self.weight = Parameter(np.full(channels, float(scale)))
        self.bias = Parameter(np.zeros(channels))
        self.running_mean = Buffer(np.zeros(channels))
        self.running_var = Buffer(np.ones(channels))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))
        self.channel_axis, self.activation = channel_axis, activation

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Normalise and activate; the shape stays."""
        training = self.training
        if training:
            mean, var = F.batch_norm_statistics(x, channel_axis=self.channel_axis)
            self._move_statistics(mean, var, x.size // len(mean))
        else:
            mean, var = self.running_mean.data, self.running_var.data
        y, saved = F.batch_norm_forward(
            x, mean, var, self.weight.data, self.bias.data,
            eps=self.eps, channel_axis=self.channel_axis, activation=self.activation, tap=tap,
        )  # fmt: skip
        self.remember((saved, x.size // len(mean) if training else None))
        return self.repeatable(y, partial(F.batch_norm_again, saved), tap)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        saved, count = self.recall()
        sums = F.batch_norm_backward_sums(dy, saved, tap=tap)
        self.weight.grad += sums.dweight
        self.bias.grad += sums.dbias
        return F.batch_norm_backward(sums, saved, count)

    def _move_statistics(self, mean: Array, variance: Array, count: int) -> None:
        """Move the running statistics towards those of a batch of ``count`` values a channel."""
        running_mean, running_var = self.running_mean.data, self.running_var.data
        running_mean[...], running_var[...] = update_running_statistics(
            running_mean, running_var, mean, variance, count, momentum=self.momentum
        )
        self.num_batches_tracked.data[...] += 1


class LayerNorm(Module):
    """Layer normalisation of the channel axis, and the activation after it: what A3 has for batch normalisation.

    Parameters
    ----------
    channels : int
    channel_axis : int
        1 for images (B, C, H, W), -1 for tokens.
    activation : str
    """

    eps = 1e-5

    def __init__(self, channels: int, *, channel_axis: int = -1, activation: str = "identity") -> None:
        self.weight = Parameter(np.ones(channels))
        self.bias = Parameter(np.zeros(channels))
        self.channel_axis = channel_axis
        self.act = Activation(activation)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Normalise and activate; the shape stays."""
        rows = np.moveaxis(x, self.channel_axis, -1)
        y, saved = F.layer_norm_forward(rows, self.weight.data, self.bias.data, eps=self.eps)
        self.remember(saved)
        return self.act.forward(tap("norm", np.moveaxis(y, -1, self.channel_axis)), tap)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dy = tap("norm", self.act.backward(dy))
        dx, dweight, dbias = F.layer_norm_backward(np.moveaxis(dy, self.channel_axis, -1), self.recall())
        self.weight.grad += dweight
        self.bias.grad += dbias
        return np.moveaxis(dx, -1, self.channel_axis)
