"""Datasets by name."""

from __future__ import annotations

import os

import numpy as np

from .cifar import OFFICIAL_URL, load_cifar
from .dataset import Dataset, Subset
from .folder import load_folder
from .resize import ResizedDataset, as_size
from .shapes import make_shapes

DATASETS = ("shapes", "cifar10", "cifar100", "folder")

_SUBSET_STREAM = 3  # keeps these random numbers apart from those of order and augmentation, whatever the seed


def load_dataset(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    size: int | None = None,
    seed: int = 0,
    download: bool = True,
    base_url: str = OFFICIAL_URL,
) -> Dataset:
    """Load one split of a dataset.

    Parameters
    ----------
    name
        "shapes", "cifar10", "cifar100" or "folder" (see `make_shapes`, `load_cifar`, `load_folder`)
    split
        "train" or "test"
    data_dir
        Where the files are.  Required for "folder", and not allowed for "shapes", which has none;
        without it, CIFAR comes from the cache folder or is downloaded into it.
    image_size
        H = W or (H, W) that the pictures are brought to; by default 32 x 32 as they are, and
        224 x 224 for "folder"
    size
        Number of pictures.  "shapes" generates so many; from the others a random subset is taken.
    seed
        Of the generated pictures, and of the subset
    download
        Whether CIFAR may be downloaded
    base_url
        The folder on the server to download CIFAR from

    Raises
    ------
    ValueError
        An argument is not allowed, or (`FileError`) a file is damaged.
    FileNotFoundError
        The files are not there, or (`DownloadError`) cannot be downloaded.
    """
    if name not in DATASETS:
        raise ValueError(f"no dataset is called {name!r}, only {', '.join(DATASETS)}")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    dataset: Dataset
    if name == "shapes":
        if data_dir is not None:
            raise ValueError(f"shapes is generated and takes no data_dir, got {os.fspath(data_dir)}")
        dataset = make_shapes(split, size, seed)
    elif name == "folder":
        if data_dir is None:
            raise ValueError("folder needs data_dir: a folder with one folder of pictures for each class")
        dataset = _subset(load_folder(data_dir, split, image_size), size, seed)
    else:
        dataset = _subset(load_cifar(name, split, data_dir, download=download, base_url=base_url), size, seed)
    if image_size is not None and dataset.image_shape[1:] != as_size(image_size):
        dataset = ResizedDataset(dataset, image_size)
    return dataset


def _subset(dataset: Dataset, size: int | None, seed: int) -> Dataset:
    if size is None or size == len(dataset):
        return dataset
    if size > len(dataset):
        raise ValueError(f"size must be at most {len(dataset)}, the number of pictures, got {size}")
    chosen = np.random.default_rng([seed, _SUBSET_STREAM]).choice(len(dataset), size, replace=False)
    return Subset(dataset, np.sort(chosen))
