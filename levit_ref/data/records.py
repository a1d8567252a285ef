"""All there is to know about a dataset, in one record: name, statistics, loader, and settings to train with.

Each dataset defines its record in its own file; :mod:`levit_ref.data.registry` lists them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from levit_ref.data.dataset import Dataset
from levit_ref.data.resize import ResizedDataset
from levit_ref.preprocessing import Preprocessing, as_size


@dataclass(frozen=True)
class Request:
    """One split of a dataset, as the caller of :func:`levit_ref.data.load_dataset` asked for it.

    A loader reads the fields that concern it. ``size`` concerns datasets that are generated; of all others the registry
    takes a random subset.

    Attributes
    ----------
    split : {"train", "test"}
    data_dir : path-like, optional
    preprocessing : Preprocessing, optional
        Size, crop and interpolation of the pictures; by default those of the dataset.
    size : int, optional
        Number of pictures.
    seed : int
        Of a generated dataset.
    download : bool
        Whether missing files may be downloaded.
    base_url : str, optional
        The folder on a server to download from; by default the official one.
    """

    split: str
    data_dir: str | os.PathLike[str] | None = None
    preprocessing: Preprocessing | None = None
    size: int | None = None
    seed: int = 0
    download: bool = True
    base_url: str | None = None

    def fitted(self, dataset: Dataset) -> Dataset:
        """The dataset with its pictures brought to the size that was asked for, if another one was."""
        wanted = self.preprocessing
        if wanted is None or (wanted.size == dataset.image_shape[1:] and wanted.crop_fraction == 1):
            return dataset
        return ResizedDataset(dataset, wanted)


@dataclass(frozen=True)
class DatasetRecord:
    """All that the package knows about a dataset.

    Attributes
    ----------
    name : str
        By which users ask for it.
    help : str
        A few words for help texts, to follow the name in brackets.
    mean, std : (float, float, float)
        Of each channel over the training pictures, for pixels between 0 and 1.
    load : callable
        Reads or makes the split that a :class:`Request` describes. It must look at ``preprocessing``:
        :meth:`Request.fitted` is enough where pictures are held in memory.
    settings : mapping of str to value
        Settings of a training run that suit the dataset, its augmentation included, by their names in
        :class:`levit_ref.training.TrainConfig`. A setting that is not mentioned has its usual default.
    """

    name: str
    help: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    load: Callable[[Request], Dataset]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def preprocessing(self, size: int | tuple[int, int]) -> Preprocessing:
        """The preprocessing of pictures of this dataset at a size, H = W or (H, W)."""
        return Preprocessing(as_size(size), self.mean, self.std)
