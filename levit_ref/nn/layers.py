"""Layers with parameters: each owns its arrays, calls one operation forward and one backward, and adds up gradients."""

from __future__ import annotations

import numpy as np

from levit_ref.nn import init
from levit_ref.nn.module import Again, Buffer, Module, Parameter
from levit_ref.nn.tap import Tap, no_tap
from levit_ref.ops._checks import Array
from levit_ref.runtime import F


class Conv2d(Module):
    """Convolution; with a bias only where no batch normalisation follows (ablation A3).

    Parameters
    ----------
    C_in, C_out : int
    kernel_size, stride, padding : int
    bias : bool
    rng : numpy.random.Generator
        Draws the weight, shape (C_out, C_in, kernel_size, kernel_size), as PyTorch does by default.
    """

    def __init__(
        self,
        C_in: int,
        C_out: int,
        kernel_size: int,
        stride: int,
        padding: int,
        *,
        rng: np.random.Generator,
        bias: bool = False,
    ) -> None:
        self.weight = Parameter(init.fan_in_uniform(rng, (C_out, C_in, kernel_size, kernel_size)))
        self.bias = Parameter(np.zeros(C_out)) if bias else None
        self.stride, self.padding = stride, padding

    def forward(self, x: Array, tap: Tap = no_tap, again: Again | None = None) -> Array:
        """(B, C_in, H, W) to (B, C_out, H_out, W_out). With ``again``, which computes ``x``, it is not kept."""
        y, saved = F.conv2d_forward(x, self.weight.data, stride=self.stride, padding=self.padding)
        self.remember(saved, again)
        return y if self.bias is None else y + self.bias.data[:, None, None]

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self._backward(dy, need_dx=True)
        assert dx is not None  # need_dx
        return dx

    def backward_weight_only(self, dy: Array) -> None:
        """As :meth:`backward`, without the gradient of the input, which training does not ask of the first layer."""
        self._backward(dy, need_dx=False)

    def _backward(self, dy: Array, *, need_dx: bool) -> Array | None:
        dx, dweight = F.conv2d_backward(dy, self.recall(), need_dx=need_dx)
        self.weight.grad += dweight
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=(0, 2, 3))
        return dx


class Linear(Module):
    """Affine map of the last axis.

    Parameters
    ----------
    C_in, C_out : int
    bias : bool
        Starts at zero.
    std : float, optional
        Draw the weight, shape (C_out, C_in), from a truncated normal distribution of this width (LeViT's heads);
        without it uniformly, as PyTorch does by default.
    rng : numpy.random.Generator
    """

    def __init__(
        self, C_in: int, C_out: int, *, rng: np.random.Generator, bias: bool = False, std: float | None = None
    ) -> None:
        shape = (C_out, C_in)
        self.weight = Parameter(
            init.fan_in_uniform(rng, shape) if std is None else init.truncated_normal(rng, shape, std)
        )
        self.bias = Parameter(np.zeros(C_out)) if bias else None

    def forward(self, x: Array, tap: Tap = no_tap, again: Again | None = None) -> Array:
        """(..., C_in) to (..., C_out). With ``again``, which computes ``x``, it is not kept."""
        y, saved = F.linear_forward(x, self.weight.data, None if self.bias is None else self.bias.data)
        self.remember(saved, again)
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
        y, saved = getattr(F, f"{self.name}_forward")(x)
        self.remember(saved)
        return y

    def again(self) -> Array:
        """The output of the most recent forward pass."""
        y: Array = getattr(F, f"{self.name}_forward")(self.peek())[0]
        return y

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx: Array = getattr(F, f"{self.name}_backward")(dy, self.recall())
        return dx


class BatchNorm(Module):
    """Batch normalisation of one axis, and the activation behind it.

    In training it also moves its running statistics, as PyTorch does. The tap sees ``bn``, the value between
    normalisation and activation.

    Parameters
    ----------
    channels : int
    channel_axis : int
        1 for images (B, C, H, W), -1 for tokens.
    weight : float
        Initial scale: 0 makes a residual branch start as nothing (paper, section 4.2, after Goyal et al. 2017).
    activation : str
    """

    eps = 1e-5
    momentum = 0.1

    def __init__(
        self, channels: int, *, channel_axis: int = -1, weight: float = 1.0, activation: str = "identity"
    ) -> None:
        self.weight = Parameter(np.full(channels, float(weight)))
        self.bias = Parameter(np.zeros(channels))
        self.running_mean = Buffer(np.zeros(channels))
        self.running_var = Buffer(np.ones(channels))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))
        self.channel_axis, self.activation = channel_axis, activation

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Normalise and activate; the shape stays."""
        mean, var = self.running_mean.data, self.running_var.data
        y, saved = F.batch_norm_forward(
            x, self.weight.data, self.bias.data, mean, var,
            training=self.training, eps=self.eps, channel_axis=self.channel_axis, activation=self.activation, tap=tap,
        )  # fmt: skip
        if self.training:
            mean[...], var[...] = F.update_running_statistics(mean, var, saved, momentum=self.momentum)
            self.num_batches_tracked.data[...] += 1
        self.remember(saved)
        return y

    def again(self) -> Array:
        """The output of the most recent forward pass, if it was not tapped."""
        return F.batch_norm_again(self.peek())

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx, dweight, dbias = F.batch_norm_backward(dy, self.recall(), tap=tap)
        self.weight.grad += dweight
        self.bias.grad += dbias
        return dx


class LayerNorm(Module):
    """Layer normalisation of the channel axis, and the activation behind it: what A3 has for batch normalisation.

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
        return self.act.forward(tap("bn", np.moveaxis(y, -1, self.channel_axis)))

    def again(self) -> Array:
        """The output of the most recent forward pass."""
        return self.act.again()

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dy = tap("bn", self.act.backward(dy))
        dx, dweight, dbias = F.layer_norm_backward(np.moveaxis(dy, self.channel_axis, -1), self.recall())
        self.weight.grad += dweight
        self.bias.grad += dbias
        return np.moveaxis(dx, -1, self.channel_axis)
