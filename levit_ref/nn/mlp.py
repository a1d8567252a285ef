"""The MLP between two attentions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref.nn.layers import LayerNorm
from levit_ref.nn.module import Module
from levit_ref.nn.pairs import LinearNorm
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops._checks import Array


class Mlp(Module):
    """Linear layer up, activation, linear layer down, each with its normalisation (paper, section 4.2).

    Parameters
    ----------
    dim, hidden_dim : int
        LeViT expands by 2, where ViT expands by 4.
    activation : str
    norm : {"batch", "layer"}
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {
        "norm": ("B N C", "the input behind layer normalisation (ablation A3 only)"),
        "act": ("B N C", "the hidden values, behind the activation"),
    }

    def __init__(self, dim: int, hidden_dim: int, *, activation: str, norm: str, rng: np.random.Generator) -> None:
        self.norm = LayerNorm(dim) if norm == "layer" else None
        self.ln1 = LinearNorm(dim, hidden_dim, norm=norm, activation=activation, rng=rng)
        self.ln2 = LinearNorm(hidden_dim, dim, norm=norm, norm_weight=0, rng=rng)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C) to (B, N, C)."""
        if self.norm is not None:
            x = tap("norm", self.norm.forward(x))
        x = tap("act", self.ln1.forward(x, tap.scope("ln1")))  # (B, N, hidden)
        again = self.ln1.again if tap is no_tap else None
        return self.ln2.forward(x, tap.scope("ln2"), again)  # (B, N, C)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx = self.ln2.backward(dy, tap.scope("ln2"))
        dx = self.ln1.backward(tap("act", dx), tap.scope("ln1"))
        return dx if self.norm is None else self.norm.backward(tap("norm", dx))
