"""Initial values of weights, as the official code has them.

Drawn in float64, so that a seed means the same network in every dtype. Without a generator they are zeros, for a model
whose weights are about to be read from a file.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from levit_ref.ops import Array


def fan_in_uniform(rng: np.random.Generator | None, shape: tuple[int, ...]) -> Array:
    """Uniform in ``+-1 / sqrt(fan_in)``: PyTorch's default for convolutions and linear layers, which LeViT keeps.

    ``fan_in`` is the number of inputs of one output: all axes of the weight but the first.
    """
    if rng is None:
        return np.zeros(shape, np.float32)  # half the memory to pass over; a model has its own dtype
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return rng.uniform(-bound, bound, shape)


def truncated_normal(rng: np.random.Generator | None, shape: tuple[int, ...], std: float, limit: float = 2.0) -> Array:
    """Normal with mean 0 and width ``std``, restricted to ``+-limit``; by inverting its distribution function.

    As in ``timm.layers.trunc_normal_`` the limit is absolute, not in units of ``std``.
    """
    if rng is None:
        return np.zeros(shape, np.float32)  # half the memory to pass over; a model has its own dtype
    low = ndtr(-limit / std)
    values: Array = std * ndtri(rng.uniform(low, 1 - low, shape))
    return values
