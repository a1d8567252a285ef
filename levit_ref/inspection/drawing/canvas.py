"""What the figures of this package share: axes, pictures under maps of tokens, marks, and scales of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from levit_ref.figures import HEAT, ORANGE, WIDTH, new_figure
from levit_ref.nn import TokenGrid
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

    AnyFigure: TypeAlias = Figure | SubFigure


def single_axes(ax: Axes | None, height: float, width: float = WIDTH) -> Axes:
    """The axes to draw into: the given ones, or those of a new figure."""
    return new_figure(height, width).subplots() if ax is None else ax


def root_figure(of: Axes | AnyFigure) -> Figure:
    """The whole figure that axes or a part of a figure belong to."""
    figure: Any = of.figure
    return figure.figure


def grid_of_axes(
    figure: AnyFigure | None, rows: int, columns: int, *, tall: float = 1.0, extra: float = 0.0
) -> tuple[AnyFigure, Any]:
    """A figure and (rows, columns) axes in it without ticks: pictures side by side.

    A new figure has room for pictures whose height is ``tall`` times their width, for titles, a bar at the right, and
    ``extra`` inches for each row.
    """
    if figure is None:
        height = 0.4 + rows * (0.3 + extra + tall * min(2.6, (WIDTH - 0.9) / columns))
        figure = new_figure(max(2.1, height))  # the text next to a bar has to fit
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    return figure, axes


def as_rgb(picture: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """A picture (3, H, W), uint8 or floating between 0 and 1, as (H, W, 3) between 0 and 1.

    Raises
    ------
    ValueError
        If it is neither: normalised pixels have no colours that could be shown.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise ValueError(f"a picture must have shape (3, H, W), got {picture.shape}")
    rgb = picture.transpose(1, 2, 0)
    if picture.dtype == np.uint8:
        return rgb / 255
    if picture.size and not (picture.min() >= 0 and picture.max() <= 1):
        raise ValueError(
            f"a picture must be uint8, or floating between 0 and 1; this one goes from {picture.min():.3g} to "
            f"{picture.max():.3g}. Give the pixels from before the normalisation"
        )
    return rgb.astype(np.float64)


def show_picture(ax: Axes, picture: npt.NDArray[Any], *, grey: bool = False) -> None:
    """Draw a picture, its pixels counted from 0 at the centre of the first."""
    rgb = as_rgb(picture)
    if grey:
        ax.imshow(rgb @ [0.299, 0.587, 0.114], cmap="gray", vmin=0, vmax=1)
    else:
        ax.imshow(rgb)


def show_tokens(
    ax: Axes, picture: npt.NDArray[Any], values: Array, grid: TokenGrid, *, alpha: float = 0.65, **style: Any
) -> AxesImage:
    """Draw a map of tokens over a grey picture, each token around the pixel that it is centred on."""
    show_picture(ax, picture, grey=True)
    H, W = picture.shape[1:]
    image = ax.imshow(values, extent=grid.extent, alpha=alpha, interpolation="nearest", **{"cmap": HEAT, **style})
    ax.set(xlim=(-0.5, W - 0.5), ylim=(H - 0.5, -0.5))
    return image


def mark_token(ax: Axes, grid: TokenGrid, token: tuple[int, int]) -> None:
    """Mark a token with a ring that is visible on dark and on light ground."""
    y, x = grid.centre(token)
    for colour, width in (("black", 3.2), (ORANGE, 1.6)):
        ax.plot(x, y, "o", ms=8, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=width, clip_on=False)


def mark_point(ax: Axes, grid: TokenGrid, token: tuple[int, int]) -> None:
    """Mark a token with a small cross, where a ring would hide the map."""
    y, x = grid.centre(token)
    for colour, width in (("black", 3.0), ("white", 1.2)):
        ax.plot(x, y, "+", ms=8, markeredgecolor=colour, markeredgewidth=width, clip_on=False)


def right_bar(figure: AnyFigure, axes: Any, drawn: Any, label: str) -> None:
    """One scale of colours for all axes, at their right."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.01)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)


def label_layers(ax: Axes, labels: list[str], axis: str = "x") -> None:
    """Name the places 0, 1, 2 of an axis after layers."""
    if axis == "x":
        crowded = sum(map(len, labels)) > 40
        ax.set_xticks(range(len(labels)), labels, rotation=90 if crowded else 0, fontsize=8)
    else:
        ax.set_yticks(range(len(labels)), labels, fontsize=8)
