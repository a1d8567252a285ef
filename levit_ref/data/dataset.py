"""A dataset, to the rest of the package: labels, class names, and batches of uint8 pictures.

Axes: ``N`` pictures in the dataset, ``B`` pictures in a batch, ``H`` rows, ``W`` columns, ``K`` classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Dataset(ABC):
    """A finite collection of labelled RGB pictures of one size. A subclass adds :meth:`batch`.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        Class of every picture, each in ``range(K)``.
    classes : sequence of str
        Names of the K classes.
    image_shape : (int, int, int)
        ``(3, H, W)``, the shape of every picture.

    Attributes
    ----------
    labels : ndarray of int64, shape (N,)
    classes : tuple of str
    image_shape : (int, int, int)

    Raises
    ------
    TypeError
        If ``labels`` are not integers.
    ValueError
        If a label is out of range.
    """

    def __init__(self, labels: ArrayLike, classes: Sequence[str], image_shape: tuple[int, int, int]) -> None:
        self.labels = check_labels(labels, len(classes))
        self.classes = tuple(classes)
        self.image_shape = image_shape

    def __len__(self) -> int:
        """Number of pictures, N."""
        return len(self.labels)

    @abstractmethod
    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Some of the pictures, as a new array. Safe to call from several threads at once.

        Parameters
        ----------
        indices : array_like of int, shape (B,)

        Returns
        -------
        pictures : ndarray of uint8, shape (B, 3, H, W)

        Raises
        ------
        TypeError
            If ``indices`` is not a row of integers.
        IndexError
            If an index is outside ``range(N)``.
        FileError
            If a picture cannot be read.
        """


class ArrayDataset(Dataset):
    """Pictures that are held in memory.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, 3, H, W)
    labels : array_like of int, shape (N,)
    classes : sequence of str
        Names of the K classes; every label is in ``range(K)``.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, 3, H, W)
        The array itself, not a copy.

    Raises
    ------
    TypeError
        If ``images`` is not uint8, or ``labels`` are not integers.
    ValueError
        If a shape is wrong, the lengths differ, or a label is out of range.
    """

    def __init__(self, images: NDArray[np.uint8], labels: ArrayLike, classes: Sequence[str]) -> None:
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise TypeError(f"images must be a uint8 array, got {getattr(images, 'dtype', type(images).__name__)}")
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must have shape (N, 3, H, W), got {images.shape}")
        super().__init__(check_labels(labels, len(classes), count=len(images)), classes, (3, *images.shape[2:]))
        self.images = images

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """A copy of the pictures at ``indices``, uint8 (B, 3, H, W)."""
        return self.images[check_indices(indices, len(self))]


class Subset(Dataset):
    """Some pictures of another dataset, with the same classes.

    Parameters
    ----------
    dataset : Dataset
    indices : array_like of int, shape (N,)
        The pictures, in their new order.
    """

    def __init__(self, dataset: Dataset, indices: ArrayLike) -> None:
        self._indices = check_indices(indices, len(dataset))  # (N,)
        super().__init__(dataset.labels[self._indices], dataset.classes, dataset.image_shape)
        self._dataset = dataset

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """The pictures at ``indices`` of the subset, uint8 (B, 3, H, W)."""
        return self._dataset.batch(self._indices[check_indices(indices, len(self))])


def check_labels(labels: ArrayLike, n_classes: int, *, count: int | None = None) -> NDArray[np.int64]:
    """Labels as int64 (N,).

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    n_classes : int
        K.
    count : int, optional
        Number of pictures, N.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If there is not one for each picture, or one is outside ``range(K)``.
    """
    array = np.asarray(labels)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got dtype {array.dtype}")
    count = array.size if count is None else count
    if array.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one for each picture, got {array.shape}")
    wrong = np.flatnonzero((array < 0) | (array >= n_classes))
    if wrong.size:
        first = wrong[0]
        raise ValueError(f"label {array[first]} of picture {first} is out of range: there are {n_classes} classes")
    return array.astype(np.int64)


def check_indices(indices: ArrayLike, count: int) -> NDArray[np.int64]:
    """Indices as int64 (B,).

    Parameters
    ----------
    indices : array_like of int, shape (B,)
    count : int
        Number of pictures in the dataset.

    Raises
    ------
    TypeError
        If they are not one row of integers.
    IndexError
        If one is outside ``range(count)``.
    """
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"indices must be a 1-D array of integers, got {array.dtype} of shape {array.shape}")
    wrong = array[(array < 0) | (array >= count)]
    if wrong.size:
        raise IndexError(f"index {wrong[0]} is out of range for a dataset of {count} pictures")
    return array.astype(np.int64)
