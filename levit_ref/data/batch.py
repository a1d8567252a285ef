"""A batch for the network, made of the bytes of a dataset's pictures: all pictures of the batch at once.

The order of the changes is: crop and flip on bytes, colour, normalisation, cutout, mixing. Their random numbers come
from :mod:`levit_ref.data.draws`.

Axes: ``B`` pictures in the whole batch, ``b`` in the part of it that is made here, ``H`` rows, ``W`` columns, ``K``
classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from levit_ref import functional as F
from levit_ref.data.augmentation import Augmentation
from levit_ref.data.dataset import Dataset, check_indices
from levit_ref.data.draws import Draws, draw
from levit_ref.ops.pictures import Floats, Pictures, crop, cut_out, flip, normalise_unit, unit
from levit_ref.preprocessing import Preprocessing

_LUMA = (0.299, 0.587, 0.114)  # grey = luma . rgb, ITU-R BT.601; they sum to 1


class Batch(NamedTuple):
    """Pictures that are ready for the network, and what they show: a batch, or one process's part of it.

    ``targets`` is of one type whatever is switched on: a distribution over the classes. Picture i is ``shares[i]`` of
    picture ``indices[i]`` of the dataset and ``1 - shares[i]`` of picture ``partners[i]``. Anything known about the
    pictures of the dataset, such as a teacher's logits, can be mixed in the same way.
    """

    images: Floats  # (b, 3, H, W), normalised
    targets: Floats  # (b, K), each row sums to 1; one-hot where nothing is mixed
    indices: NDArray[np.int64]  # (b,), places in the dataset
    partners: NDArray[np.int64]  # (b,), places in the dataset; the same as ``indices`` where nothing is mixed
    shares: Floats  # (b,), in [0, 1]; 1 where nothing is mixed
    batch_size: int  # B, pictures in the whole batch
    part: slice  # which of them these are


def make_batch(
    dataset: Dataset,
    indices: ArrayLike,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
    *,
    part: slice = slice(None),
) -> Batch:
    """Read pictures and make a batch of them, changed at random.

    A part of a batch has, to the bit, the values that the whole batch has there. A picture that is mixed with one
    outside of the part needs that one as well: it is read and changed here too.

    Parameters
    ----------
    dataset : Dataset
    indices : array_like of int, shape (B,)
        The pictures of the whole batch: their places in the dataset.
    preprocessing : Preprocessing
        Its ``mean`` and ``std``; the dataset has brought the pictures to their size.
    augmentation : Augmentation
    rng : numpy.random.Generator
        The only source of random numbers. They do not depend on ``part``.
    part : slice
        Places in the batch of the pictures to make; by default all.

    Returns
    -------
    batch : Batch

    Raises
    ------
    IndexError
        If an index is outside the dataset.
    ValueError
        If ``crop_padding`` is more than pictures of this size can reflect.
    FileError
        If a picture cannot be read.
    """
    indices = check_indices(indices, len(dataset))  # (B,)
    B, (_, *size) = len(indices), dataset.image_shape
    draws = draw(B, (size[0], size[1]), augmentation, rng)
    own = np.arange(B)[part]  # (b,), places in the batch, as those that follow
    partners = own if draws.mixing is None else draws.mixing.partners[own]  # (b,)
    made = own if len(own) == B else np.concatenate([own, np.setdiff1d(partners, own)])  # (m,)
    images = _changed(dataset.batch(indices[made]), preprocessing, augmentation, draws.of(made))  # (m, 3, H, W)
    targets = _one_hot(dataset, indices[own])  # (b, K)
    shares = np.ones(len(own), np.float32)  # (b,)
    if draws.mixing is not None:
        place_in_images = np.empty(B, np.int64)
        place_in_images[made] = np.arange(len(made))
        weights = draws.mixing.weights(own, (size[0], size[1]))  # (b, 1, H, W)
        images, shares = blend(images, place_in_images[partners], weights)
        share = shares[:, None]  # (b, 1)
        targets = share * targets + (1 - share) * _one_hot(dataset, indices[partners])
    return Batch(images, targets, indices[own], indices[partners], shares, B, slice(*part.indices(B)))


def _one_hot(dataset: Dataset, indices: NDArray[np.int64]) -> Floats:
    """The classes of some pictures (b,) as distributions, (b, K)."""
    return np.eye(len(dataset.classes), dtype=np.float32)[dataset.labels[indices]]


def _changed(pictures: Pictures, preprocessing: Preprocessing, a: Augmentation, draws: Draws) -> Floats:
    """Everything that happens to each picture by itself, from bytes to normalised images (m, 3, H, W)."""
    mean, std = preprocessing.mean, preprocessing.std
    if draws.factors is None:
        return F.augment(
            pictures, mean, std, windows=draws.windows, padding=a.crop_padding, fill=a.crop_fill,
            flipped=draws.flipped, boxes=draws.squares, box_side=a.cutout,
        )  # fmt: skip
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures must be uint8 (B, 3, H, W), got {pictures.dtype} {pictures.shape}")
    if draws.windows is not None:
        pictures = crop(pictures, draws.windows, a.crop_padding, a.crop_fill)
    if draws.flipped is not None:
        pictures = flip(pictures, draws.flipped)
    images = normalise_unit(colour_jitter(pictures, draws.factors), mean, std)
    return images if draws.squares is None else cut_out(images, draws.squares, a.cutout)


def colour_jitter(pictures: Pictures, factors: Floats) -> Floats:
    """Change saturation, then contrast, then brightness of each picture.

    With g the grey of a pixel and m the mean of g over the picture, the three steps ::

        x1 = s x + (1 - s) g,    x2 = c x1 + (1 - c) m,    x3 = b x2

    are x3 = b c s x + b c (1 - s) g + b (1 - c) m, because the grey of x1 is g as well. The result is clipped once, at
    the end.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (B, 3, H, W)
    factors : ndarray of float32, shape (3, B)
        b, c and s of each picture.

    Returns
    -------
    pixels : ndarray of float32, shape (B, 3, H, W)
        In [0, 1].
    """
    b, c, s = factors[:, :, None, None, None]  # (B, 1, 1, 1) each
    x = unit(pictures)  # (B, 3, H, W)
    grey = np.einsum("bchw,c->bhw", x, np.asarray(_LUMA, np.float32))[:, None]  # (B, 1, H, W)
    mean = np.mean(grey, axis=(2, 3), keepdims=True)  # (B, 1, 1, 1)
    x *= b * c * s
    grey *= b * c * (1 - s)
    grey += b * (1 - c) * mean
    x += grey
    return np.clip(x, 0, 1, out=x)


def blend(images: Floats, partners: NDArray[np.int64], weights: Floats) -> tuple[Floats, Floats]:
    """Blend the first b images with partners, in place: ``weight * own + (1 - weight) * partner`` in each pixel.

    The weight is constant over an image for mixup; for cutmix it is 0 in the box of the partner and 1 outside.

    Parameters
    ----------
    images : ndarray of float32, shape (m, 3, H, W)
        m is at least b; those after the first b are partners only.
    partners : ndarray of int64, shape (b,)
        Places in ``images``.
    weights : ndarray of float32, shape (b, 1, H, W)

    Returns
    -------
    images : ndarray of float32, shape (b, 3, H, W)
        The beginning of the array that was given.
    shares : ndarray of float32, shape (b,)
        How much of each is the own picture: its mean weight.
    """
    # float64: the mean of H * W equal float32 numbers must be that number
    shares = weights.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)  # (b,)
    own_weight, other_weight = weights[:, 0], 1 - weights[:, 0]  # (b, H, W) each
    for channel in range(3):  # one at a time: a third of the memory
        own = images[: len(weights), channel]  # (b, H, W), a view
        others = images[partners, channel]  # (b, H, W), a copy
        own *= own_weight
        own += np.multiply(others, other_weight, out=others)
    return images[: len(weights)], shares
