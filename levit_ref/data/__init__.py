"""Pictures and labels: datasets, random changes for training, and batches made in the background.

    dataset = load_dataset("cifar10", "train")
    loader = Loader(dataset, batch_size=128, augmentation=Augmentation.for_dataset("cifar10"), seed=0)
    for batch in loader.epoch(0):
        batch.images, batch.targets  # float32 (B, 3, H, W) and (B, K)

Reading order: `dataset` (what a dataset is), `shapes` and `outlines` (a generated one), `cifar` with
`archive`, `pickles` and `download`, `folder`, then `augmentation`, `augment` and `loader`.
"""

from __future__ import annotations

from levit_ref.data.augment import Batch, make_batch, normalise
from levit_ref.data.augmentation import Augmentation
from levit_ref.data.cifar import load_cifar
from levit_ref.data.dataset import ArrayDataset, Dataset, Subset
from levit_ref.data.folder import FolderDataset, load_folder
from levit_ref.data.loader import Loader
from levit_ref.data.records import DatasetRecord
from levit_ref.data.registry import DATASETS, list_datasets, load_dataset
from levit_ref.data.resize import ResizedDataset
from levit_ref.data.shapes import make_shapes
from levit_ref.files.download import DownloadError, cache_dir

__all__ = [
    "DATASETS",
    "ArrayDataset",
    "Augmentation",
    "Batch",
    "Dataset",
    "DatasetRecord",
    "DownloadError",
    "FolderDataset",
    "Loader",
    "ResizedDataset",
    "Subset",
    "cache_dir",
    "list_datasets",
    "load_cifar",
    "load_dataset",
    "load_folder",
    "make_batch",
    "make_shapes",
    "normalise",
]
