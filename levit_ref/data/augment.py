"""Random changes to a batch of training pictures, all of the batch at once.

The order is: crop and flip on bytes, colour, normalisation, cutout, mixing.  Axes: B pictures, 3 channels,
H x W pixels, K classes.  Every function takes its random generator as an argument, and draws nothing for a
step that is off.  The functions on bytes leave their input alone; those on floats work in place on the array
that `make_batch` has just made, because at this size allocating an array costs more than filling it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levit_ref import functional as F
from levit_ref.data.augmentation import Augmentation
from levit_ref.ops.pictures import Floats, Pictures, crop, cut_out, flip, inside_boxes, normalise_unit, unit

_LUMA = (0.299, 0.587, 0.114)  # grey = luma . rgb, ITU-R BT.601; they sum to 1


class Batch(NamedTuple):
    """Pictures that are ready for the network, and what they show.

    `targets` is one type whatever is switched on: a distribution over the classes.  Picture b is
    ``shares[b]`` of picture ``indices[b]`` of the dataset and ``1 - shares[b]`` of ``partners[b]``; so
    anything known about the pictures of the dataset (a teacher's logits) can be mixed in the same way.
    """

    images: Floats  # (B, 3, H, W), normalised
    targets: Floats  # (B, K), each row sums to 1; one-hot where nothing is mixed
    labels: NDArray[np.int64]  # (B,), the class of picture `indices[b]`
    indices: NDArray[np.int64]  # (B,), places in the dataset
    partners: NDArray[np.int64]  # (B,), places in the dataset; the same as `indices` where nothing is mixed
    shares: Floats  # (B,), in [0, 1]; 1 where nothing is mixed


class Mixed(NamedTuple):
    """Pictures blended in pairs: picture b is ``shares[b]`` of old picture b, the rest of ``partners[b]``."""

    images: Floats  # (B, 3, H, W)
    partners: NDArray[np.int64]  # (B,), places in the batch
    shares: Floats  # (B,)


def make_batch(
    pictures: Pictures,
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    n_classes: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Batch:
    """Turn bytes into a batch for the network, changed at random as `augmentation` says.

    Parameters
    ----------
    pictures
        uint8 (B, 3, H, W)
    labels
        int64 (B,), each in ``range(n_classes)``
    indices
        int64 (B,), places of the pictures in the dataset
    n_classes
        K
    augmentation
        settings
    rng
        The only source of randomness
    """
    a = augmentation
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures must be uint8 (B, 3, H, W), got {pictures.dtype} {pictures.shape}")
    images = _augment(pictures, a, rng)  # (B, 3, H, W)
    targets = np.eye(n_classes, dtype=np.float32)[labels]  # (B, K)
    if not (a.mixup or a.cutmix):
        return Batch(images, targets, labels, indices, indices, np.ones(len(labels), np.float32))
    mixed = mix(images, a.mixup, a.cutmix, a.mix_probability, a.cutmix_probability, rng)
    share = mixed.shares[:, None]  # (B, 1)
    targets = share * targets + (1 - share) * targets[mixed.partners]
    return Batch(mixed.images, targets, labels, indices, indices[mixed.partners], mixed.shares)


def _augment(pictures: Pictures, a: Augmentation, rng: np.random.Generator) -> Floats:
    """Do everything that happens to each picture by itself."""
    count, size = len(pictures), pictures.shape[2:]
    windows = _draw_windows(count, size, a.crop_padding, a.crop_fill, rng) if a.crop_padding else None  # (2, B)
    flipped = rng.random(count) < a.flip if a.flip else None  # (B,)
    if not (a.brightness or a.contrast or a.saturation):
        boxes = _draw_squares(count, size, a.cutout, rng) if a.cutout else None  # (2, B)
        return F.augment(
            pictures, a.mean, a.std, windows=windows, padding=a.crop_padding, fill=a.crop_fill, flipped=flipped,
            boxes=boxes, box_side=a.cutout,
        )  # fmt: skip
    if windows is not None:
        pictures = crop(pictures, windows, a.crop_padding, a.crop_fill)
    if flipped is not None:
        pictures = flip(pictures, flipped)
    floats = colour_jitter(pictures, a.brightness, a.contrast, a.saturation, rng)
    images = normalise_unit(floats, a.mean, a.std)  # (B, 3, H, W)
    return cut_out(images, _draw_squares(count, size, a.cutout, rng), a.cutout) if a.cutout else images


def normalise(pictures: Pictures, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Floats:
    """Return (pictures / 255 - mean) / std, float32 (B, 3, H, W)."""
    return F.normalise(pictures, mean, std)


def _draw_windows(
    count: int, size: tuple[int, ...], padding: int, fill: Literal["zero", "reflect"], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the first row and the first column of a crop for each padded picture, (2, B)."""
    height, width = size
    if fill == "reflect" and padding >= min(height, width):
        raise ValueError(f"crop_padding {padding} cannot reflect pictures of {height} x {width} pixels: too large")
    return rng.integers(0, 2 * padding + 1, (2, count))


def colour_jitter(
    pictures: Pictures, brightness: float, contrast: float, saturation: float, rng: np.random.Generator
) -> Floats:
    """Change saturation, then contrast, then brightness of each picture; return pixels in [0, 1], float32.

    With g the grey of a pixel and m the mean of g over the picture, the three steps

        x1 = s x + (1 - s) g,    x2 = c x1 + (1 - c) m,    x3 = b x2

    are x3 = b c s x + b c (1 - s) g + b (1 - c) m, because the grey of x1 is g as well.  The result is clipped
    once, at the end.
    """
    b, c, s = (
        rng.uniform(1 - x, 1 + x, (len(pictures), 1, 1, 1)).astype(np.float32)
        for x in (brightness, contrast, saturation)
    )  # (B, 1, 1, 1) each
    x = unit(pictures)  # (B, 3, H, W)
    grey = np.einsum("bchw,c->bhw", x, np.asarray(_LUMA, np.float32))[:, None]  # (B, 1, H, W)
    mean = np.mean(grey, axis=(2, 3), keepdims=True)  # (B, 1, 1, 1)
    x *= b * c * s
    grey *= b * c * (1 - s)
    grey += b * (1 - c) * mean
    x += grey
    return np.clip(x, 0, 1, out=x)


def _draw_squares(count: int, size: tuple[int, ...], side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the first row and the first column, outside perhaps, of a square for each picture, (2, B)."""
    height, width = size
    return np.stack([rng.integers(0, height, count), rng.integers(0, width, count)]) - side // 2


def mix(
    images: Floats,
    mixup: float,
    cutmix: float,
    mix_probability: float,
    cutmix_probability: float,
    rng: np.random.Generator,
) -> Mixed:
    """Blend, in place, each picture with a partner from the batch: as a whole (mixup) or in a box (cutmix).

    Both are ``weight * own + (1 - weight) * partner`` with a weight for each pixel: constant for
    mixup, 0 inside the box and 1 outside for cutmix.  The share of the own picture is the mean weight.
    """
    count, (height, width) = len(images), images.shape[2:]
    partners = rng.permutation(count)  # (B,)
    # who has drawn itself is not mixed: blending a picture with itself would only round it
    is_mixed = (rng.random(count) < mix_probability) & (partners != np.arange(count))  # (B,)
    with_box = rng.random(count) < (cutmix_probability if mixup else 1.0)  # (B,)
    weight = np.ones((count, 1, height, width), np.float32)
    if mixup:
        blended = is_mixed & ~with_box if cutmix else is_mixed
        weight[blended] = rng.beta(mixup, mixup, count)[blended, None, None, None]
    if cutmix:
        # A box of (1 - share) of the area, its centre anywhere; what hangs over the edge is lost
        scale = np.sqrt(1 - rng.beta(cutmix, cutmix, count))  # (B,)
        box_height, box_width = (height * scale).astype(np.int64), (width * scale).astype(np.int64)
        top = rng.integers(0, height, count) - box_height // 2
        left = rng.integers(0, width, count) - box_width // 2
        boxed = inside_boxes(top, top + box_height, left, left + box_width, height, width)  # (B, 1, H, W)
        weight[boxed & (is_mixed & with_box)[:, None, None, None]] = 0
    partners = np.where(is_mixed, partners, np.arange(count))
    # float64: the mean of H * W equal float32 numbers must be that number
    shares = weight.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)  # (B,)
    own_weight, other_weight = weight[:, 0], 1 - weight[:, 0]  # (B, H, W) each
    for channel in range(3):  # one at a time: a third of the memory
        own = images[:, channel]  # (B, H, W), a view
        others = own[partners]  # (B, H, W), a copy
        own *= own_weight
        own += np.multiply(others, other_weight, out=others)
    return Mixed(images, partners, shares)
