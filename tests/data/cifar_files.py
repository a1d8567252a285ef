"""Write small CIFAR sets: as Python 2 wrote the official ones, or as people write them with Python 3."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
Dumps = Callable[[Any], bytes]


class _Python2Pickler(pickle._Pickler):
    """Writes `bytes` with the opcodes of a Python 2 `str`."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_python2_str(self, obj: bytes) -> None:
        short = len(obj) < 256
        self.write(b"U" + struct.pack("<B", len(obj)) if short else b"T" + struct.pack("<i", len(obj)))
        self.write(obj)
        self.memoize(obj)

    dispatch[bytes] = save_python2_str


def python2_dumps(content: Any) -> bytes:
    """Pickle as Python 2 with an old NumPy did: protocol 2, byte strings, `numpy.core`."""
    out = io.BytesIO()
    _Python2Pickler(out, protocol=2).dump(_as_bytes(content))
    return out.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _as_bytes(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, dict):
        return {_as_bytes(key): _as_bytes(value) for key, value in content.items()}
    return [_as_bytes(item) for item in content] if isinstance(content, list) else content


def python3_dumps(content: Any) -> bytes:
    """Pickle as people do today."""
    return pickle.dumps(content, protocol=4)


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """Random rows of bytes, (count, 3072)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def cifar10_contents(count: int = 4, names: list[str] = CIFAR10_NAMES) -> dict[str, dict[str, Any]]:
    """The dictionaries of a CIFAR-10 folder with `count` pictures in each file."""
    contents: dict[str, dict[str, Any]] = {}
    for k, file in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        labels = [(k + i) % len(names) for i in range(count)]
        contents[file] = {"batch_label": file, "labels": labels, "data": pictures(count, k), "filenames": ["a"] * count}
    contents["batches.meta"] = {"num_cases_per_batch": count, "label_names": names, "num_vis": 3072}
    return contents


def cifar100_contents(count: int = 8) -> dict[str, dict[str, Any]]:
    """The dictionaries of a CIFAR-100 folder."""
    contents: dict[str, dict[str, Any]] = {}
    for k, file in enumerate(["train", "test"]):
        fine = [(37 * i + k) % 100 for i in range(count)]
        contents[file] = {"fine_labels": fine, "coarse_labels": [f // 5 for f in fine], "data": pictures(count, k)}
    contents["meta"] = {
        "fine_label_names": [f"fine {k}" for k in range(100)],
        "coarse_label_names": [f"coarse {k}" for k in range(20)],
    }
    return contents


def write_folder(folder: Path, contents: dict[str, dict[str, Any]], dumps: Dumps = python2_dumps) -> Path:
    """Write one file for each dictionary."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(dumps(content))
    return folder


def write_tar(path: Path, contents: dict[str, dict[str, Any]], dumps: Dumps = python2_dumps, folder: str = "") -> Path:
    """Write a tar.gz with one member for each dictionary, in `folder`."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            add_member(tar, folder + name, dumps(content))
    return path


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an archive under any name whatever."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
