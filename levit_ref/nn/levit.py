"""LeViT, whole: stem, stages, mean over tokens, one or two heads."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from levit_ref import functional as F
from levit_ref.nn import init
from levit_ref.nn.blocks import Stage
from levit_ref.nn.config import LeViTConfig
from levit_ref.nn.drop_path import DropPath
from levit_ref.nn.module import Buffer, Module, Parameter
from levit_ref.nn.pairs import NormLinear
from levit_ref.nn.specs import ActivationSpec, activation_specs
from levit_ref.nn.stem import Stem
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array
from levit_ref.ops._checks import check_shape, pair


class HeadLogits(NamedTuple):
    """Logits of the two heads, each of shape (B, classes); ``head_dist`` is None in a model with one head."""

    head: Array
    head_dist: Array | None


class LeViT(Module):
    """The network of Graham et al., "LeViT: a Vision Transformer in ConvNet's Clothing for Faster Inference" (2021).

    Parameters
    ----------
    config : LeViTConfig
        The variant, see :mod:`levit_ref.configs`.
    num_classes : int
    image_size : int or (int, int)
        Rows and columns; any size that leaves the stem at least one token.
    seed : int or None
        Of the initial weights and, until ``drop_path.seed(...)``, of stochastic depth. None draws nothing: all weights
        are zeros, for a model that is about to read them from a file.
    dtype : dtype
        float32, or float64 for gradient checks.

    Attributes
    ----------
    flat_data, flat_grad : ndarray, shape (number of parameters,)
        All parameters, all gradients, in the order of ``named_parameters()``; every ``Parameter`` is a view into them.
    flat_buffers : ndarray
        Likewise all running statistics, in the order of ``named_buffers()``.
    """

    taps: ClassVar[Taps] = {
        "images": ("B C H W", "the normalised images, in the dtype of the model"),
        "pos_embed": ("B N C", "tokens with the learned embedding of their position (ablation A5 only)"),
        "pooled": ("B C", "the mean over all tokens: the features that the heads see"),
        "head": ("B classes", "logits of the head trained on labels"),
        "head_dist": ("B classes", "logits of the head trained on a teacher"),
        "logits": ("B classes", "the model's output: the mean of the heads' logits"),
    }

    def __init__(
        self,
        config: LeViTConfig,
        *,
        num_classes: int = 1000,
        image_size: int | tuple[int, int] = 224,
        seed: int | None = 0,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"LeViT: num_classes must be at least 1, got {num_classes}")
        rng = None if seed is None else np.random.default_rng(seed)
        self.config, self.num_classes = config, num_classes
        self.image_size = pair("LeViT", "image_size", image_size, 1)
        self.stem = Stem(config, self.image_size, rng)
        grid, dim = self.stem.grid, config.embed_dims[0]
        self.pos_embed = None
        if config.position == "embedding":
            self.pos_embed = Parameter(init.truncated_normal(rng, (1, grid.tokens, dim), 0.02))
        self.drop_path = DropPath(config.drop_path)
        self.stages: list[Stage] = []
        for i in range(len(config.embed_dims)):
            self.stages.append(Stage(config, i, grid, rng, self.drop_path))
            grid = self.stages[-1].grid
        self.head = NormLinear(config.embed_dims[-1], num_classes, config.norm, rng)
        self.head_dist = None
        if config.distillation:
            self.head_dist = NormLinear(config.embed_dims[-1], num_classes, config.norm, rng)
        if rng is not None:
            self.drop_path.seed(rng)
        self.flatten(dtype)

    # --- forward and backward --------------------------------------------------------------------------------------

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Classify images.

        Parameters
        ----------
        x : ndarray, shape (B, 3, H, W)
            Normalised images, of any floating dtype; they are converted to the model's.
        tap : Tap
            Sees, and may replace, every named value on the way.

        Returns
        -------
        logits : ndarray, shape (B, classes)
            The mean of the heads, in either mode.
        """
        head, head_dist = self.forward_heads(x, tap)
        return tap("logits", head if head_dist is None else (head + head_dist) / 2)

    def forward_heads(self, images: Array, tap: Tap = no_tap) -> HeadLogits:
        """As :meth:`forward`, with the logits of the two heads apart, as training with distillation needs them."""
        x = self._check_images(images)
        x = self.stem.forward(tap("images", x), tap.scope("stem"))  # (B, N, C)
        if self.pos_embed is not None:
            x = tap("pos_embed", x + self.pos_embed.data)
        for i, stage in enumerate(self.stages):
            x = stage.forward(x, tap.scope(f"stages.{i}"))
        x, saved = F.global_average_pool_forward(x)  # (B, C)
        x = tap("pooled", x)
        self.remember(saved)
        head = tap("head", self.head.forward(x, tap.scope("head")))  # (B, classes)
        if self.head_dist is None:
            return HeadLogits(head, None)
        return HeadLogits(head, tap("head_dist", self.head_dist.forward(x, tap.scope("head_dist"))))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradients of all parameters, added to their ``grad``, and of the images.

        Parameters
        ----------
        dy : ndarray, shape (B, classes)
            Gradient of a loss with respect to the result of the most recent :meth:`forward`.
        tap : Tap
            Sees gradients under the names of the values.

        Returns
        -------
        dx : ndarray, shape (B, 3, H, W)
            None under :func:`levit_ref.nn.lean_backward`.
        """
        dy = tap("logits", dy)
        if self.head_dist is None:
            return self.backward_heads(dy, None, tap)
        return self.backward_heads(dy / 2, dy / 2, tap)

    def backward_heads(self, dhead: Array, dhead_dist: Array | None, tap: Tap = no_tap) -> Array:
        """As :meth:`backward`, from a gradient for each head (None for a head that is not there)."""
        saved = self.recall()
        for name, gradient, head in ("dhead", dhead, self.head), ("dhead_dist", dhead_dist, self.head_dist):
            if (gradient is None) != (head is None):
                got, has = ("None", "has") if gradient is None else ("an array", "does not have")
                raise ValueError(f"backward_heads: {name} is {got}, but the model {has} that head")
            if gradient is not None:
                check_shape("backward_heads", name, gradient, (saved[0], self.num_classes), "(B, classes)")
        dx = self.head.backward(tap("head", dhead), tap.scope("head"))  # (B, C)
        if self.head_dist is not None and dhead_dist is not None:
            dx = dx + self.head_dist.backward(tap("head_dist", dhead_dist), tap.scope("head_dist"))
        dx = F.global_average_pool_backward(tap("pooled", dx), saved)  # (B, N, C)
        for i, stage in reversed(list(enumerate(self.stages))):
            dx = stage.backward(dx, tap.scope(f"stages.{i}"))
        if self.pos_embed is not None:
            dx = tap("pos_embed", dx)
            self.pos_embed.grad += dx.sum(axis=0, keepdims=True)
        return tap("images", self.stem.backward(dx, tap.scope("stem")))

    def _check_images(self, images: Array) -> Array:
        if not isinstance(images, np.ndarray) or not np.issubdtype(images.dtype, np.floating):
            kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise TypeError(f"LeViT: images must be a floating numpy array, normalised as in training; got {kind}")
        if images.ndim != 4 or images.shape[1:] != (3, *self.image_size):
            raise ValueError(
                f"LeViT: images have shape {images.shape}, expected (B, 3, {self.image_size[0]}, {self.image_size[1]})"
            )
        if len(images) == 0:
            raise ValueError(f"LeViT: the batch is empty, images have shape {images.shape}")
        if len(images) == 1 and self.training and self.config.norm == "batch":
            raise ValueError(
                "LeViT: a batch of one image cannot be trained on: the heads' batch normalisation sees one value per "
                "channel, whose variance is 0. Use at least two images, or model.eval()"
            )
        return images.astype(self.dtype, copy=False)

    # --- looking inside --------------------------------------------------------------------------------------------

    def activation_specs(self, batch_size: int = 1) -> tuple[ActivationSpec, ...]:
        """Every value with a name, in the order of execution: axes, shape, meaning and bytes.

        Read off a forward pass, so it is complete by construction. The model stays as it is.

        Parameters
        ----------
        batch_size : int
            Of the shapes and bytes.
        """
        return activation_specs(self, batch_size)

    # --- one buffer ------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        """Floating dtype of parameters and activations."""
        return self.flat_data.dtype

    def flatten(self, dtype: npt.DTypeLike) -> None:
        """Move all parameters, gradients and running statistics into one flat array each, of the given dtype."""
        if not np.issubdtype(np.dtype(dtype), np.floating):
            raise TypeError(f"LeViT: dtype must be floating, got {np.dtype(dtype)}")
        parameters = [p for _, p in self.named_parameters()]
        total = sum(p.size for p in parameters)
        self.flat_data, self.flat_grad = np.zeros(total, dtype), np.zeros(total, dtype)
        start = 0
        for parameter in parameters:
            window = slice(start, start + parameter.size)
            parameter.move_to(
                self.flat_data[window].reshape(parameter.shape), self.flat_grad[window].reshape(parameter.shape)
            )
            start = window.stop

        statistics = [b for _, b in self._named(Buffer) if np.issubdtype(b.data.dtype, np.floating)]
        self.flat_buffers = np.concatenate([b.data.ravel() for b in statistics] or [np.zeros(0)]).astype(dtype)
        start = 0
        for buffer in statistics:
            window = slice(start, start + buffer.data.size)
            buffer.data = self.flat_buffers[window].reshape(buffer.data.shape)
            start = window.stop

    def zero_grad(self) -> None:
        """Set every gradient to zero: one pass over one array."""
        self.flat_grad.fill(0)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # copy.deepcopy and pickle copy every view by itself: give the copy flat arrays of its own.
        vars(self).update(state)
        self.flatten(self.flat_data.dtype)

    # --- to look at --------------------------------------------------------------------------------------------------

    def _title(self) -> str:
        H, W = self.image_size
        return f"{type(self).__name__}({self.config.name}, {self.num_classes} classes, images of {H}x{W})"
