"""Random changes to a batch of training pictures, all of the batch at once.

The order is: crop and flip on bytes, colour, normalisation, cutout, mixing.  Axes: B pictures, 3 channels,
H x W pixels, K classes.  Every function takes its random generator as an argument, and draws nothing for a
step that is off.  The functions on bytes leave their input alone; those on floats work in place on the array
that `make_batch` has just made, because at this size allocating an array costs more than filling it.

On the native backend one kernel does all from crop to cutout, where colours are left as they are, to the same
bits and from the same draws.  Its images have the channels innermost in memory, as the first convolution wants
them; those of the NumPy code have planes, since there the one saves what the other costs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from levit_ref.runtime import native_serves
from levit_ref.runtime.native import pictures as native

from .augmentation import Augmentation

Pictures: TypeAlias = NDArray[np.uint8]  # (B, 3, H, W)
Floats: TypeAlias = NDArray[np.float32]

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
    has_jitter = bool(a.brightness or a.contrast or a.saturation)
    if native_serves() and not has_jitter:
        return _augment_native(pictures, a, rng)
    if a.crop_padding:
        pictures = random_crop(pictures, a.crop_padding, a.crop_fill, rng)
    if a.flip:
        pictures = random_flip(pictures, a.flip, rng)
    if has_jitter:
        floats = colour_jitter(pictures, a.brightness, a.contrast, a.saturation, rng)
        images = _normalise_floats(floats, a.mean, a.std)
    else:
        images = normalise(pictures, a.mean, a.std)  # (B, 3, H, W)
    if a.cutout:
        images = cutout(images, a.cutout, rng)
    return images


def _augment_native(pictures: Pictures, a: Augmentation, rng: np.random.Generator) -> Floats:
    """Do the same by a kernel: the draws in the same order, then one pass."""
    count, size = len(pictures), pictures.shape[2:]
    windows = _draw_windows(count, size, a.crop_padding, a.crop_fill, rng) if a.crop_padding else None  # (2, B)
    flipped = _draw_flips(count, a.flip, rng) if a.flip else None  # (B,)
    boxes = _draw_squares(count, size, a.cutout, rng) if a.cutout else None  # (2, B)
    return native.augment(
        pictures,
        _normalised_bytes(a.mean, a.std),
        windows=windows,
        padding=a.crop_padding,
        fill=a.crop_fill,
        flipped=flipped,
        boxes=boxes,
        box_side=a.cutout,
    )


def normalise(pictures: Pictures, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Floats:
    """Return (pictures / 255 - mean) / std, float32 (B, 3, H, W)."""
    if native_serves():
        return native.augment(pictures, _normalised_bytes(tuple(mean), tuple(std)))
    return _normalise_floats(_unit(pictures), mean, std)


def _unit(pictures: Pictures) -> Floats:
    """Return the pixels as float32 in [0, 1]."""
    return pictures * np.float32(1 / 255)


def _normalise_floats(images: Floats, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Floats:
    """Normalise, in place, pixels in [0, 1]."""
    images -= np.asarray(mean, np.float32)[:, None, None]
    images *= np.asarray([1 / s for s in std], np.float32)[:, None, None]
    return images


@lru_cache(maxsize=16)
def _normalised_bytes(mean: tuple[float, float, float], std: tuple[float, float, float]) -> Floats:
    """Return what normalisation makes of each byte, by channel: (3, 256)."""
    every_byte = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    values = _normalise_floats(_unit(every_byte), mean, std)[:, 0]
    values.flags.writeable = False  # it is handed out again
    return values


def random_crop(
    pictures: Pictures, padding: int, fill: Literal["zero", "reflect"], rng: np.random.Generator
) -> Pictures:
    """Cut a window of the old size at random out of each picture, padded on all sides."""
    count, (height, width) = len(pictures), pictures.shape[2:]
    top, left = _draw_windows(count, (height, width), padding, fill, rng)  # (B,) each
    widths = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(pictures, widths, mode="constant" if fill == "zero" else "reflect")
    # every window of every picture, as a view: (B, 3, 2p + 1, 2p + 1, H, W)
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    chosen: Pictures = windows[np.arange(count), :, top, left]  # (B, 3, H, W), a copy
    return chosen


def _draw_windows(
    count: int, size: tuple[int, ...], padding: int, fill: Literal["zero", "reflect"], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the first row and the first column of a crop for each padded picture, (2, B)."""
    height, width = size
    if fill == "reflect" and padding >= min(height, width):
        raise ValueError(f"crop_padding {padding} cannot reflect pictures of {height} x {width} pixels: too large")
    return rng.integers(0, 2 * padding + 1, (2, count))


def random_flip(pictures: Pictures, probability: float, rng: np.random.Generator) -> Pictures:
    """Mirror each picture left to right with the given probability."""
    flipped = _draw_flips(len(pictures), probability, rng)  # (B,)
    result = pictures.copy()
    result[flipped] = pictures[flipped, :, :, ::-1]
    return result


def _draw_flips(count: int, probability: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw which pictures are mirrored, (B,)."""
    return rng.random(count) < probability


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
    x = _unit(pictures)  # (B, 3, H, W)
    grey = np.einsum("bchw,c->bhw", x, np.asarray(_LUMA, np.float32))[:, None]  # (B, 1, H, W)
    mean = np.mean(grey, axis=(2, 3), keepdims=True)  # (B, 1, 1, 1)
    x *= b * c * s
    grey *= b * c * (1 - s)
    grey += b * (1 - c) * mean
    x += grey
    return np.clip(x, 0, 1, out=x)


def cutout(images: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Set, in place, a square of each normalised picture to 0, the mean colour; it may hang over the edge."""
    count, (height, width) = len(images), images.shape[2:]
    top, left = _draw_squares(count, (height, width), side, rng)  # (B,) each
    inside = _boxes(top, top + side, left, left + side, height, width)  # (B, 1, H, W)
    np.copyto(images, 0, where=inside)
    return images


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
        boxed = _boxes(top, top + box_height, left, left + box_width, height, width)  # (B, 1, H, W)
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


def _boxes(
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    height: int,
    width: int,
) -> NDArray[np.bool_]:
    """Return where each picture's box is, (B, 1, H, W): rows top..bottom - 1, columns left..right - 1."""
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # (B, H)
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])  # (B, W)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
