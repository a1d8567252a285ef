"""Checkpoint files: safetensors with one JSON document as metadata, written atomically.

A safetensors file is a JSON header followed by the raw bytes of the arrays: no code can hide in it, and every
float comes back with the bits it went in with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from levit_ref.files import FileError, replacing

METADATA_KEY = "levit_ref"
"""The one key of the safetensors metadata; its value is a JSON document. With several keys, files of the same content
would differ from run to run, since safetensors writes them in the order of a hash map."""


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
    # safetensors reads an array's memory from its start, without looking at its strides
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    content = save(contiguous, metadata={METADATA_KEY: document})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@dataclass(frozen=True)
class Header:
    """What a file says about itself before its arrays.

    Attributes
    ----------
    metadata : dict
        As given to :func:`write_file`.
    shapes : dict of str to tuple of int
        Of every array, by name.
    """

    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what stands before the arrays of a file that :func:`write_file` wrote, and none of the arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a safetensors file, is cut short, or has no metadata of this package.
    """
    with _opened(path) as file:
        return _header(file, path)


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read a file that :func:`write_file` wrote.

    Returns
    -------
    tensors : dict of str to ndarray
        Fresh, writable arrays.
    metadata : dict

    Raises
    ------
    FileNotFoundError, CheckpointError
        As :func:`read_header`.
    """
    with _opened(path) as file:
        metadata = _header(file, path).metadata
        return _tensors(file), metadata


def read_tensors(path: str | os.PathLike[str], prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of any safetensors file, whoever wrote it.

    Parameters
    ----------
    path : path-like
    prefix : str
        Read only the arrays whose names start so.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a safetensors file or is cut short.
    """
    with _opened(path) as file:
        return _tensors(file, prefix)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, expected a .safetensors file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint file")
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file, or one that was cut short ({error})") from error
    except TypeError as error:  # an array of a dtype that NumPy does not have, such as bfloat16
        raise CheckpointError(f"{path}: holds an array that NumPy cannot represent ({error})") from error


def _header(file: Any, path: str | os.PathLike[str]) -> Header:
    raw = file.metadata() or {}
    if METADATA_KEY not in raw:
        raise CheckpointError(
            f"{path}: a safetensors file, but without the metadata of a levit_ref checkpoint; "
            f"weights of other projects are read by load_weights"
        )
    try:
        metadata = json.loads(raw[METADATA_KEY])
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and lists in lists in lists
        raise CheckpointError(f"{path}: the metadata is not JSON, or is damaged: {error}") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: the metadata is a JSON {type(metadata).__name__}, expected an object")
    names = file.keys()  # the file object is no mapping
    return Header(metadata, {name: tuple(file.get_slice(name).get_shape()) for name in names})


def _tensors(file: Any, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    names = file.keys()
    return {name: np.array(file.get_tensor(name)) for name in names if name.startswith(prefix)}
