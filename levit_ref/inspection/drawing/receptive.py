"""Draws receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from levit_ref.figures import HEAT, ORANGE
from levit_ref.inspection.drawing.canvas import grid_of_axes, mark_point, right_bar, root_figure, show_picture
from levit_ref.inspection.receptive import ReceptiveField

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.drawing.canvas import AnyFigure

PANELS_A_ROW = 5


def draw_receptive_fields(
    picture: npt.NDArray[Any], fields: Sequence[ReceptiveField], *, figure: AnyFigure | None = None
) -> Figure:
    """Draw receptive fields: a frame around each and, inside it, the strength if it was measured.

    Parameters
    ----------
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    fields : sequence of ReceptiveField
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    from matplotlib.patches import Rectangle

    columns = min(PANELS_A_ROW, len(fields))
    tall = picture.shape[1] / picture.shape[2]
    figure, axes = grid_of_axes(figure, -(-len(fields) // columns), columns, tall=tall, extra=0.15)
    for ax, field in zip(axes.flat, fields, strict=False):
        show_picture(ax, picture, grey=True)
        if field.strength is not None:
            relative = field.strength / (field.strength.max() or 1.0)
            drawn = ax.imshow(relative, cmap=HEAT, vmin=0, vmax=1, alpha=0.8 * field.mask)
        top, left, bottom, right = field.box
        frame = (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1
        ax.add_patch(Rectangle(*frame, fill=False, edgecolor=ORANGE, linewidth=2, clip_on=False))
        if right - left > picture.shape[2] / 8:  # the cross would hide a smaller frame
            mark_point(ax, field.grid, field.token)
        ax.set_title(f"{field.name.removeprefix('stages.')}\n{bottom - top + 1}x{right - left + 1} pixels", fontsize=8)
    for ax in axes.flat[len(fields) :]:
        ax.set_axis_off()
    if any(field.strength is not None for field in fields):
        right_bar(figure, axes, drawn, "|d token / d pixel|, relative")
    figure.suptitle(
        "Receptive field of a token (+): its bounds (frame), and how much pixels count (colour)", fontsize=11
    )
    return root_figure(figure)
