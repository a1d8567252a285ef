"""From bytes to the network's input: crop, flip, normalisation and cutout, with the random numbers already drawn.

Axes: ``B`` pictures, 3 channels, ``H`` rows, ``W`` columns.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from levit_ref.ops._checks import check_array, check_shape, checked
from levit_ref.ops._types import IntArray

Pictures: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Fill: TypeAlias = str
"""``"zero"`` or ``"reflect"``."""
Colour: TypeAlias = tuple[float, float, float]


def _check_pictures(op: str, pictures: Pictures) -> None:
    check_array(op, "pictures", pictures)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"{op}: pictures must be uint8 (B, 3, H, W), got {pictures.dtype} {pictures.shape}")


def _check_normalise(pictures: Pictures, mean: Colour, std: Colour) -> None:
    _check_pictures("normalise", pictures)


@checked(_check_normalise)
def normalise(pictures: Pictures, mean: Colour, std: Colour) -> Floats:
    """``(pictures / 255 - mean) / std`` for each channel.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (B, 3, H, W)
    mean, std : (float, float, float)
        Of pixels between 0 and 1.

    Returns
    -------
    images : ndarray of float32, shape (B, 3, H, W)
    """
    return normalise_unit(unit(pictures), mean, std)


def unit(pictures: Pictures) -> Floats:
    """Pixels between 0 and 1, float32."""
    return pictures * np.float32(1 / 255)


def normalise_unit(images: Floats, mean: Colour, std: Colour) -> Floats:
    """Normalise pixels between 0 and 1, in place."""
    images -= np.asarray(mean, np.float32)[:, None, None]
    images *= np.asarray([1 / s for s in std], np.float32)[:, None, None]
    return images


def crop(pictures: Pictures, windows: IntArray, padding: int, fill: Fill) -> Pictures:
    """Cut a window of the old size out of each picture, padded on all sides.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (B, 3, H, W)
    windows : ndarray of int64, shape (2, B)
        First row and first column of each window in the padded picture, 0 to 2 ``padding``.
    padding : int
    fill : {"zero", "reflect"}
        Black, or the picture mirrored without its edge.
    """
    widths = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(pictures, widths, mode="constant" if fill == "zero" else "reflect")
    # every window of every picture, as a view: (B, 3, 2p + 1, 2p + 1, H, W)
    views = sliding_window_view(padded, pictures.shape[2:], axis=(2, 3))
    chosen: Pictures = views[np.arange(len(pictures)), :, windows[0], windows[1]]  # (B, 3, H, W), a copy
    return chosen


def flip(pictures: Pictures, flipped: npt.NDArray[np.bool_]) -> Pictures:
    """Mirror the pictures chosen by ``flipped``, (B,), left to right."""
    result = pictures.copy()
    result[flipped] = pictures[flipped, :, :, ::-1]
    return result


def cut_out(images: Floats, boxes: IntArray, side: int) -> Floats:
    """Set a square of each normalised image to 0, the mean colour, in place.

    Parameters
    ----------
    images : ndarray of float32, shape (B, 3, H, W)
    boxes : ndarray of int64, shape (2, B)
        First row and first column of each square, which may hang over the edge.
    side : int
    """
    top, left = boxes
    inside = inside_boxes(top, top + side, left, left + side, *images.shape[2:])  # (B, 1, H, W)
    np.copyto(images, 0, where=inside)
    return images


def inside_boxes(
    top: IntArray, bottom: IntArray, left: IntArray, right: IntArray, height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Where each picture's box is, (B, 1, H, W): rows top .. bottom - 1, columns left .. right - 1."""
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # (B, H)
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])  # (B, W)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def _check(
    pictures: Pictures, mean: Colour, std: Colour, *,
    windows: IntArray | None = None, padding: int = 0, fill: Fill = "zero",
    flipped: npt.NDArray[np.bool_] | None = None, boxes: IntArray | None = None, box_side: int = 0,
) -> None:  # fmt: skip
    _check_pictures("augment", pictures)
    B = len(pictures)
    drawn: list[tuple[str, npt.NDArray[Any] | None, tuple[int, ...]]] = [
        ("windows", windows, (2, B)), ("flipped", flipped, (B,)), ("boxes", boxes, (2, B)),
    ]  # fmt: skip
    for name, array, shape in drawn:
        if array is not None:
            check_array("augment", name, array)
            check_shape("augment", name, array, shape, "one for each picture")


@checked(_check)
def augment(
    pictures: Pictures, mean: Colour, std: Colour, *,
    windows: IntArray | None = None, padding: int = 0, fill: Fill = "zero",
    flipped: npt.NDArray[np.bool_] | None = None, boxes: IntArray | None = None, box_side: int = 0,
) -> Floats:  # fmt: skip
    """Crop, mirror, normalise, cut out: :func:`crop`, :func:`flip`, :func:`normalise`, :func:`cut_out` in this order.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (B, 3, H, W)
    mean, std : (float, float, float)
    windows : ndarray of int64, shape (2, B), optional
        With ``padding`` and ``fill``; without it nothing is cropped.
    padding : int
    fill : {"zero", "reflect"}
    flipped : ndarray of bool, shape (B,), optional
    boxes : ndarray of int64, shape (2, B), optional
        With ``box_side``; without it nothing is cut out.
    box_side : int

    Returns
    -------
    images : ndarray of float32, shape (B, 3, H, W)
    """
    if windows is not None:
        pictures = crop(pictures, windows, padding, fill)
    if flipped is not None:
        pictures = flip(pictures, flipped)
    images = normalise(pictures, mean, std)
    return images if boxes is None else cut_out(images, boxes, box_side)
