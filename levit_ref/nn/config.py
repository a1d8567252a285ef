"""What describes a network: plain data, of which :class:`levit_ref.nn.LeViT` makes layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from levit_ref.ops import ACTIVATIONS


@dataclass(frozen=True)
class StemConv:
    """One convolution of the stem: output channels and geometry."""

    channels: int
    kernel_size: int = 3
    stride: int = 2
    padding: int = 1


@dataclass(frozen=True)
class LeViTConfig:
    """A variant. Tuples have one entry for each stage, ``downsample_*`` one for each passage between two.

    Attributes
    ----------
    name : str
    embed_dims : tuple of int
        C, channels of a token.
    key_dim : int
        D, of every head in every stage.
    num_heads : tuple of int
    depths : tuple of int
        Blocks (attention and MLP).
    stem : tuple of StemConv
    image_size : int
        What the variant is meant for; a model may be built for another.
    attn_ratio, mlp_ratio : float
        Value channels over key channels, hidden channels over channels.
    downsample_heads : tuple of int
        By default ``embed_dims[i] // key_dim``, as in the paper.
    downsample_attn_ratio, downsample_mlp_ratio : float
    activation, attention_activation : str
        Of stem and MLPs; of the projection behind attention.
    norm : {"batch", "layer"}
    position : {"attention_bias", "embedding"}
    distillation : bool
        Whether there is a second head.
    drop_path : float
        Stochastic depth: how often training leaves a residual branch out of an image.
    """

    name: str
    embed_dims: tuple[int, ...]
    key_dim: int
    num_heads: tuple[int, ...]
    depths: tuple[int, ...]
    stem: tuple[StemConv, ...]
    image_size: int = 224
    attn_ratio: float = 2.0
    mlp_ratio: float = 2.0
    downsample_heads: tuple[int, ...] = ()
    downsample_attn_ratio: float = 4.0
    downsample_mlp_ratio: float = 2.0
    activation: str = "hardswish"
    attention_activation: str = "hardswish"
    norm: str = "batch"
    position: str = "attention_bias"
    distillation: bool = True
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if not self.downsample_heads:
            object.__setattr__(self, "downsample_heads", tuple(c // self.key_dim for c in self.embed_dims[:-1]))
        stages = len(self.embed_dims)
        for what, values, expected in (
            ("num_heads", self.num_heads, stages),
            ("depths", self.depths, stages),
            ("downsample_heads", self.downsample_heads, stages - 1),
        ):
            if len(values) != expected or not all(v > 0 for v in values):
                raise ValueError(f"{self.name}: {what} must be {expected} positive numbers, got {values}")
        if not self.stem or self.stem[-1].channels != self.embed_dims[0]:
            raise ValueError(f"{self.name}: the stem must end with {self.embed_dims[0]} channels, got {self.stem}")
        for what, value, allowed in (
            ("activation", self.activation, ACTIVATIONS),
            ("attention_activation", self.attention_activation, ACTIVATIONS),
            ("norm", self.norm, ("batch", "layer")),
            ("position", self.position, ("attention_bias", "embedding")),
        ):
            if value not in allowed:
                raise ValueError(f"{self.name}: {what} must be one of {', '.join(allowed)}, got {value!r}")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"{self.name}: drop_path must be at least 0 and below 1, got {self.drop_path}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data (for JSON, say), from which :meth:`from_dict` makes the same configuration."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LeViTConfig:
        """The configuration that :meth:`to_dict` made ``data`` of, also after a way through JSON."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"LeViTConfig: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        values["stem"] = tuple(StemConv(**conv) for conv in data["stem"])
        return cls(**values)
