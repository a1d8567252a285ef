"""Crop, flip, normalisation and cutout in one pass, in the calling thread alone, which is one of the loader's.

The images have the channels innermost in memory, as the first convolution reads them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from levit_ref import ops
from levit_ref.ops import IntArray
from levit_ref.ops.pictures import Colour, Fill, Floats, Pictures
from levit_ref.runtime.native.extension import extension
from levit_ref.runtime.native.kernel import kernel


@kernel(ops.augment, dtype=np.uint8)
def augment(
    pictures: Pictures, mean: Colour, std: Colour, *,
    windows: IntArray | None = None, padding: int = 0, fill: Fill = "zero",
    flipped: npt.NDArray[np.bool_] | None = None, boxes: IntArray | None = None, box_side: int = 0,
) -> Floats:  # fmt: skip
    images: Any = extension.augment(
        np.ascontiguousarray(pictures), _normalised_bytes(tuple(mean), tuple(std)),
        windows=windows, padding=padding, reflect=fill == "reflect", flipped=flipped, boxes=boxes, box_side=box_side,
    )  # fmt: skip
    return images.transpose(0, 3, 1, 2)


@kernel(ops.normalise, dtype=np.uint8)
def normalise(pictures: Pictures, mean: Colour, std: Colour) -> Floats:
    return augment(pictures, mean, std)


@lru_cache(maxsize=16)
def _normalised_bytes(mean: Colour, std: Colour) -> Floats:
    """The normalised value of each byte, by channel: (3, 256)."""
    every_byte = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 3, 1, 256))
    values = np.ascontiguousarray(ops.normalise(every_byte, mean, std)[0, :, 0])
    values.flags.writeable = False  # it is handed out again
    return values
