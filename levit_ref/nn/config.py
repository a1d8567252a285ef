"""What describes a network: plain data, from which :class:`levit_ref.nn.LeViT` makes layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from levit_ref.ops import ACTIVATIONS

LARGEST = 2**31
"""No number of a configuration is as large; a file may claim anything."""


@dataclass(frozen=True)
class StemConv:
    """One convolution of the stem: output channels and geometry."""

    channels: int
    kernel_size: int = 3
    stride: int = 2
    padding: int = 1

    def __post_init__(self) -> None:
        if not (_is_count(self.channels) and _is_count(self.kernel_size) and _is_count(self.stride)):
            raise ValueError(f"StemConv: channels, kernel_size and stride must be positive numbers, got {self}")
        if not (self.padding == 0 or _is_count(self.padding)):
            raise ValueError(f"StemConv: padding must be a number, at least 0, got {self}")


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
        Of stem and MLPs; of the projection after attention.
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
        self._check_numbers()
        if not self.downsample_heads:
            object.__setattr__(self, "downsample_heads", tuple(c // self.key_dim for c in self.embed_dims[:-1]))
        stages = len(self.embed_dims)
        for what, values, expected in (
            ("num_heads", self.num_heads, stages),
            ("depths", self.depths, stages),
            ("downsample_heads", self.downsample_heads, stages - 1),
        ):
            if not isinstance(values, tuple) or len(values) != expected or not all(_is_count(v) for v in values):
                raise ValueError(f"{self.name}: {what} must be {expected} positive numbers, got {values}")
        if not self.stem or self.stem[-1].channels != self.embed_dims[0]:
            raise ValueError(f"{self.name}: the stem must end with {self.embed_dims[0]} channels, got {self.stem}")
        for what, value, allowed in (
            ("activation", self.activation, ACTIVATIONS),
            ("attention_activation", self.attention_activation, ACTIVATIONS),
            ("norm", self.norm, ("batch", "layer")),
            ("position", self.position, ("attention_bias", "embedding")),
        ):
            if not isinstance(value, str) or value not in allowed:
                raise ValueError(f"{self.name}: {what} must be one of {', '.join(allowed)}, got {value!r}")
        if not isinstance(self.distillation, bool):
            raise ValueError(f"{self.name}: distillation must be True or False, got {self.distillation!r}")
        if not (_is_number(self.drop_path) and 0 <= self.drop_path < 1):
            raise ValueError(f"{self.name}: drop_path must be at least 0 and below 1, got {self.drop_path!r}")

    def _check_numbers(self) -> None:
        """The numbers that sizes are computed from."""
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a string, got {self.name!r}")
        dims = self.embed_dims
        if not isinstance(dims, tuple) or not dims or not all(map(_is_count, dims)):
            raise ValueError(f"{self.name}: embed_dims must be positive numbers, got {dims!r}")
        for what in "key_dim", "image_size":
            if not _is_count(getattr(self, what)):
                raise ValueError(f"{self.name}: {what} must be a positive number, got {getattr(self, what)!r}")
        for what, width in (
            ("attn_ratio", self.key_dim),
            ("downsample_attn_ratio", self.key_dim),
            ("mlp_ratio", min(dims)),
            ("downsample_mlp_ratio", min(dims)),
        ):
            ratio = getattr(self, what)
            if not _is_number(ratio) or width * ratio < 1:
                raise ValueError(f"{self.name}: {what} must leave at least one channel, got {ratio!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data (for JSON, say), from which :meth:`from_dict` makes the same configuration."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LeViTConfig:
        """The configuration that :meth:`to_dict` made ``data`` of, also after a way through JSON."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"LeViTConfig: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if missing := sorted(needed - set(data)):
            raise ValueError(f"LeViTConfig: missing keys {', '.join(missing)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        if not isinstance(values["stem"], tuple) or not all(isinstance(conv, Mapping) for conv in values["stem"]):
            raise ValueError(f"LeViTConfig: stem must be a list of convolutions, got {values['stem']!r}")
        try:
            values["stem"] = tuple(StemConv(**conv) for conv in values["stem"])
        except TypeError as error:  # a key that is missing or unknown
            raise ValueError(f"LeViTConfig: stem: {error}") from None
        return cls(**values)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST
