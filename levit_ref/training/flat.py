"""The flat arrays of a model, and which of their elements weight decay applies to.

All parameters of a model are views into one flat array, all gradients into another. The optimiser, the moving average
and clipping are one pass over them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from levit_ref.ops._checks import check_flat

__all__ = ["BoolArray", "FloatArray", "check_flat", "decay_mask", "is_decayed"]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

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
