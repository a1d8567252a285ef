"""Draws attention rollout."""

from __future__ import annotations

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
from levit_ref.inspection.rollout import Rollout
from levit_ref.nn import TokenGrid
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from levit_ref.inspection.drawing.canvas import AnyFigure


def draw_rollout(
    picture: npt.NDArray[Any], rollout: Rollout, *, image: int = 0, figure: AnyFigure | None = None
) -> Figure:
    """Draw the shares in a middle token after the last layer of each map size, and those in the pooled features.

    Every map is drawn relative to its largest share, which its title gives.

    Parameters
    ----------
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    rollout : Rollout
    image : int
        Which of the pictures in ``rollout`` this one is.
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    last_of_size = {grid.pitch: name for name, grid in rollout.grids.items()}
    tall = picture.shape[1] / picture.shape[2]
    figure, axes = grid_of_axes(figure, 1, 2 + len(last_of_size), tall=tall, extra=0.3)
    first, *middle, last = axes[0]
    show_picture(first, picture)
    first.set_title("picture", fontsize=9)
    for ax, name in zip(middle, last_of_size.values(), strict=True):
        grid = rollout.grids[name]
        what = f"ringed token, 1 of {grid.tokens},\nafter {name.removeprefix('stages.')}"
        _draw_shares(ax, picture, rollout.token(name, grid.middle)[image], rollout.stem, what)
        mark_token(ax, grid, grid.middle)
    drawn = _draw_shares(
        last, picture, rollout.pooled[image], rollout.stem, "mean of the last tokens,\nwhich is classified"
    )
    right_bar(figure, axes, drawn, "share,\nrelative to the largest")
    figure.suptitle(f"Attention rollout: shares of the stem's {rollout.stem.tokens} tokens in later ones", fontsize=11)
    return root_figure(figure)


def _draw_shares(ax: Axes, picture: npt.NDArray[Any], shares: Array, grid: TokenGrid, what: str) -> AxesImage:
    largest = float(shares.max())
    ax.set_title(f"{what}\nlargest share {largest:.1%}", fontsize=8)
    return show_tokens(ax, picture, shares / largest, grid, vmin=0, vmax=1)
