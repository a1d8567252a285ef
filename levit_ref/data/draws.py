"""The random numbers of a batch: which part of each picture is shown, how it is changed, and with which it is mixed.

They belong to the pictures. All are drawn for the whole batch, in the same order, before any picture is read, and a
process that computes a part of the batch takes its own from them. So a picture is changed in the same way however the
batch is cut over processes.

Axes: ``B`` pictures in the whole batch, ``n`` of them that are of interest, ``H`` rows, ``W`` columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levit_ref.data.augmentation import Augmentation
from levit_ref.ops.pictures import Floats, inside_boxes


class Draws(NamedTuple):
    """Random numbers for the pictures of a batch; None for a change that is off."""

    windows: NDArray[np.int64] | None  # (2, B), first row and first column of the crop in the padded picture
    flipped: NDArray[np.bool_] | None  # (B,)
    factors: Floats | None  # (3, B), of brightness, contrast and saturation
    squares: NDArray[np.int64] | None  # (2, B), first row and first column of cutout's square
    mixing: Mixing | None

    def of(self, places: NDArray[np.int64]) -> Draws:
        """What changes the pictures at some places of the batch, (n,), each by itself."""
        return Draws(
            windows=None if self.windows is None else self.windows.take(places, axis=1),
            flipped=None if self.flipped is None else self.flipped[places],
            factors=None if self.factors is None else self.factors.take(places, axis=1),
            squares=None if self.squares is None else self.squares.take(places, axis=1),
            mixing=None,
        )


class Mixing(NamedTuple):
    """Which pictures of a batch are blended, with whom and how much. Who is not has itself for a partner."""

    partners: NDArray[np.int64]  # (B,), places in the batch
    shares: Floats  # (B,), of the own picture in every pixel; 1 where it is not mixup
    boxes: NDArray[np.int64]  # (4, B), cutmix: top, bottom, left, right of the partner's box; all 0 where it is not

    def weights(self, places: NDArray[np.int64], size: tuple[int, int]) -> Floats:
        """Share of the own picture in each pixel of the pictures at some places (n,), as (n, 1, H, W)."""
        weights = np.empty((len(places), 1, *size), np.float32)
        weights[...] = self.shares[places, None, None, None]
        if self.boxes.any():
            top, bottom, left, right = self.boxes[:, places]
            weights[inside_boxes(top, bottom, left, right, *size)] = 0
        return weights


def draw(count: int, size: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator) -> Draws:
    """Draw for a whole batch. Nothing is drawn for a change that is off.

    Parameters
    ----------
    count : int
        Pictures in the whole batch, B.
    size : (int, int)
        H and W.
    augmentation : Augmentation
    rng : numpy.random.Generator

    Returns
    -------
    draws : Draws

    Raises
    ------
    ValueError
        If ``crop_padding`` is more than pictures of this size can reflect.
    """
    a = augmentation
    return Draws(
        windows=_windows(count, size, a, rng) if a.crop_padding else None,
        flipped=rng.random(count) < a.flip if a.flip else None,
        factors=_factors(count, a, rng) if a.brightness or a.contrast or a.saturation else None,
        squares=_squares(count, size, a.cutout, rng) if a.cutout else None,
        mixing=_mixing(count, size, a, rng) if a.mixup or a.cutmix else None,
    )


def _windows(count: int, size: tuple[int, int], a: Augmentation, rng: np.random.Generator) -> NDArray[np.int64]:
    height, width = size
    if a.crop_fill == "reflect" and a.crop_padding >= min(size):
        raise ValueError(f"crop_padding {a.crop_padding} is too large to reflect pictures of {height} x {width} pixels")
    return rng.integers(0, 2 * a.crop_padding + 1, (2, count))


def _factors(count: int, a: Augmentation, rng: np.random.Generator) -> Floats:
    strengths = (a.brightness, a.contrast, a.saturation)
    return np.stack([rng.uniform(1 - x, 1 + x, count) for x in strengths]).astype(np.float32)


def _squares(count: int, size: tuple[int, int], side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The centre is anywhere in the picture; the square may hang over the edge."""
    return np.stack([rng.integers(0, length, count) for length in size]) - side // 2


def _mixing(count: int, size: tuple[int, int], a: Augmentation, rng: np.random.Generator) -> Mixing:
    height, width = size
    own = np.arange(count)
    partners = rng.permutation(count)  # (B,)
    # a picture that has drawn itself is not mixed: blending it with itself would only round it
    is_mixed = (rng.random(count) < a.mix_probability) & (partners != own)  # (B,)
    has_box = rng.random(count) < (a.cutmix_probability if a.mixup else 1.0)  # (B,)
    shares, boxes = np.ones(count, np.float32), np.zeros((4, count), np.int64)
    if a.mixup:
        blended = is_mixed & ~has_box if a.cutmix else is_mixed
        shares[blended] = rng.beta(a.mixup, a.mixup, count)[blended]
    if a.cutmix:
        # A box of (1 - share) of the area, its centre anywhere; what hangs over the edge is lost
        scale = np.sqrt(1 - rng.beta(a.cutmix, a.cutmix, count))  # (B,)
        box_height, box_width = (height * scale).astype(np.int64), (width * scale).astype(np.int64)
        top = rng.integers(0, height, count) - box_height // 2
        left = rng.integers(0, width, count) - box_width // 2
        pasted = is_mixed & has_box
        boxes[:, pasted] = np.stack([top, top + box_height, left, left + box_width])[:, pasted]
    return Mixing(np.where(is_mixed, partners, own), shares, boxes)
