"""Residual sums, the block, the shrinking block, and the stage."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from levit_ref.nn.attention import Attention, AttentionDownsample
from levit_ref.nn.config import LeViTConfig
from levit_ref.nn.grid import TokenGrid
from levit_ref.nn.mlp import Mlp
from levit_ref.nn.module import Module
from levit_ref.nn.tap import Tap, Taps, no_tap
from levit_ref.ops._checks import Array
from levit_ref.runtime import F


class Residual(Module):
    """``x + branch``, where training leaves the branch out of some images (stochastic depth).

    Parameters
    ----------
    drop : float
        Probability of leaving it out, in [0, 1).
    """

    def __init__(self, drop: float) -> None:
        self.drop = drop
        self.rng = np.random.default_rng(0)

    def add(self, x: Array, branch: Array) -> Array:
        """The sum, both (B, N, C)."""
        factor = None
        if self.training and self.drop > 0:
            factor = F.drop_path_factor(self.rng, len(x), self.drop, x.dtype)
        y, saved = F.residual_forward(x, branch, factor)
        self.remember((saved,))
        return y

    def add_backward(self, dy: Array) -> tuple[Array, Array]:
        """Gradients of ``x`` on the skip path, and of ``branch``."""
        (saved,) = self.recall()
        return F.residual_backward(dy, saved)

    @staticmethod
    def join(dx_skip: Array, dx_branch: Array) -> Array:
        """The gradient of ``x``, which feeds both paths: the sum of what comes back on them."""
        return F.residual_forward(dx_skip, dx_branch)[0]


class Block(Module):
    """Attention and MLP, each as a residual branch.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
        Which entries of the configuration's per-stage numbers to take.
    grid : TokenGrid
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {
        "resid_pre": ("B N C", "residual stream before the block"),
        "attn": ("B N C", "what attention adds to the residual stream"),
        "resid_mid": ("B N C", "residual stream between attention and MLP"),
        "mlp": ("B N C", "what the MLP adds to the residual stream"),
        "resid_post": ("B N C", "residual stream behind the block"),
    }

    def __init__(self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator) -> None:
        dim = config.embed_dims[stage]
        self.attn = Attention(
            dim,
            key_dim=config.key_dim,
            num_heads=config.num_heads[stage],
            attn_ratio=config.attn_ratio,
            grid=grid,
            activation=config.attention_activation,
            norm=config.norm,
            bias=config.position == "attention_bias",
            rng=rng,
        )
        self.residual1 = Residual(config.drop_path)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio), activation=config.activation, norm=config.norm, rng=rng)
        self.residual2 = Residual(config.drop_path)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, N, C) to (B, N, C)."""
        x = tap("resid_pre", x)
        branch = tap("attn", self.attn.forward(x, tap.scope("attn")))
        x = tap("resid_mid", self.residual1.add(x, branch))
        branch = tap("mlp", self.mlp.forward(x, tap.scope("mlp")))
        return tap("resid_post", self.residual2.add(x, branch))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input: what the skip path hands on plus what the branch adds, twice."""
        dx, dbranch = self.residual2.add_backward(tap("resid_post", dy))
        dbranch = self.mlp.backward(tap("mlp", dbranch), tap.scope("mlp"))
        dx, dbranch = self.residual1.add_backward(tap("resid_mid", self.residual2.join(dx, dbranch)))
        dbranch = self.attn.backward(tap("attn", dbranch), tap.scope("attn"))
        return tap("resid_pre", self.residual1.join(dx, dbranch))


class Downsample(Module):
    """Shrinking attention, then an MLP as a residual branch: the passage from one stage to the next.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
        The stage that this leads into, at least 1.
    grid : TokenGrid
        Of the stage before.
    rng : numpy.random.Generator
    """

    taps: ClassVar[Taps] = {
        "resid_pre": ("B N C", "residual stream before the shrinking block"),
        "resid_mid": ("B N C", "behind the shrinking attention, which has no residual path: a new residual stream"),
        "mlp": ("B N C", "what the MLP adds to the residual stream"),
        "resid_post": ("B N C", "residual stream behind the shrinking block"),
    }

    def __init__(self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator) -> None:
        in_dim, dim = config.embed_dims[stage - 1 : stage + 1]
        self.attn_downsample = AttentionDownsample(
            in_dim,
            dim,
            key_dim=config.key_dim,
            num_heads=config.downsample_heads[stage - 1],
            attn_ratio=config.downsample_attn_ratio,
            stride=2,
            grid=grid,
            activation=config.attention_activation,
            norm=config.norm,
            bias=config.position == "attention_bias",
            rng=rng,
        )
        hidden = int(dim * config.downsample_mlp_ratio)
        self.mlp = Mlp(dim, hidden, activation=config.activation, norm=config.norm, rng=rng)
        self.residual = Residual(config.drop_path)

    def forward(self, x: Array, tap: Tap = no_tap) -> Array:
        """(B, H W, C) to (B, ceil(H / 2) ceil(W / 2), C_out)."""
        x = tap("resid_mid", self.attn_downsample.forward(tap("resid_pre", x), tap.scope("attn_downsample")))
        branch = tap("mlp", self.mlp.forward(x, tap.scope("mlp")))
        return tap("resid_post", self.residual.add(x, branch))

    def backward(self, dy: Array, tap: Tap = no_tap) -> Array:
        """Gradient of the input."""
        dx, dbranch = self.residual.add_backward(tap("resid_post", dy))
        dbranch = self.mlp.backward(tap("mlp", dbranch), tap.scope("mlp"))
        dx = tap("resid_mid", self.residual.join(dx, dbranch))
        return tap("resid_pre", self.attn_downsample.backward(dx, tap.scope("attn_downsample")))


class Stage(Module):
    """Blocks at one resolution, behind a shrinking block in every stage but the first.

    Parameters
    ----------
    config : LeViTConfig
    stage : int
    grid : TokenGrid
        Of the input.
    rng : numpy.random.Generator
    """

    def __init__(self, config: LeViTConfig, stage: int, grid: TokenGrid, rng: np.random.Generator) -> None:
        self.downsample = Downsample(config, stage, grid, rng) if stage > 0 else None
        self.grid = grid if self.downsample is None else self.downsample.attn_downsample.queries
        """Of the output."""
        self.blocks = [Block(config, stage, self.grid, rng) for _ in range(config.depths[stage])]

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
