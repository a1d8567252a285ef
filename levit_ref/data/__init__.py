"""Pictures and labels: datasets, random changes for training, and batches made in the background.

::

    dataset = load_dataset("cifar10", "train")
    preprocessing = DATASETS["cifar10"].preprocessing(32)
    loader = Loader(dataset, 128, preprocessing, Augmentation(crop_padding=4, flip=0.5), seed=0)
    for batch in loader.epoch(0):
        batch.images, batch.targets  # float32 (B, 3, 32, 32) and (B, 10)

Reading order: ``dataset`` (what a dataset is), ``records``, then one file for each dataset (``shapes`` with
``outlines``, ``cifar``, ``folder``) and ``registry`` (all of them by name); ``augmentation``, ``draws``, ``batch`` and
``loader``.
"""

from __future__ import annotations

from levit_ref.data.augmentation import Augmentation
from levit_ref.data.batch import Batch, make_batch
from levit_ref.data.cifar import load_cifar
from levit_ref.data.dataset import ArrayDataset, Dataset, Subset
from levit_ref.data.folder import FolderDataset, load_folder
from levit_ref.data.loader import Loader, part_of_batch
from levit_ref.data.records import DatasetRecord
from levit_ref.data.registry import DATASETS, list_datasets, load_dataset
from levit_ref.data.resize import ResizedDataset
from levit_ref.data.shapes import make_shapes
from levit_ref.files.download import DownloadError, cache_dir
from levit_ref.functional import normalise

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
    "part_of_batch",
]
