"""Walking over one flat array in pieces that stay in the cache.

All parameters of a model are views into one flat array, all gradients into another. An optimiser step written as
whole-array expressions would stream every temporary through main memory; done piece by piece, the temporaries
live in the second-level cache and only the operands themselves travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

CHUNK = 32_768
"""Elements in one piece: the six float32 arrays of an AdamW step take 768 KB at this length, within the second-level
cache of a present CPU core; shorter pieces spend more time in calls (half this length: a quarter slower)."""


def chunks(size: int, chunk: int = CHUNK) -> Iterator[slice]:
    """Consecutive slices of at most ``chunk`` elements that cover ``range(size)``."""
    for start in range(0, size, chunk):
        yield slice(start, min(start + chunk, size))


def check_flat(name: str, array: FloatArray, like: FloatArray | None = None) -> None:
    """Raise unless ``array`` is a contiguous 1-D float array, of the size and dtype of ``like`` where given."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}")
    if array.ndim != 1 or not array.flags.c_contiguous or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} must be a contiguous 1-D floating array, got {array.dtype} of shape {array.shape}")
    if like is not None and (array.shape != like.shape or array.dtype != like.dtype):
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {like.dtype} of shape {like.shape}")


NOT_DECAYED = ("attention_biases", "pos_embed")
"""Last name components that are never decayed although they are tables of more than one axis."""


def is_decayed(name: str, shape: tuple[int, ...]) -> bool:
    """Whether weight decay applies to a parameter: to the weights of convolutions and linear layers only.

    Not decayed: every 1-D parameter (biases, the scale and shift of norms), the attention biases and positional
    embeddings. Decay pulls towards zero, which is a sensible prior for a weight that multiplies an input and not
    for an offset or a table of positions. The rule is the one of the official recipe (1-D, ``.bias`` and
    ``no_weight_decay()``, which LeViT defines as the attention biases).
    """
    return len(shape) > 1 and name.rpartition(".")[2] not in NOT_DECAYED


def decay_mask(named_shapes: Iterable[tuple[str, tuple[int, ...]]]) -> BoolArray:
    """The decision of :func:`is_decayed` for every element of the flat array, in the order of the names.

    Returns
    -------
    mask : ndarray of bool, (P,)
        P is the number of trainable values.
    """
    parts = [np.full(int(np.prod(shape)), is_decayed(name, shape)) for name, shape in named_shapes]
    if not parts:
        raise ValueError("decay_mask: no parameters given")
    return np.concatenate(parts)
