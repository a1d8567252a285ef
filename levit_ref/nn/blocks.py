"""The block, the shrinking block, and the stage; residual sums with stochastic depth."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref import functional as F
from levit_ref.nn.attention import Attention, AttentionDownsample
from levit_ref.nn.config import LeViTConfig
from levit_ref.nn.drop_path import DropPath
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.mlp import Mlp
from levit_ref.nn.module import Module
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops import Array


class Block(Module):
    """Attention and MLP, each as a residual branch.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
        Which entries of the configuration's per-stage numbers to take.
    grid : TokenGrid
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    drop_path : DropPath
        Stochastic depth, one for the whole network.
    """

    taps: ClassVar[Taps] = {
        "resid_pre": ("B N C", "residual stream before the block"),
        "attn": ("B N C", "what attention adds to the residual stream"),
        "resid_mid": ("B N C", "residual stream between attention and MLP"),
        "mlp": ("B N C", "what the MLP adds to the residual stream"),
        "resid_post": ("B N C", "residual stream after the block"),
    }

    def __init__(
        self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator | None, drop_path: DropPath
    ) -> None:
        self.attn = Attention(config, stage, grid, rng)
        self.mlp = Mlp(config, config.embed_dims[stage], config.mlp_ratio, rng)
        self.drop_path = drop_path

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C) to (B, N, C)."""
        x = tap("resid_pre", x)
        branch = tap("attn", self.attn.forward(x, tap.scope("attn")))
        x, saved_mid = F.residual_forward(x, branch, self.drop_path.factor(x, self.training))
        x = tap("resid_mid", x)
        branch = tap("mlp", self.mlp.forward(x, tap.scope("mlp")))
        x, saved_post = F.residual_forward(x, branch, self.drop_path.factor(x, self.training))
        self.remember((saved_mid, saved_post))
        return tap("resid_post", x)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input: the skip path's plus the branch's, twice."""
        saved_mid, saved_post = self.recall()
        dx, dbranch = F.residual_backward(tap("resid_post", dy), saved_post)
        dx = add(dx, self.mlp.backward(tap("mlp", dbranch), tap.scope("mlp")))
        dx, dbranch = F.residual_backward(tap("resid_mid", dx), saved_mid)
        dx = add(dx, self.attn.backward(tap("attn", dbranch), tap.scope("attn")))
        return tap("resid_pre", dx)


class Downsample(Module):
    """Shrinking attention, then an MLP as a residual branch: the passage from one stage to the next.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
        The stage that this leads into, at least 1.
    grid : TokenGrid
        Of the stage before.
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    drop_path : DropPath
        Stochastic depth, one for the whole network.
    """

    taps: ClassVar[Taps] = {
        "resid_pre": ("B N C", "residual stream before the shrinking block"),
        "resid_mid": ("B N C", "after the shrinking attention, which has no residual path: a new residual stream"),
        "mlp": ("B N C", "what the MLP adds to the residual stream"),
        "resid_post": ("B N C", "residual stream after the shrinking block"),
    }

    def __init__(
        self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator | None, drop_path: DropPath
    ) -> None:
        self.attn_downsample = AttentionDownsample(config, stage, grid, rng)
        self.mlp = Mlp(config, config.embed_dims[stage], config.downsample_mlp_ratio, rng)
        self.drop_path = drop_path

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, H W, C) to (B, ceil(H / 2) ceil(W / 2), C_out)."""
        x = tap("resid_mid", self.attn_downsample.forward(tap("resid_pre", x), tap.scope("attn_downsample")))
        branch = tap("mlp", self.mlp.forward(x, tap.scope("mlp")))
        x, saved = F.residual_forward(x, branch, self.drop_path.factor(x, self.training))
        self.remember(saved)
        return tap("resid_post", x)

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx, dbranch = F.residual_backward(tap("resid_post", dy), self.recall())
        dx = add(dx, self.mlp.backward(tap("mlp", dbranch), tap.scope("mlp")))
        return tap("resid_pre", self.attn_downsample.backward(tap("resid_mid", dx), tap.scope("attn_downsample")))


class Stage(Module):
    """Blocks at one resolution, after a shrinking block in every stage but the first.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
    grid : TokenGrid
        Of the input.
    rng : numpy.random.Generator, optional
        Without it the weights are zeros.
    drop_path : DropPath
        Stochastic depth, one for the whole network.
    """

    def __init__(
        self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator | None, drop_path: DropPath
    ) -> None:
        self.downsample = Downsample(config, stage, grid, rng, drop_path) if stage > 0 else None
        self.grid = grid if self.downsample is None else self.downsample.attn_downsample.queries
        """Of the output."""
        self.blocks = [Block(config, stage, self.grid, rng, drop_path) for _ in range(config.depths[stage])]

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """Tokens of the stage before to tokens of this one."""
        if self.downsample is not None:
            x = self.downsample.forward(x, tap.scope("downsample"))
        for i, block in enumerate(self.blocks):
            x = block.forward(x, tap.scope(f"blocks.{i}"))
        return x

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        for i, block in reversed(list(enumerate(self.blocks))):
            dy = block.backward(dy, tap.scope(f"blocks.{i}"))
        return dy if self.downsample is None else self.downsample.backward(dy, tap.scope("downsample"))


def add(dx_skip: Array, dx_branch: Array) -> Array:
    """The gradient of a value that feeds the skip path and a branch: the sum of both paths' gradients."""
    return F.residual_forward(dx_skip, dx_branch)[0]
