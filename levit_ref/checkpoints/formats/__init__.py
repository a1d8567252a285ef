"""How the same LeViT is named in public implementations: one module for each.

================  ==========================================  ==========================================================
format            from                                        example
================  ==========================================  ==========================================================
``timm``          timm; this package has the same names       ``stages.0.blocks.0.attn.qkv.linear.weight``
``native``        a checkpoint file of this package           ``model.stages.0.blocks.0.attn.qkv.linear.weight``
``official``      facebookresearch/LeViT                      ``blocks.0.m.qkv.c.weight``
``transformers``  Hugging Face transformers                   ``levit.encoder.stages.0.layers.0.module.``
                                                              ``queries_keys_values.linear.weight``
================  ==========================================  ==========================================================

To add one, write a module with the two functions of :class:`Format` and add it to :data:`FORMATS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from levit_ref.checkpoints.formats import native, official, timm, transformers
from levit_ref.nn import LeViTConfig


class Format(Protocol):
    """What a module of this package offers."""

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether some of these names are of the format."""

    def name_of(self, name: str, config: LeViTConfig) -> str:
        """What an array that this package calls ``name`` is called in the format."""


FORMATS: dict[str, Format] = {
    "timm": timm,
    "native": native,
    "official": official,
    "transformers": transformers,
}
"""By name."""
