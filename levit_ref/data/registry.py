"""Datasets by name. To add one, write its file, with its record, and add the record to the list here."""

from __future__ import annotations

import os

import numpy as np

from levit_ref.data.cifar import CIFAR10, CIFAR100
from levit_ref.data.dataset import Dataset, Subset
from levit_ref.data.folder import FOLDER
from levit_ref.data.records import DatasetRecord, Request
from levit_ref.data.resize import as_preprocessing
from levit_ref.data.shapes import SHAPES
from levit_ref.preprocessing import Preprocessing

DATASETS: dict[str, DatasetRecord] = {
    record.name: record
    for record in (
        SHAPES,
        CIFAR10,
        CIFAR100,
        FOLDER,
    )
}
"""Every dataset, by name."""

_SUBSET_STREAM = 3  # keeps these random numbers apart from those of order and augmentation, whatever the seed


def list_datasets() -> str:
    """The names of all datasets with a few words on each, in one line for help texts."""
    *most, last = (f"{record.name} ({record.help})" for record in DATASETS.values())
    return f"{', '.join(most)} or {last}"


def load_dataset(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    size: int | None = None,
    seed: int = 0,
    download: bool = True,
    base_url: str | None = None,
) -> Dataset:
    """Load one split of a dataset.

    Parameters
    ----------
    name : str
        One of :data:`DATASETS`: "shapes", "cifar10", "cifar100" or "folder". See :func:`levit_ref.data.make_shapes`,
        :func:`levit_ref.data.load_cifar` and :func:`levit_ref.data.load_folder`.
    split : {"train", "test"}
    data_dir : path-like, optional
        Where the files are. Required for "folder", and not allowed for "shapes", which has no files; without it,
        CIFAR comes from the cache folder or is downloaded into it.
    image_size : int or (int, int), optional
        H = W, or (H, W), that the pictures are brought to; by default they stay as they are, and those of "folder"
        become 224 x 224.
    preprocessing : Preprocessing, optional
        Instead of ``image_size``: its size, crop and interpolation, which are those that a model was trained with.
    size : int, optional
        Number of pictures. "shapes" generates that many; from the others a random subset is taken.
    seed : int
        Of the generated pictures, and of the subset.
    download : bool
        Whether missing files may be downloaded.
    base_url : str, optional
        The folder on a server to download from; by default the official one of the dataset.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If an argument is not allowed, or (``FileError``) a file is damaged.
    FileNotFoundError
        If the files are not there, or (``DownloadError``) cannot be downloaded.
    """
    if name not in DATASETS:
        raise ValueError(f"no dataset is called {name!r}, only {', '.join(DATASETS)}")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if image_size is not None and preprocessing is not None:
        raise ValueError("image_size and preprocessing exclude each other: give one of them")
    wanted = preprocessing if image_size is None else as_preprocessing(image_size)
    dataset = DATASETS[name].load(Request(split, data_dir, wanted, size, seed, download, base_url))
    if wanted is not None and dataset.image_shape[1:] != wanted.size:
        raise RuntimeError(f"the loader of {name} returned pictures of {dataset.image_shape[1:]}, not {wanted.size}")
    return _subset(dataset, size, seed)


def _subset(dataset: Dataset, size: int | None, seed: int) -> Dataset:
    if size is None or size == len(dataset):
        return dataset
    if size > len(dataset):
        raise ValueError(f"size must be at most {len(dataset)}, the number of pictures, got {size}")
    chosen = np.random.default_rng([seed, _SUBSET_STREAM]).choice(len(dataset), size, replace=False)
    return Subset(dataset, np.sort(chosen))
