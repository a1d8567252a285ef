"""Checkpoints: a model with what is known about it as one value, its file, and the files of other implementations.

Start with :func:`load_checkpoint` and :func:`save_checkpoint`; :func:`load_weights` reads other projects' files.
"""

from levit_ref.checkpoints.about import About
from levit_ref.checkpoints.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_pretrained,
    pack,
    read_about,
    save_checkpoint,
    unpack,
)
from levit_ref.checkpoints.files import CheckpointError, Header, read_file, read_header, read_tensors, write_file
from levit_ref.checkpoints.legacy import ModelMetadata, load_metadata, load_model, pack_model, save_model
from levit_ref.checkpoints.names import detect_scheme, from_timm, load_weights, to_timm
from levit_ref.checkpoints.schemes import SCHEMES

__all__ = [
    "SCHEMES",
    "About",
    "Checkpoint",
    "CheckpointError",
    "Header",
    "ModelMetadata",
    "detect_scheme",
    "from_timm",
    "load_checkpoint",
    "load_metadata",
    "load_model",
    "load_pretrained",
    "load_weights",
    "pack",
    "pack_model",
    "read_about",
    "read_file",
    "read_header",
    "read_tensors",
    "save_checkpoint",
    "save_model",
    "to_timm",
    "unpack",
    "write_file",
]
