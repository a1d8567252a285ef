"""What a dataset is to the rest of the package: labels, class names, and batches of uint8 pictures.

Every reader of this package returns an object of the `Dataset` protocol.  Axes: N pictures in the
dataset, B pictures in a batch, H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Dataset(Protocol):
    """A finite collection of labelled RGB pictures of one size."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every picture, (N,), each in ``range(len(classes))``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of every class, in the order of the labels."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, H, W)``, the shape of each picture."""

    def __len__(self) -> int:
        """Return the number of pictures, N."""

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the pictures at `indices`, (B,), as a fresh uint8 array (B, 3, H, W).

        Safe to call from several threads at once.  Raises `IndexError` for an index outside
        ``range(N)`` and `FileError` for a picture that cannot be read.
        """


class ArrayDataset:
    """Pictures that are held in memory.

    Parameters
    ----------
    images
        uint8 array, (N, 3, H, W)
    labels
        Integer array or sequence, (N,)
    classes
        Names of the K classes; every label is in ``range(K)``

    Raises
    ------
    TypeError
        `images` is not uint8, or `labels` are not integers.
    ValueError
        A shape is wrong, the lengths differ, or a label is out of range.
    """

    def __init__(self, images: NDArray[np.uint8], labels: ArrayLike, classes: Sequence[str]) -> None:
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise TypeError(f"images must be a uint8 array, got {getattr(images, 'dtype', type(images).__name__)}")
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must have shape (N, 3, H, W), got {images.shape}")
        self._images = images
        self._labels = check_labels(labels, len(images), len(classes))
        self._classes = tuple(classes)

    @property
    def images(self) -> NDArray[np.uint8]:
        """All pictures, (N, 3, H, W); the array itself, not a copy."""
        return self._images

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every picture, (N,)."""
        return self._labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of every class."""
        return self._classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, H, W)``."""
        _, channels, height, width = self._images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return a copy of the pictures at `indices`, uint8 (B, 3, H, W)."""
        return self._images[check_indices(indices, len(self))]


class Subset:
    """Some pictures of another dataset, in the order of `indices`, with the same classes."""

    def __init__(self, dataset: Dataset, indices: ArrayLike) -> None:
        self._dataset = dataset
        self._indices = check_indices(indices, len(dataset))  # (N,)
        self._labels = dataset.labels[self._indices]  # (N,)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every picture, (N,)."""
        return self._labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the whole dataset."""
        return self._dataset.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, H, W)``."""
        return self._dataset.image_shape

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the pictures at `indices` of the subset, uint8 (B, 3, H, W)."""
        return self._dataset.batch(self._indices[check_indices(indices, len(self))])


def check_labels(labels: ArrayLike, count: int, n_classes: int) -> NDArray[np.int64]:
    """Return `labels` as int64 (count,), or raise if they are not `count` integers in ``range(n_classes)``."""
    array = np.asarray(labels)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got dtype {array.dtype}")
    if array.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one for each picture, got {array.shape}")
    wrong = np.flatnonzero((array < 0) | (array >= n_classes))
    if wrong.size:
        first = wrong[0]
        raise ValueError(f"label {array[first]} of picture {first} is out of range: there are {n_classes} classes")
    return array.astype(np.int64)


def check_indices(indices: ArrayLike, count: int) -> NDArray[np.int64]:
    """Return `indices` as int64 (B,), or raise if they are not integers in ``range(count)``."""
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"indices must be a 1-D array of integers, got {array.dtype} of shape {array.shape}")
    wrong = array[(array < 0) | (array >= count)]
    if wrong.size:
        raise IndexError(f"index {wrong[0]} is out of range for a dataset of {count} pictures")
    return array.astype(np.int64)
