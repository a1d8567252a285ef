"""A dataset with its pictures brought to another size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from levit_ref.data.dataset import Dataset
from levit_ref.preprocessing import Preprocessing, as_size, fit


class ResizedDataset(Dataset):
    """Another dataset with its pictures scaled and cropped, each time they are asked for.

    Parameters
    ----------
    dataset : Dataset
    preprocessing : Preprocessing or int or (int, int)
        Size, crop and interpolation; or H = W, or (H, W), with the centre of the picture scaled to just cover it.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing | int | tuple[int, int]) -> None:
        self.preprocessing = as_preprocessing(preprocessing)
        super().__init__(dataset.labels, dataset.classes, (3, *self.preprocessing.size))
        self._dataset = dataset

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """The resized pictures at ``indices``, uint8 (B, 3, H, W)."""
        pictures = self._dataset.batch(indices)  # (B, 3, h, w)
        resized = np.empty((len(pictures), *self.image_shape), np.uint8)
        for place, picture in zip(resized, pictures, strict=True):
            place[...] = fit(Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))), self.preprocessing)
        return resized


def as_preprocessing(wanted: Preprocessing | int | tuple[int, int]) -> Preprocessing:
    """A preprocessing as it is; a size, H = W or (H, W), as one that crops nothing but what does not fit."""
    return wanted if isinstance(wanted, Preprocessing) else Preprocessing(as_size(wanted))
