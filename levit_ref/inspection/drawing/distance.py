"""Draws how far heads look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.figures import BLUE, ORANGE
from levit_ref.inspection.distance import AttentionDistance
from levit_ref.inspection.drawing.canvas import label_layers, root_figure, single_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    ax.set_ylabel("mean distance from a token to\nthose it looks at (pixels)")
    ax.set_title("How far each head looks", fontsize=11)
    ax.grid(axis="y", alpha=0.3)
    ax.legend(fontsize=9)
    return root_figure(ax)
