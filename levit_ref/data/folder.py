"""A dataset that is a folder of pictures, one folder a class.

Either the split is in the folders,

    root/train/cat/1.jpg    root/test/cat/2.jpg    (or root/val/cat/2.jpg)

or it is made here from root/cat/1.jpg and its like: one picture in five of each class is for the test,
chosen by a hash of its name and its class, the same on every machine and whatever the order of the folder.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from levit_ref.files.errors import FileError

from .dataset import check_indices
from .resize import as_size, fit

DEFAULT_IMAGE_SIZE = 224  # pixels, what the paper's networks take
_TEST_ONE_IN = 5
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class FolderDataset:
    """Picture files, decoded when they are asked for and brought to one size.

    Parameters
    ----------
    files
        N paths
    labels
        Class index of every file, (N,)
    classes
        Names of the classes
    image_size
        H = W, or (H, W): the shorter side is scaled to it and the centre cropped
    """

    def __init__(
        self, files: list[Path], labels: list[int], classes: tuple[str, ...], image_size: int | tuple[int, int]
    ) -> None:
        self._files = tuple(files)
        self._labels = np.asarray(labels, np.int64)  # (N,)
        self._classes = classes
        self._size = as_size(image_size)

    @property
    def files(self) -> tuple[Path, ...]:
        """Path of every picture."""
        return self._files

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every picture, (N,)."""
        return self._labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of every class: the names of the folders, sorted."""
        return self._classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, H, W)``."""
        return 3, *self._size

    def __len__(self) -> int:
        return len(self._files)

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Decode the pictures at `indices`, uint8 (B, 3, H, W); a bad file raises `FileError` with its name."""
        chosen = check_indices(indices, len(self))
        pictures = np.empty((len(chosen), *self.image_shape), np.uint8)
        for place, index in zip(pictures, chosen, strict=True):
            place[...] = read_picture(self._files[index], self._size)
        return pictures


def read_picture(path: str | os.PathLike[str], image_size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Decode one picture file, turned as its EXIF tag says, to uint8 (3, H, W).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileError
        The file is not a picture, or is damaged; the message starts with its name.
    """
    size = as_size(image_size)
    try:
        with Image.open(path) as picture:
            return fit(ImageOps.exif_transpose(picture), size)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can fail inside any decoder, with any exception
        raise FileError(f"{os.fspath(path)}: cannot be read as a picture ({error})") from error


def load_folder(
    data_dir: str | os.PathLike[str], split: str, image_size: int | tuple[int, int] | None = None
) -> FolderDataset:
    """Find the pictures of one split.

    Parameters
    ----------
    data_dir
        The root folder, see the head of this module
    split
        "train" or "test"; the test pictures are in ``test/``, or else in ``val/``
    image_size
        224 by default

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    FileError
        There is no class folder, a class without pictures, or a class of the test that was never trained.
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
        raise FileError(f"{root}: too few pictures to hold one in {_TEST_ONE_IN} back for the test")
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    return FolderDataset([file for file, _ in pairs], [label for _, label in pairs], classes, size)


def _given_split(root: Path, split: str) -> dict[str, list[Path]]:
    """Return the pictures of each class where the folders make the split."""
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
    """Return the sorted picture files of each class folder, classes sorted by name."""
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
    """Return the sorted names of the folders in `folder`, none if that is no folder; hidden ones do not count."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_picture(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")


def _hashed_split(files: list[Path], split: str) -> list[Path]:
    """Return the part of a class that belongs to `split`: a fifth, rounded up unless it is alone, is for the test."""
    count = 0 if len(files) == 1 else -(-len(files) // _TEST_ONE_IN)
    ranked = sorted(files, key=lambda file: hashlib.sha256(f"{file.parent.name}/{file.name}".encode()).digest())
    return sorted(ranked[:count] if split == "test" else ranked[count:])
