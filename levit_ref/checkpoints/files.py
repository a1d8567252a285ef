"""Checkpoint files: safetensors with one JSON document as metadata, written atomically.

A safetensors file is a JSON header followed by the raw bytes of the arrays: no code can hide in it, and every
float comes back with the bits it went in with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from levit_ref.files import FileError, replacing

METADATA_KEY = "levit_ref"
"""The one key of the safetensors metadata: under it lies a JSON document. One key, because files with several
would differ from run to run (their order is that of a hash map)."""


class CheckpointError(FileError):
    """A checkpoint file is damaged or is not what it should be; the message starts with the file."""


def write_file(
    path: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and metadata to ``path``, atomically.

    Parameters
    ----------
    path : path-like
        File to create or replace.
    tensors : mapping of str to ndarray
        Any float, integer or bool dtype that safetensors knows; any memory layout, 0-d arrays included.
    metadata : mapping
        Anything that JSON can hold.

    Raises
    ------
    TypeError
        If an array has another dtype.
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the file cannot be written, e.g. on a full disk; ``path`` is then as it was.
    """
    for name, array in tensors.items():
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{path}: {name} has dtype {array.dtype}; a checkpoint holds floats, integers and bools")
    document = json.dumps(metadata)
    # safetensors reads the memory behind an array without looking at its strides
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    content = save(contiguous, metadata={METADATA_KEY: document})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read a file that :func:`write_file` wrote.

    Returns
    -------
    tensors : dict of str to ndarray
        Fresh, writable arrays.
    metadata : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a safetensors file, is cut short, or has no metadata of this package.
    """
    tensors, raw = _read(path)
    if METADATA_KEY not in raw:
        raise CheckpointError(
            f"{path}: a safetensors file, but without the metadata of a levit_ref checkpoint; "
            f"weights of other projects are read by load_weights"
        )
    try:
        metadata = json.loads(raw[METADATA_KEY])
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: the metadata is not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: the metadata is a JSON {type(metadata).__name__}, expected an object")
    return tensors, metadata


def read_tensors(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of any safetensors file, whoever wrote it; errors as in :func:`read_file`."""
    return _read(path)[0]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, expected a .safetensors file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint file")
    try:
        with safe_open(path, framework="np") as file:
            names = file.keys()  # the file object is no mapping
            tensors = {name: np.array(file.get_tensor(name)) for name in names}
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file, or one that was cut short ({error})") from error
    except TypeError as error:  # an array of a dtype that NumPy does not have, such as bfloat16
        raise CheckpointError(f"{path}: holds an array that NumPy cannot represent ({error})") from error
