"""CIFAR-10 and CIFAR-100 in their official python layout (https://www.cs.toronto.edu/~kriz/cifar.html).

A set is a folder of pickled dictionaries. CIFAR-10 has ``data_batch_1`` to ``data_batch_5`` and ``test_batch``, with
``data``, uint8 (n, 3072), and ``labels``; the class names are in ``batches.meta``. CIFAR-100 has ``train``, ``test``
and ``meta``, with ``fine_labels``. A row of ``data`` is a picture: its red plane, then green, then blue, each of 32
rows of 32 pixels.

Files that people write themselves are as welcome as the official ones: ``str`` or ``bytes`` keys, any pickle protocol,
any number of pictures, any class names, labels in a list or an array.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levit_ref.data.dataset import ArrayDataset, Dataset, check_labels
from levit_ref.data.records import DatasetRecord, Request
from levit_ref.files import FileError, as_text, fetch, load_pickled_dict, read_files

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz"
_SIDE = 32  # pixels
_ROW = 3 * _SIDE * _SIDE  # bytes of a picture


@dataclass(frozen=True)
class _Layout:
    """Names and keys of the files of one CIFAR set."""

    folder: str
    archive: str
    md5: str  # of the official archive
    splits: dict[str, tuple[str, ...]]
    meta: str
    labels_key: str
    classes_key: str


_LAYOUTS = {
    "cifar10": _Layout(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        splits={"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)},
        meta="batches.meta",
        labels_key="labels",
        classes_key="label_names",
    ),
    "cifar100": _Layout(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        splits={"train": ("train",), "test": ("test",)},
        meta="meta",
        labels_key="fine_labels",
        classes_key="fine_label_names",
    ),
}


_AUGMENTATION = {"crop_padding": 4, "crop_fill": "reflect", "flip": 0.5}  # cutout pays in long runs only


def _loader(name: str) -> Callable[[Request], Dataset]:
    def load(request: Request) -> Dataset:
        url = OFFICIAL_URL if request.base_url is None else request.base_url
        whole = load_cifar(name, request.split, request.data_dir, download=request.download, base_url=url)
        return request.fitted(whole)

    return load


CIFAR10 = DatasetRecord(
    name="cifar10",
    help="photographs of 10 classes",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    load=_loader("cifar10"),
    settings={"model": "levit_1m_32px", "epochs": 30, "ema_decay": 0.999, **_AUGMENTATION},
)

CIFAR100 = DatasetRecord(
    name="cifar100",
    help="photographs of 100 classes",
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    load=_loader("cifar100"),
    settings={"model": "levit_1m_32px", "epochs": 60, "ema_decay": 0.999, **_AUGMENTATION},
)


def load_cifar(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    base_url: str = OFFICIAL_URL,
) -> ArrayDataset:
    """Read one split of CIFAR into memory.

    Parameters
    ----------
    name : {"cifar10", "cifar100"}
        For "cifar100" the labels are the 100 fine ones.
    split : {"train", "test"}
    data_dir : path-like, optional
        The folder of the batches, the folder that holds it, the tar.gz, or the folder that holds the tar.gz. Its
        content is checked, but not its checksum: it may be a copy of your own. By default, the official archive in the
        cache folder (:func:`levit_ref.files.cache_dir`), whose checksum is checked as well.
    download : bool
        Whether a missing official archive may be downloaded.
    base_url : str
        The folder on the server to download from.

    Returns
    -------
    dataset : ArrayDataset
        Pictures (N, 3, 32, 32), in the order of the files.

    Raises
    ------
    FileNotFoundError
        If the files are not there, or (``DownloadError``) cannot be downloaded.
    FileError
        If a file is truncated or damaged, or its content is not of this layout; the message starts with its path.
    """
    if name not in _LAYOUTS:
        raise ValueError(f"name must be one of {', '.join(_LAYOUTS)}, got {name!r}")
    layout = _LAYOUTS[name]
    if split not in layout.splits:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if data_dir is None:
        place = fetch(f"{base_url.rstrip('/')}/{layout.archive}", f"md5:{layout.md5}", download=download)
    else:
        place = _find(Path(data_dir).expanduser(), layout)
    return _read_split(place, layout, layout.splits[split])


def _find(data_dir: Path, layout: _Layout) -> Path:
    """The folder of batches, or the archive, that ``data_dir`` stands for."""
    if data_dir.is_file() or (data_dir / layout.meta).is_file():
        return data_dir
    if (data_dir / layout.folder).is_dir():
        return data_dir / layout.folder
    if (data_dir / layout.archive).is_file():
        return data_dir / layout.archive
    if not data_dir.exists():
        raise FileNotFoundError(f"data_dir {data_dir} does not exist")
    raise FileNotFoundError(f"data_dir {data_dir} holds none of {layout.meta}, {layout.folder}/, {layout.archive}")


def _read_split(place: Path, layout: _Layout, batches: tuple[str, ...]) -> ArrayDataset:
    contents: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, source, blob in read_files(place, (*batches, layout.meta)):
        contents[name] = source, load_pickled_dict(blob, source)
    classes = _class_names(*contents[layout.meta], layout.classes_key)
    parts = [_pictures(*contents[name], layout.labels_key, len(classes)) for name in batches]
    images = np.concatenate([pictures for pictures, _ in parts])  # (N, 3072)
    labels = np.concatenate([labels for _, labels in parts])  # (N,)
    if not len(images):
        raise FileError(f"{place}: holds no pictures in {', '.join(batches)}")
    return ArrayDataset(images.reshape(-1, 3, _SIDE, _SIDE), labels, classes)


def _class_names(source: str, meta: dict[str, Any], key: str) -> tuple[str, ...]:
    names = _value(source, meta, key)
    if not isinstance(names, (list, tuple)) or not names:
        raise FileError(f"{source}: {key!r} must be a list of class names, got {type(names).__name__}")
    classes = tuple(as_text(name, source) for name in names)
    if len(set(classes)) != len(classes):
        raise FileError(f"{source}: {key!r} names a class twice")
    return classes


def _pictures(
    source: str, batch: dict[str, Any], labels_key: str, n_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures, uint8 (n, 3072), and labels, int64 (n,), of one file."""
    data = _value(source, batch, "data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _ROW:
        got = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise FileError(f"{source}: 'data' must be a uint8 array of shape (n, {_ROW}), got {got}")
    labels = _value(source, batch, labels_key)
    is_flat = isinstance(labels, (list, tuple)) and all(isinstance(label, (int, float, np.number)) for label in labels)
    if not (is_flat or isinstance(labels, np.ndarray)):  # nested lists that share their parts could be of any size
        raise FileError(f"{source}: {labels_key!r}: labels must be a list or an array of integers")
    try:
        return data, check_labels(labels, n_classes, count=len(data))
    except (TypeError, ValueError) as error:
        raise FileError(f"{source}: {labels_key!r}: {error}") from error


def _value(source: str, content: dict[str, Any], key: str) -> Any:
    if key not in content:
        keys = [repr(name) for name in list(content)[:10]] + ["..."] * (len(content) > 10)
        raise FileError(f"{source}: no {key!r} in it, only {', '.join(keys) or 'nothing'}")
    return content[key]
