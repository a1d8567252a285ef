"""The kernel for :mod:`levit_ref.data.augment`: crop, flip, normalisation and cutout in one pass.

The arithmetic in NumPy, which decides, stands where this is called.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from levit_ref.ops._checks import Array, IntArray
from levit_ref.runtime.native import extension


def augment(
    pictures: npt.NDArray[np.uint8],
    values: Array,
    *,
    windows: IntArray | None = None,
    padding: int = 0,
    fill: Literal["zero", "reflect"] = "zero",
    flipped: npt.NDArray[np.bool_] | None = None,
    boxes: IntArray | None = None,
    box_side: int = 0,
) -> npt.NDArray[np.float32]:
    """Turn bytes into a batch for the network. It runs in the calling thread alone, which is one of the loader's.

    Parameters
    ----------
    pictures : ndarray of uint8, (B, 3, H, W)
    values : ndarray, (3, 256)
        What normalisation makes of each byte, by channel.
    windows : ndarray of int64, (2, B), optional
        First rows and first columns of the crops, in pictures that have ``padding`` more pixels on all sides.
    padding : int
    fill : {"zero", "reflect"}
        What these are.
    flipped : ndarray of bool, (B,), optional
        Which are mirrored, left to right.
    boxes : ndarray of int64, (2, B), optional
        First rows and first columns of squares that become 0.
    box_side : int

    Returns
    -------
    images : ndarray, (B, 3, H, W)
        A view of memory in the order (B, H, W, 3), in which the first convolution reads it.
    """
    images: Any = extension.augment(
        np.ascontiguousarray(pictures),
        values,
        windows=windows,
        padding=padding,
        reflect=fill == "reflect",
        flipped=flipped,
        boxes=boxes,
        box_side=box_side,
    )
    return images.transpose(0, 3, 1, 2)
