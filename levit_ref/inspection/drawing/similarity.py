"""Draws the similarity of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from levit_ref.figures import HEAT
from levit_ref.inspection.drawing.canvas import label_layers, root_figure, single_axes
from levit_ref.inspection.similarity import LayerSimilarity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED_CELLS = 12
"""Up to this number of layers, every cell shows its value."""


def draw_layer_similarity(similarity: LayerSimilarity, *, ax: Axes | None = None) -> Figure:
    """Draw the matrix of similarities.

    Parameters
    ----------
    similarity : LayerSimilarity
    ax : Axes, optional

    Returns
    -------
    figure : Figure
    """
    side = 2.0 + 0.42 * max(len(similarity.rows), 5)
    ax = single_axes(ax, min(side, 7.0), min(side + 1.4, 8.0))
    drawn = ax.imshow(similarity.cka, cmap=HEAT, vmin=0, vmax=1)
    bar = root_figure(ax).colorbar(drawn, ax=ax, shrink=0.85)
    bar.set_label("linear CKA\n(1: same up to rotation, scale)", fontsize=8)
    short = [
        [name.removeprefix("stages.").removesuffix(".resid_post") for name in side]
        for side in (similarity.rows, similarity.columns)
    ]
    label_layers(ax, short[0], "y")
    label_layers(ax, short[1], "x")
    if max(similarity.cka.shape) <= NUMBERED_CELLS:
        for (i, j), value in np.ndenumerate(similarity.cka):
            colour = "black" if value > 0.6 else "white"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    ax.set_title(f"Similarity of layers, over {similarity.images:,} pictures", fontsize=11)
    return root_figure(ax)
