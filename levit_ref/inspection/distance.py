"""Attention distance: how far heads look on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from levit_ref.inspection.activations import Activations
from levit_ref.inspection.layers import ATTENTION, AttentionLayer, attention_layers
from levit_ref.nn import TokenGrid
from levit_ref.ops import Array


@dataclass(frozen=True)
class AttentionDistance:
    """How far the heads of one layer look, see :func:`attention_distance`.

    Attributes
    ----------
    label : str
        Of the layer, short.
    distance : ndarray, shape (B, heads)
        In pixels.
    uniform : float
        The distance if every token looked at all tokens equally.
    """

    label: str
    distance: Array
    uniform: float


def token_distances(layer: AttentionLayer) -> Array:
    """Distances between the tokens that ask and the tokens that are asked, in pixels.

    Returns
    -------
    distances : ndarray of float64, shape (N_q, N_k)
        ``sqrt(dy^2 + dx^2)`` between the pixels on which the two stand.
    """
    (y_k, x_k), (y_q, x_q) = _places(layer.keys), _places(layer.queries)
    return np.hypot(y_q[:, None] - y_k, x_q[:, None] - x_k)


def _places(grid: TokenGrid) -> Array:
    """Row and column of the pixel at the centre of every token, (2, N)."""
    return grid.origin + grid.pitch * np.indices(grid.shape, dtype=np.float64).reshape(2, -1)


def attention_distance(acts: Activations) -> dict[str, AttentionDistance]:
    """The mean distance in pixels between a token and those that it looks at, for every layer and head.

    ``distance[b, h] = mean over q of sum over k of probs[b, h, q, k] |place(q) - place(k)|``

    Parameters
    ----------
    acts : Activations
        With :data:`ATTENTION`.

    Returns
    -------
    distances : dict of str to AttentionDistance
        By name of the layer, in the order of execution.

    Raises
    ------
    ValueError
        If a layer was not recorded.

    Notes
    -----
    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, figure 7 (right) and appendix D.7. Convolutions have
    small distances. The distance of uniform attention, which depends on the size of the map, is given for comparison.
    """
    recorded = acts.needed(ATTENTION, by="attention_distance")
    found = {}
    for name, layer in attention_layers(acts).items():
        apart = token_distances(layer)  # (N_q, N_k)
        probs = recorded[f"{name}.probs"]  # (B, heads, N_q, N_k)
        distance = np.einsum("bhqk,qk->bh", probs, apart, optimize=True) / len(apart)
        found[name] = AttentionDistance(layer.label, distance, float(apart.mean()))
    return found
