"""A dataset that is a folder of pictures, with one folder for each class.

Either the folders make the split, ::

    root/train/cat/1.jpg    root/test/cat/2.jpg    (or root/val/cat/2.jpg)

or it is made here from ``root/cat/1.jpg``, ``root/dog/2.jpg`` and so on: of each class, one picture in five is for the
test. It is chosen by a hash of its name and its class, so the choice is the same on every machine, whatever the order
of the files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from levit_ref.data.dataset import Dataset, check_indices, check_labels
from levit_ref.data.records import DatasetRecord, Request
from levit_ref.data.resize import as_preprocessing
from levit_ref.files import FileError
from levit_ref.preprocessing import Preprocessing, read_picture

DEFAULT_IMAGE_SIZE = 224  # pixels, what the paper's networks take
_TEST_ONE_IN = 5
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class FolderDataset(Dataset):
    """Picture files, decoded when they are asked for and brought to one size.

    Parameters
    ----------
    files : sequence of Path
        N picture files.
    labels : array_like of int, shape (N,)
        Class of every file.
    classes : sequence of str
    preprocessing : Preprocessing or int or (int, int)
        Size, crop and interpolation; or H = W, or (H, W), with the centre of the picture scaled to just cover it.

    Attributes
    ----------
    files : tuple of Path
    preprocessing : Preprocessing
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: ArrayLike,
        classes: Sequence[str],
        preprocessing: Preprocessing | int | tuple[int, int],
    ) -> None:
        self.preprocessing = as_preprocessing(preprocessing)
        super().__init__(check_labels(labels, len(classes), count=len(files)), classes, (3, *self.preprocessing.size))
        self.files = tuple(files)

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """The pictures at ``indices``, decoded, uint8 (B, 3, H, W); a bad file raises ``FileError`` with its path."""
        chosen = check_indices(indices, len(self))
        pictures = np.empty((len(chosen), *self.image_shape), np.uint8)
        for place, index in zip(pictures, chosen, strict=True):
            place[...] = read_picture(self.files[index], self.preprocessing)
        return pictures


def _load(request: Request) -> Dataset:
    if request.data_dir is None:
        raise ValueError("folder needs data_dir: a folder with one folder of pictures for each class")
    return load_folder(request.data_dir, request.split, request.preprocessing)


FOLDER = DatasetRecord(
    name="folder",
    help="one folder of pictures for each class",
    mean=(0.485, 0.456, 0.406),  # of ImageNet, and its std
    std=(0.229, 0.224, 0.225),
    load=_load,
    settings={
        "model": "levit_128s",
        "epochs": 100,
        "ema_decay": 0.999,
        "flip": 0.5,
        "brightness": 0.3,
        "contrast": 0.3,
        "saturation": 0.3,
    },
)


def load_folder(
    data_dir: str | os.PathLike[str],
    split: str,
    preprocessing: Preprocessing | int | tuple[int, int] | None = None,
) -> FolderDataset:
    """Find the pictures of one split.

    Parameters
    ----------
    data_dir : path-like
        The root folder, laid out as the head of this module shows.
    split : {"train", "test"}
        The test pictures are in ``test/``, or else in ``val/``.
    preprocessing : Preprocessing or int or (int, int), optional
        Size, crop and interpolation, or the size alone; 224 x 224 by default.

    Returns
    -------
    FolderDataset

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    FileError
        If there is no class folder, a class without pictures, or a test class that is missing in the training.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"data_dir {root} is not a folder")
    if _subfolders(root / "train"):
        chosen = _given_split(root, split)
    else:
        chosen = {name: _hashed_split(files, split) for name, files in _classes(root).items()}
    classes = tuple(_subfolders(root / "train") or chosen)
    pairs = [(file, classes.index(name)) for name, files in chosen.items() for file in files]
    if not pairs:
        raise FileError(f"{root}: too few pictures to set one in {_TEST_ONE_IN} aside for the test")
    size = DEFAULT_IMAGE_SIZE if preprocessing is None else preprocessing
    return FolderDataset([file for file, _ in pairs], [label for _, label in pairs], classes, size)


def _given_split(root: Path, split: str) -> dict[str, list[Path]]:
    """The pictures of each class where the folders make the split."""
    if split == "train":
        return _classes(root / "train")
    held_out = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if held_out is None:
        raise FileError(f"{root}: has train/ but neither test/ nor val/")
    chosen = _classes(held_out)
    unknown = sorted(set(chosen) - set(_subfolders(root / "train")))
    if unknown:
        raise FileError(f"{held_out}: class {', '.join(unknown)} is not in {root / 'train'}")
    return chosen


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The picture files of each class folder, sorted, by class, sorted as well."""
    names = _subfolders(folder)
    if not names:
        raise FileError(f"{folder}: no class folder in it; expected one folder of pictures for each class")
    classes = {}
    for name in names:
        files = sorted(file for file in (folder / name).iterdir() if _is_picture(file))
        if not files:
            raise FileError(f"{folder / name}: no picture in it (known: {', '.join(sorted(_SUFFIXES))})")
        classes[name] = files
    return classes


def _subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, sorted, without hidden ones; none if it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_picture(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")


def _hashed_split(files: list[Path], split: str) -> list[Path]:
    """The files of a class that belong to ``split``: a fifth, rounded up, is for the test; a single one is not."""
    count = 0 if len(files) == 1 else -(-len(files) // _TEST_ONE_IN)
    ranked = sorted(files, key=lambda file: hashlib.sha256(f"{file.parent.name}/{file.name}".encode()).digest())
    return sorted(ranked[:count] if split == "test" else ranked[count:])
