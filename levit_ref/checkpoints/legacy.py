"""The names from before :class:`Checkpoint`, for callers that have not switched; this file goes with the last."""

from __future__ import annotations

import os
from typing import Any

from levit_ref.checkpoints.about import About
from levit_ref.checkpoints.checkpoint import Checkpoint, load_checkpoint, pack, read_about, save_checkpoint
from levit_ref.nn import LeViT
from levit_ref.preprocessing import Preprocessing

ModelMetadata = About
load_metadata = read_about


def _checkpoint(model: LeViT, mean: Any = (0.0,) * 3, std: Any = (1.0,) * 3, **about: Any) -> Checkpoint:
    return Checkpoint(model, About(Preprocessing(model.image_size, mean, std), **about))


def pack_model(model: LeViT, **about: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """As ``pack``, without the key "model"."""
    tensors, metadata = pack(_checkpoint(model, **about))
    return tensors, metadata["model"]


def save_model(path: str | os.PathLike[str], model: LeViT, *, half: bool = False, **about: Any) -> None:
    """As ``save_checkpoint``."""
    save_checkpoint(_checkpoint(model, **about), path, half=half)


def load_model(path: str | os.PathLike[str]) -> tuple[LeViT, About]:
    """As ``load_checkpoint``."""
    checkpoint = load_checkpoint(path)
    return checkpoint.model, checkpoint.about
