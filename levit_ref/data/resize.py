"""Bring pictures to one size: scale until the wanted frame is just covered, then crop its centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from .dataset import Dataset


def fit(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an RGB picture as uint8 (3, H, W), its centre scaled (bicubic, antialiased) to `size` = (H, W)."""
    height, width = size
    fitted = as_rgb(picture)
    if fitted.size != (width, height):
        fitted = ImageOps.fit(fitted, (width, height), method=Image.Resampling.BICUBIC)
    return np.asarray(fitted, np.uint8).transpose(2, 0, 1)


def as_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB with 8 bits a channel.

    Pillow's own conversion clips 16-bit grey to white and uncovers the colours under transparent pixels. Here 16
    bits are scaled to 8, and what is transparent is laid on white.

    Raises
    ------
    ValueError
        If the picture holds floating numbers, whose range no file states.
    """
    if picture.mode == "F":
        raise ValueError("the picture holds floating numbers, expected 8 or 16 bits a channel")
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow also reads it into 32 bits
        grey = np.asarray(picture).astype(np.int64)
        return Image.fromarray((grey.clip(0, 65_535) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def as_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return `image_size`, one number for a square or (H, W), as (H, W)."""
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(f"image_size must be a positive number of pixels or (H, W), got {image_size!r}")
    return size


class ResizedDataset:
    """Another dataset with its pictures brought to another size, each time they are asked for."""

    def __init__(self, dataset: Dataset, image_size: int | tuple[int, int]) -> None:
        self._dataset = dataset
        self._size = as_size(image_size)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every picture, (N,)."""
        return self._dataset.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of every class."""
        return self._dataset.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(3, H, W)``."""
        return 3, *self._size

    def __len__(self) -> int:
        return len(self._dataset)

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the resized pictures at `indices`, uint8 (B, 3, H, W)."""
        pictures = self._dataset.batch(indices)  # (B, 3, h, w)
        resized = np.empty((len(pictures), *self.image_shape), np.uint8)
        for place, picture in zip(resized, pictures, strict=True):
            place[...] = fit(Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))), self._size)
        return resized
