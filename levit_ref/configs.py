"""Every variant of LeViT as data: the paper's five, the later public ones, the small-image family, and the ablations.

A name says what a variant is: ``levit_128s`` as in the paper; ``levit_1m_32px`` has about one million parameters and is
for pictures of 32x32 pixels; ``levit_128s_a5_no_attention_bias`` is the paper's ablation A5 of LeViT-128S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref._suggest import did_you_mean
from levit_ref.nn import LeViT, LeViTConfig, StemConv


def _stem(*channels: int) -> tuple[StemConv, ...]:
    return tuple(StemConv(c) for c in channels)


def _stem16(C: int) -> tuple[StemConv, ...]:
    """Four convolutions, 16 pixels to a token: the paper's."""
    return _stem(C // 8, C // 4, C // 2, C)


def _stem8(C: int) -> tuple[StemConv, ...]:
    """Three convolutions, 8 pixels to a token."""
    return _stem(C // 4, C // 2, C)


def _stem4(full: int, half: int, C: int) -> tuple[StemConv, ...]:
    """Three convolutions, the first at full resolution, 4 pixels to a token: for small pictures."""
    return StemConv(full, stride=1), StemConv(half), StemConv(C)


def _paper() -> list[LeViTConfig]:
    """List the family of the paper's section 4.3."""
    return [
        LeViTConfig("levit_128s", (128, 256, 384), 16, (4, 6, 8), (2, 3, 4), _stem16(128)),
        LeViTConfig("levit_128", (128, 256, 384), 16, (4, 8, 12), (4, 4, 4), _stem16(128)),
        LeViTConfig("levit_192", (192, 288, 384), 32, (3, 5, 6), (4, 4, 4), _stem16(192)),
        LeViTConfig("levit_256", (256, 384, 512), 32, (4, 6, 8), (4, 4, 4), _stem16(256)),
        LeViTConfig("levit_384", (384, 512, 768), 32, (6, 9, 12), (4, 4, 4), _stem16(384), drop_path=0.1),
    ]


def _later() -> list[LeViTConfig]:
    """Variants that came after the paper and are public in timm: wider or deeper, with SiLU, no weights.

    One head, but for the first: there timm leaves the second one on.
    """
    rows = [
        ("levit_384_s8", (384, 512, 768), 32, (6, 9, 12), (4, 4, 4), _stem8(384)),
        ("levit_512_s8", (512, 640, 896), 64, (8, 10, 14), (4, 4, 4), _stem8(512)),
        ("levit_512", (512, 768, 1024), 64, (8, 12, 16), (4, 4, 4), _stem16(512)),
        ("levit_256d", (256, 384, 512), 32, (4, 6, 8), (4, 8, 6), _stem16(256)),
        ("levit_512d", (512, 640, 768), 64, (8, 10, 12), (4, 8, 6), _stem16(512)),
    ]
    silu: dict[str, Any] = {"activation": "silu", "attention_activation": "silu"}
    return [LeViTConfig(*row, **silu, distillation=row[0] == "levit_384_s8") for row in rows]


def _small() -> list[LeViTConfig]:
    """For pictures of 32x32 pixels: 4 pixels to a token, 8x8 tokens, one head."""
    small: dict[str, Any] = {"image_size": 32, "distillation": False}
    return [
        LeViTConfig("levit_250k_32px", (64, 96), 16, (4, 6), (1, 1), _stem4(16, 32, 64), **small),
        LeViTConfig("levit_1m_32px", (64, 96, 144), 16, (4, 6, 8), (2, 2, 2), _stem4(32, 64, 64), **small),
        LeViTConfig("levit_3m_32px", (96, 160, 256), 16, (4, 6, 8), (2, 3, 3), _stem4(24, 48, 96), **small),
        LeViTConfig("levit_128s_32px", (128, 256, 384), 16, (4, 6, 8), (2, 3, 4), _stem(64, 128), **small),
    ]


@dataclass(frozen=True)
class _AblationWidths:
    """Numbers of the two ablations that change widths, chosen so that the multiply-adds stay near the base's."""

    flat: tuple[int, int, int]  # A1: key_dim, heads, depth; C = 2 heads key_dim
    plain: tuple[int, tuple[int, ...]]  # A6: key_dim, heads of each stage; C = heads key_dim


def _ablations(base: LeViTConfig, widths: _AblationWidths) -> list[LeViTConfig]:
    """Build A1 to A7 (the paper's section 5.6 and appendix A.2) for one variant."""
    flat_dim, flat_heads, flat_depth = widths.flat
    flat_C = 2 * flat_heads * flat_dim
    plain_dim, plain_heads = widths.plain
    plain_C = tuple(plain_dim * heads for heads in plain_heads)

    def stem(C: int) -> tuple[StemConv, ...]:
        """Build the base's stem for another number of channels."""
        return tuple(replace(conv, channels=C * conv.channels // base.embed_dims[0]) for conv in base.stem)

    pixels = math.prod(conv.stride for conv in base.stem)  # of a token, along one axis
    patches = StemConv(base.embed_dims[0], kernel_size=pixels, stride=pixels, padding=0)
    changes: dict[str, dict[str, Any]] = {
        "a1_no_pyramid": {
            "embed_dims": (flat_C,),
            "key_dim": flat_dim,
            "num_heads": (flat_heads,),
            "depths": (flat_depth,),
            "downsample_heads": (),
            "stem": stem(flat_C),
        },
        "a2_no_conv_stem": {"stem": (patches,)},
        "a3_layer_norm": {"norm": "layer"},
        "a4_no_distillation": {"distillation": False},
        "a5_no_attention_bias": {"position": "embedding"},
        "a6_plain_width": {
            "embed_dims": plain_C,
            "key_dim": plain_dim,
            "num_heads": plain_heads,
            "downsample_heads": tuple(4 * heads for heads in plain_heads[:-1]),
            "stem": stem(plain_C[0]),
            "attn_ratio": 1.0,
            "mlp_ratio": 4.0,
            "downsample_attn_ratio": 1.0,
            "downsample_mlp_ratio": 4.0,
        },
        "a7_no_attention_activation": {"attention_activation": "identity"},
    }
    return [replace(base, name=f"{base.name}_{name}", **change) for name, change in changes.items()]


def _variants() -> dict[str, LeViTConfig]:
    variants = {config.name: config for config in (*_paper(), *_later(), *_small())}
    for name, widths in {
        "levit_128s": _AblationWidths(flat=(19, 3, 11), plain=(30, (4, 6, 8))),
        "levit_250k_32px": _AblationWidths(flat=(17, 2, 3), plain=(20, (3, 4))),
        "levit_1m_32px": _AblationWidths(flat=(10, 3, 8), plain=(20, (3, 4, 6))),
        "levit_3m_32px": _AblationWidths(flat=(14, 3, 10), plain=(26, (3, 5, 7))),
        "levit_128s_32px": _AblationWidths(flat=(19, 3, 11), plain=(30, (4, 6, 8))),
    }.items():
        variants |= {config.name: config for config in _ablations(variants[name], widths)}
    return variants


VARIANTS: dict[str, LeViTConfig] = _variants()
"""All variants by name."""


def list_models(pattern: str = "") -> list[str]:
    """Names of all variants that contain ``pattern``."""
    return [name for name in VARIANTS if pattern in name]


def get_config(name: str) -> LeViTConfig:
    """The configuration of a variant.

    Raises
    ------
    ValueError
        If there is no such variant; it names the nearest ones.
    """
    if name not in VARIANTS:
        hint = did_you_mean(name, VARIANTS) or "; levit_ref.list_models() has all names"
        raise ValueError(f"there is no model {name!r}{hint}")
    return VARIANTS[name]


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    image_size: int | tuple[int, int] | None = None,
    distillation: bool | None = None,
    drop_path: float | None = None,
    seed: int | None = 0,
    dtype: npt.DTypeLike = np.float32,
) -> LeViT:
    """Build a variant with fresh weights, in training mode.

    Parameters
    ----------
    name : str
        One of :func:`list_models`.
    num_classes : int
    image_size : int or (int, int), optional
        Rows and columns; by default what the variant is meant for.
    distillation : bool, optional
        Whether to have a second head; by default as the variant has it.
    drop_path : float, optional
        Stochastic depth; by default as the variant has it.
    seed : int or None
        Of the weights. The same seed gives the same weights on every machine, rounded to ``dtype``. None draws nothing:
        the weights are zeros, to be read from a file.
    dtype : dtype

    Returns
    -------
    model : LeViT

    Raises
    ------
    ValueError
        If there is no such variant or a value is out of range.

    Examples
    --------
    >>> model = create_model("levit_256", num_classes=1000, image_size=224).eval()
    >>> model(np.zeros((1, 3, 224, 224), np.float32)).shape
    (1, 1000)
    """
    config = get_config(name)
    if distillation is not None:
        config = replace(config, distillation=distillation)
    if drop_path is not None:
        config = replace(config, drop_path=drop_path)
    return LeViT(
        config,
        num_classes=num_classes,
        image_size=config.image_size if image_size is None else image_size,
        seed=seed,
        dtype=dtype,
    )
