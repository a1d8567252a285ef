"""The MLP between two attentions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref.nn.config import LeViTConfig
from levit_ref.nn.layers import LayerNorm
from levit_ref.nn.module import Module
from levit_ref.nn.pairs import LinearNorm
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array


class Mlp(Module):
    """Linear layer up, activation, linear layer down, each with its normalisation (paper, section 4.2).

    Parameters
    ----------
    config : LeViTConfig
    dim : int
        C, of input and output.
    ratio : float
        Hidden channels over ``dim``: LeViT expands by 2, where ViT expands by 4.
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    """

    taps: ClassVar[Taps] = {
        "norm": ("B N C", "the input after layer normalisation (ablation A3 only)"),
        "act": ("B N C", "the hidden values, after the activation"),
    }

    def __init__(self, config: LeViTConfig, dim: int, ratio: float, rng: np.random.Generator | None) -> None:
        hidden = int(dim * ratio)
        self.norm = LayerNorm(dim) if config.norm == "layer" else None
        self.ln1 = LinearNorm(dim, hidden, config.norm, rng, activation=config.activation)
        self.ln2 = LinearNorm(hidden, dim, config.norm, rng, scale=0)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C) to (B, N, C)."""
        if self.norm is not None:
            x = tap("norm", self.norm.forward(x))
        x = tap("act", self.ln1.forward(x, tap.scope("ln1")))  # (B, N, hidden)
        return self.ln2.forward(x, tap.scope("ln2"))  # (B, N, C)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.ln2.backward(dy, tap.scope("ln2"))
        dx = self.ln1.backward(tap("act", dx), tap.scope("ln1"))
        return dx if self.norm is None else self.norm.backward(tap("norm", dx))
