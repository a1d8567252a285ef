"""Draws position biases around a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.figures import SIGNED
from levit_ref.inspection.drawing.canvas import grid_of_axes, root_figure
from levit_ref.inspection.position_bias import PositionBias

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.drawing.canvas import AnyFigure

HEADS_A_ROW = 8


def draw_position_bias(
    biases: PositionBias | Iterable[PositionBias] | Mapping[str, PositionBias], *, figure: AnyFigure | None = None
) -> Figure:
    """Draw the biases of layers: a picture for each head with the query in the middle, at most eight heads a row.

    Every layer has a scale of colours of its own, symmetric about zero.

    Parameters
    ----------
    biases : PositionBias, or several, or a mapping to them by layer
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    if isinstance(biases, PositionBias):
        layers = [biases]
    else:
        layers = list(biases.values() if isinstance(biases, Mapping) else biases)
    lines = [(at, first) for at in layers for first in range(0, len(at.bias), HEADS_A_ROW)]
    columns = min(HEADS_A_ROW, max(len(at.bias) for at in layers))
    figure, axes = grid_of_axes(figure, len(lines), columns, tall=0.95, extra=0.15)
    for line, (at, first) in zip(axes, lines, strict=True):
        limit = float(np.abs(at.bias).max()) or 1.0
        down, right = at.reach
        extent = (-right - 0.5, right + 0.5, down + 0.5, -down - 0.5)
        shown = at.bias[first : first + HEADS_A_ROW]
        for head, ax, values in zip(range(first, first + columns), line, shown, strict=False):
            drawn = ax.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit, extent=extent, interpolation="nearest")
            ax.plot(0, 0, "+", color="black", markersize=5)
            ax.set_xticks([-right, 0, right] if right else [0])
            ax.set_yticks([-down, 0, down] if down and head == first else [])
            ax.tick_params(labelsize=7)
            ax.set_title(f"{at.label} head {head}" if head == first else f"head {head}", fontsize=8)
        for ax in line[len(shown) :]:
            ax.set_axis_off()
        bar = figure.colorbar(drawn, ax=list(line), shrink=0.9, aspect=12, pad=0.01)
        bar.ax.tick_params(labelsize=7)
        bar.ax.set_title("score", fontsize=7)
    figure.supxlabel("columns from the query to the key (tokens)", fontsize=9)
    figure.supylabel("rows from the query to the key (tokens)", fontsize=9)
    figure.suptitle(
        "Position bias: added by each head to the score of a key at this offset from the query (+)", fontsize=11
    )
    return root_figure(figure)
