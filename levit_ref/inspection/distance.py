"""Attention distance: how far heads look on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.inspection.figures import BLUE, ORANGE, label_layers, root_figure, single_axes
from levit_ref.inspection.geometry import AttentionLayer, attention_layers
from levit_ref.inspection.run import run_with_activations
from levit_ref.nn import LeViT
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        What it would be if every token looked at all tokens alike.
    """

    label: str
    distance: Array
    uniform: float


def token_distances(layer: AttentionLayer) -> Array:
    """Distances between the tokens that ask and those that are asked, in pixels.

    Returns
    -------
    distances : ndarray of float64, shape (N_q, N_k)
        ``sqrt(dy^2 + dx^2)`` between the pixels on which the two stand.
    """
    y_k, x_k = _places(layer.keys.rows, layer.keys.columns, layer.keys.pitch)
    y_q, x_q = _places(layer.queries.rows, layer.queries.columns, layer.queries.pitch)
    return np.hypot(y_q[:, None] - y_k, x_q[:, None] - x_k)


def _places(rows: int, columns: int, pitch: int) -> Array:
    """Row and column in pixels of every token, (2, N); the origin is the same for all maps and falls out."""
    return pitch * np.indices((rows, columns), dtype=np.float64).reshape(2, -1)


def attention_distance(model: LeViT, images: Array) -> dict[str, AttentionDistance]:
    """The mean distance in pixels between a token and those it looks at, for every layer and head.

    ``distance[b, h] = mean over q of sum over k of probs[b, h, q, k] |place(q) - place(k)|``

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.

    Returns
    -------
    distances : dict of str to AttentionDistance
        By name of the layer, in the order of execution.

    Notes
    -----
    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, figure 7 (right) and appendix D.7. Small distances are
    what a convolution has. A token in the middle of the map has less far to look than one in a corner, so even
    uniform attention has a distance that depends on the map; it is given beside.
    """
    layers = attention_layers(model)
    with model.inference():
        _, acts = run_with_activations(model, images, [f"{name}.probs" for name in layers])
    found = {}
    for name, layer in layers.items():
        apart = token_distances(layer)  # (N_q, N_k)
        probs = acts[f"{name}.probs"]  # (B, heads, N_q, N_k)
        distance = np.einsum("bhqk,qk->bh", probs, apart, optimize=True) / len(apart)
        found[name] = AttentionDistance(layer.label, distance, float(apart.mean()))
    return found


def draw_attention_distance(distances: Mapping[str, AttentionDistance], *, ax: Axes | None = None) -> Figure:
    """Draw a point for each head, mean over the images, and a line where uniform attention would be.

    Parameters
    ----------
    distances : mapping of str to AttentionDistance
    ax : Axes, optional

    Returns
    -------
    figure : Figure
    """
    ax = single_axes(ax, 4.0)
    for i, layer in enumerate(distances.values()):
        heads = layer.distance.mean(axis=0)  # (heads,)
        spread = np.linspace(-0.22, 0.22, len(heads)) if len(heads) > 1 else np.zeros(1)
        ax.plot([i - 0.36, i + 0.36], [layer.uniform] * 2, color=ORANGE, label="uniform attention" if i == 0 else None)
        ax.plot(i + spread, np.sort(heads), "o", color=BLUE, markersize=5, label="one head" if i == 0 else None)
    label_layers(ax, [layer.label for layer in distances.values()])
    ax.set_ylim(0, 1.1 * max(max(layer.uniform, layer.distance.mean(axis=0).max()) for layer in distances.values()))
    ax.set_xlabel("attention layer (stage.block), in the order of execution")
    ax.set_ylabel("mean distance from a token to\nwhat it looks at (pixels)")
    ax.set_title("How far each head looks", fontsize=11)
    ax.grid(axis="y", alpha=0.3)
    ax.legend(fontsize=9)
    return root_figure(ax)
