"""The learned position biases as pictures around a query: LeViT's only knowledge of where a token is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.inspection.figures import SIGNED, grid_of_axes, root_figure
from levit_ref.inspection.geometry import attention_layer, attention_layers
from levit_ref.nn import LeViT
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.figures import AnyFigure

HEADS_A_ROW = 8


@dataclass(frozen=True)
class PositionBias:
    """The table of one layer, laid out around a query, see :func:`position_bias_around_query`.

    Attributes
    ----------
    layer, label : str
        Its name, and a short one.
    bias : ndarray, shape (heads, 2 H - 1, 2 W - 1)
        ``bias[h, H - 1 + dy, W - 1 + dx]`` is added to the score of a key ``dy`` rows below and ``dx`` columns to
        the right of the query.
    """

    layer: str
    label: str
    bias: Array

    @property
    def reach(self) -> tuple[int, int]:
        """Largest offset along either axis, in tokens: H - 1 and W - 1."""
        return self.bias.shape[1] // 2, self.bias.shape[2] // 2

    def seen_from(self, query: tuple[int, int]) -> Array:
        """The bias at every key of the map, (heads, H, W), for a query at this row and column of the keys' map."""
        y, x = query
        down, right = self.reach
        return self.bias[:, down - y : 2 * down + 1 - y, right - x : 2 * right + 1 - x]


def position_bias_around_query(model: LeViT, layer: str) -> PositionBias:
    """Lay the bias table of a layer out around a query.

    The table has one number for each head and offset ``(|dy|, |dx|)``. So the picture is its mirror image about the
    middle row and column; a query sees of it the part that lies on the map, :meth:`PositionBias.seen_from`.

    Parameters
    ----------
    model : LeViT
    layer : str
        An attention, see :func:`attention_layers`.

    Returns
    -------
    bias : PositionBias

    Raises
    ------
    ValueError
        If there is no such layer, or it has no bias (ablation A5).

    Notes
    -----
    The pictures of the paper's appendix B, "Visualizations: attention bias".
    """
    at = attention_layer(model, layer)
    if at.module.attention_biases is None:
        raise ValueError(f"{layer} of {model.config.name} has no position bias")
    H, W = at.keys.rows, at.keys.columns
    table = at.module.attention_biases.data.reshape(-1, H, W)  # (heads, H, W) by |dy| and |dx|
    dy, dx = np.abs(np.arange(1 - H, H)), np.abs(np.arange(1 - W, W))
    return PositionBias(layer, at.label, table[:, dy[:, None], dx])


def position_biases(model: LeViT) -> dict[str, PositionBias]:
    """:func:`position_bias_around_query` of all layers, by name, in the order of execution."""
    return {name: position_bias_around_query(model, name) for name in attention_layers(model)}


def draw_position_bias(biases: PositionBias | Sequence[PositionBias], *, figure: AnyFigure | None = None) -> Figure:
    """Draw the biases of layers: a picture for each head with the query in the middle, at most eight heads a row.

    Every layer has a scale of colours of its own, symmetric about zero.

    Parameters
    ----------
    biases : PositionBias or sequence of them
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    layers = [biases] if isinstance(biases, PositionBias) else list(biases)
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
        "Position bias: what each head adds to the score of a key at this offset from the query (+)", fontsize=11
    )
    return root_figure(figure)
