"""Small networks and random weights for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from levit_ref.nn import LeViT, LeViTConfig, Module, StemConv

TINY = LeViTConfig(
    "tiny",
    embed_dims=(8, 12),
    key_dim=4,
    num_heads=(2, 3),
    depths=(1, 2),
    stem=(StemConv(4), StemConv(8)),
    image_size=16,
    activation="silu",
    attention_activation="silu",
)
"""Two stages, 4 pixels to a token. Smooth activations: finite differences may step anywhere."""


def tiny(image_size: int | tuple[int, int] = 16, *, dtype: type = np.float64, **changes: object) -> LeViT:
    """A model of :data:`TINY` with five classes, random weights included where the initial ones are 0."""
    model = LeViT(replace(TINY, **changes), num_classes=5, image_size=image_size, dtype=dtype)
    randomise(model, np.random.default_rng(3))
    return model


def randomise(module: Module, rng: np.random.Generator) -> None:
    """Move norms, biases, tables and statistics away from their initial zeros and ones."""
    for _, parameter in module.named_parameters():
        parameter.data = parameter.data + rng.uniform(-0.4, 0.4, parameter.shape)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer += rng.uniform(-0.4, 0.4, buffer.shape)
        elif name.endswith("running_var"):
            buffer *= rng.uniform(0.5, 1.5, buffer.shape)
