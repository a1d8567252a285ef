"""Draws input gradients and integrated gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from levit_ref.figures import HEAT, SIGNED
from levit_ref.inspection.drawing.canvas import grid_of_axes, root_figure, show_picture
from levit_ref.inspection.saliency import InputGradient, IntegratedGradients
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.drawing.canvas import AnyFigure

CLIPPED_ABOVE = 99.5
"""Percentile of the values at which the colours end: a few pixels would otherwise darken all others."""


def draw_saliency(
    picture: npt.NDArray[Any],
    gradient: InputGradient | None = None,
    integrated: IntegratedGradients | None = None,
    *,
    image: int = 0,
    class_names: tuple[str, ...] = (),
    figure: AnyFigure | None = None,
) -> Figure:
    """Draw a picture next to its input gradient, its integrated gradients, or both.

    Parameters
    ----------
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    gradient : InputGradient, optional
    integrated : IntegratedGradients, optional
    image : int
        Which of the pictures in them this one is.
    class_names : tuple of str
        In the order of the logits; without them classes are numbers.
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        If neither of the two is given.
    """
    given = gradient if gradient is not None else integrated
    if given is None:
        raise ValueError("draw_saliency: give a gradient, integrated gradients, or both")
    columns = 1 + (gradient is not None) + (integrated is not None)
    figure, axes = grid_of_axes(figure, 1, columns, tall=picture.shape[1] / picture.shape[2], extra=0.35)
    first, *panels = axes[0]
    show_picture(first, picture)
    first.set_title("picture", fontsize=9)
    if gradient is not None:
        values = gradient.saliency[image]
        limit = _limit(values)
        drawn = panels[0].imshow(values, cmap=HEAT, vmin=0, vmax=limit)
        panels[0].set_title("input gradient", fontsize=9)
        _bar(
            figure,
            panels[0],
            drawn,
            "largest |d logit / d pixel| of the channels\n(pixel in standard deviations)",
            "max",
        )
    if integrated is not None:
        values = integrated.saliency[image]
        limit = _limit(values)
        drawn = panels[-1].imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit)
        rise = integrated.logits[image] - integrated.baseline_logits[image]
        panels[-1].set_title(f"integrated gradients, sum {rise:+.2f}", fontsize=9)
        _bar(figure, panels[-1], drawn, "share of the pixel in the logit's rise\nover the baseline (logits)", "both")
    index = int(given.classes[image])
    name = class_names[index] if class_names else f"class {index}"
    figure.suptitle(f"Which pixels the logit of “{name}” depends on", fontsize=11)
    return root_figure(figure)


def _limit(values: Array) -> float:
    return float(np.percentile(np.abs(values), CLIPPED_ABOVE)) or 1.0


def _bar(figure: AnyFigure, ax: Any, drawn: Any, label: str, extend: str) -> None:
    bar = figure.colorbar(drawn, ax=ax, orientation="horizontal", shrink=0.9, pad=0.03, extend=extend)
    bar.ax.tick_params(labelsize=8)
    bar.ax.locator_params(nbins=5)
    bar.set_label(label, fontsize=8)
