"""Checkpoints: files written atomically, models in them, and the names that other implementations use.

Start with :func:`save_model` and :func:`load_model`; :func:`load_weights` reads other projects' files.
"""

from levit_ref.checkpoints.files import CheckpointError, read_file, read_tensors, write_file
from levit_ref.checkpoints.model import (
    ModelMetadata,
    load_metadata,
    load_model,
    load_weights,
    pack_model,
    save_model,
    unpack_model,
)
from levit_ref.checkpoints.names import detect_scheme, from_timm, to_timm
from levit_ref.checkpoints.schemes import SCHEMES

__all__ = [
    "SCHEMES",
    "CheckpointError",
    "ModelMetadata",
    "detect_scheme",
    "from_timm",
    "load_metadata",
    "load_model",
    "load_weights",
    "pack_model",
    "read_file",
    "read_tensors",
    "save_model",
    "to_timm",
    "unpack_model",
    "write_file",
]
