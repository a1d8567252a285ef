"""The published parameters and multiply-adds of the five variants of the paper.

Source: B. Graham et al., "LeViT: a Vision Transformer in ConvNet's Clothing for Faster Inference", ICCV 2021,
arXiv 2104.01136v2; the README of github.com/facebookresearch/LeViT has the same figures, some rounded further.
"""

from __future__ import annotations

from dataclasses import dataclass

NUM_CLASSES = 1000
IMAGE_SIZE = (224, 224)
"""The task that the figures are of."""


@dataclass(frozen=True)
class PublishedCost:
    """A row of the published table."""

    parameters: float
    macs: float
    """Multiply-adds for one image; both publications call them FLOPs."""


PUBLISHED: dict[str, PublishedCost] = {
    "levit_128s": PublishedCost(parameters=7.8e6, macs=305e6),
    "levit_128": PublishedCost(parameters=9.2e6, macs=406e6),
    "levit_192": PublishedCost(parameters=10.9e6, macs=658e6),
    "levit_256": PublishedCost(parameters=18.9e6, macs=1120e6),
    "levit_384": PublishedCost(parameters=39.1e6, macs=2353e6),
}
"""By name of the variant."""
