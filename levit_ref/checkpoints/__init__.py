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
from levit_ref.checkpoints.formats import FORMATS
from levit_ref.checkpoints.sources import looks_like_a_path
from levit_ref.checkpoints.translate import detect_format, from_format, load_weights, to_format

__all__ = [
    "FORMATS",
    "About",
    "Checkpoint",
    "CheckpointError",
    "Header",
    "detect_format",
    "from_format",
    "load_checkpoint",
    "load_pretrained",
    "load_weights",
    "looks_like_a_path",
    "pack",
    "read_about",
    "read_file",
    "read_header",
    "read_tensors",
    "save_checkpoint",
    "to_format",
    "unpack",
    "write_file",
]
