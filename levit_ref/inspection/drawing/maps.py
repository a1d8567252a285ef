"""Draws attention maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from levit_ref.inspection.drawing.canvas import (
    grid_of_axes,
    mark_token,
    right_bar,
    root_figure,
    show_picture,
    show_tokens,
)
from levit_ref.inspection.maps import AttentionMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.drawing.canvas import AnyFigure

PANELS_A_ROW = 5


def draw_attention_maps(
    picture: npt.NDArray[Any],
    maps: AttentionMaps,
    *,
    heads: Sequence[int] | None = None,
    image: int = 0,
    figure: AnyFigure | None = None,
) -> Figure:
    """Draw the picture with the token marked, and a map over it for each head.

    Every map is drawn relative to its largest probability, which its title gives.

    Parameters
    ----------
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    maps : AttentionMaps
    heads : sequence of int, optional
        Which heads, counted from 0; by default all.
    image : int
        Which of the pictures in ``maps`` this one is.
    figure : Figure or SubFigure, optional
        Draw into this one.

    Returns
    -------
    figure : Figure
    """
    heads = range(maps.maps.shape[1]) if heads is None else heads
    columns = min(PANELS_A_ROW, 1 + len(heads))
    rows = -(-(1 + len(heads)) // columns)
    figure, axes = grid_of_axes(figure, rows, columns, tall=picture.shape[1] / picture.shape[2], extra=0.15)
    first, *panels = axes.flat
    show_picture(first, picture)
    mark_token(first, maps.queries, maps.query)
    first.set_title("picture", fontsize=9)
    shown = maps.maps[image, list(heads)]  # (chosen heads, H, W)
    for ax, head, values in zip(panels, heads, shown, strict=False):
        largest = float(values.max())
        drawn = show_tokens(ax, picture, values / largest, maps.keys, vmin=0, vmax=1)
        mark_token(ax, maps.queries, maps.query)
        ax.set_title(f"head {head}\nlargest {largest:.2g}", fontsize=8)
    for ax in panels[len(heads) :]:
        ax.set_axis_off()
    if len(heads):
        right_bar(figure, axes, drawn, "attention probability,\nrelative to the largest")
    figure.suptitle(f"Where the ringed token looks, {maps.layer}", fontsize=11)
    return root_figure(figure)
