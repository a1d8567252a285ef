"""Pictures and labels: datasets, random changes for training, and batches made in the background.

    dataset = load_dataset("cifar10", "train")
    loader = Loader(dataset, batch_size=128, augmentation=Augmentation.for_dataset("cifar10"), seed=0)
    for batch in loader.epoch(0):
        batch.images, batch.targets  # float32 (B, 3, H, W) and (B, K)

Reading order: `dataset` (what a dataset is), `shapes` and `outlines` (a generated one), `cifar` with
`archive`, `pickles` and `download`, `folder`, then `augmentation`, `augment` and `loader`.
"""

from __future__ import annotations

from levit_ref.files.download import DownloadError, cache_dir

from .augment import Batch, make_batch, normalise
from .augmentation import Augmentation
from .cifar import load_cifar
from .dataset import ArrayDataset, Dataset, Subset
from .folder import FolderDataset, load_folder, read_picture
from .loader import Loader
from .registry import DATASETS, load_dataset
from .resize import ResizedDataset
from .shapes import make_shapes

__all__ = [
    "DATASETS",
    "ArrayDataset",
    "Augmentation",
    "Batch",
    "Dataset",
    "DownloadError",
    "FolderDataset",
    "Loader",
    "ResizedDataset",
    "Subset",
    "cache_dir",
    "load_cifar",
    "load_dataset",
    "load_folder",
    "make_batch",
    "make_shapes",
    "normalise",
    "read_picture",
]
