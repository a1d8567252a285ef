"""Draws statistics of activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.figures import BLUE, ORANGE, new_figure
from levit_ref.inspection.drawing.canvas import label_layers, root_figure
from levit_ref.inspection.statistics import ActivationStatistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.drawing.canvas import AnyFigure


def draw_activation_statistics(
    statistics: Mapping[str, ActivationStatistics], *, figure: AnyFigure | None = None
) -> Figure:
    """Draw, for each value, its range and its mean with one standard deviation, and the share of zeros below.

    Parameters
    ----------
    statistics : mapping of str to ActivationStatistics
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    figure = new_figure(5.6) if figure is None else figure
    size, off = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    rows = list(statistics.values())
    x = np.arange(len(rows))
    mean, std = np.array([r.mean for r in rows]), np.array([r.std for r in rows])
    size.vlines(x, [r.smallest for r in rows], [r.largest for r in rows], color="0.7", label="smallest to largest")
    size.vlines(x, mean - std, mean + std, color=BLUE, linewidth=7, label="mean ± one standard deviation")
    size.plot(x, mean, "_", color=ORANGE, markersize=9, markeredgewidth=2, label="mean")
    size.set_ylabel("value (no unit)")
    size.legend(fontsize=8, ncols=3, loc="upper left")
    size.margins(y=0.18)
    size.set_title("Activations by layer, in the order of execution", fontsize=11)
    off.bar(x, [100 * r.zeros for r in rows], color=BLUE)
    off.set_ylabel("exactly zero\n(% of entries)")
    off.set_ylim(bottom=0)
    for ax in (size, off):
        ax.grid(axis="y", alpha=0.3)
    label_layers(off, [r.name.removeprefix("stages.") for r in rows])
    return root_figure(figure)
