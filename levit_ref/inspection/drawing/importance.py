"""Draws the importance of heads and branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from levit_ref.figures import BLUE, GREEN, ORANGE, new_figure
from levit_ref.inspection.drawing.canvas import label_layers, root_figure
from levit_ref.inspection.importance import Importance, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from levit_ref.inspection.drawing.canvas import AnyFigure

NUMBERED_HEADS = 24
"""Up to this many heads in a chart, all are numbered; beyond it, the most important of each layer."""


def draw_importance(importance: Importance, *, figure: AnyFigure | None = None) -> Figure:
    """Draw how much the loss rises: heads above, branches and biases below, with standard errors.

    Parameters
    ----------
    importance : Importance
    figure : Figure or SubFigure, optional

    Returns
    -------
    figure : Figure
    """
    heads = [part for part in importance.parts if part.kind == "head"]
    rest = [part for part in importance.parts if part.kind != "head"]
    charts = [chart for chart in ((_draw_heads, heads), (_draw_branches, rest)) if chart[1]]
    figure = new_figure(0.7 + 2.5 * len(charts)) if figure is None else figure
    places = list(dict.fromkeys(part.place for part in importance.parts))
    axes = figure.subplots(len(charts), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (draw, parts) in zip(axes, charts, strict=True):
        draw(ax, parts, places)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_ylabel("rise of the loss (nats)")
        ax.grid(axis="y", alpha=0.3)
        ax.margins(y=0.25)  # room for the legend
        ax.legend(fontsize=8, ncols=3, loc="upper left")
    label_layers(axes[-1], places)
    axes[-1].set_xlabel("block (stage.block), in the order of execution")
    title = f"Rise of the loss, {importance.loss:.3f} nats, when a part is switched off"
    figure.suptitle(f"{title} (pictures: {importance.images:,})", fontsize=11)
    return root_figure(figure)


def _draw_heads(ax: Axes, parts: list[Part], places: list[str]) -> None:
    for i, place in enumerate(places):
        here = sorted((part for part in parts if part.place == place), key=lambda part: part.rise)
        x = i + np.linspace(-0.3, 0.3, len(here)) if len(here) > 1 else [i]
        rises, errors = [part.rise for part in here], [part.error for part in here]
        label = "without one head (numbered), ± standard error" if i == 0 else None
        ax.errorbar(x, rises, errors, fmt="o", color=BLUE, ecolor="0.6", markersize=4, label=label)
        numbered = here if len(parts) <= NUMBERED_HEADS else here[-1:]
        for at, part in zip(x[-len(numbered) :], numbered, strict=True):
            ax.annotate(str(part.head), (at, part.rise), (3, 3), textcoords="offset points", fontsize=7)


def _draw_branches(ax: Axes, parts: list[Part], places: list[str]) -> None:
    styles = (
        ("attention", "without the attention branch", BLUE, ""),
        ("mlp", "without the MLP branch", GREEN, "///"),
        ("bias", "without the position bias", ORANGE, "..."),
    )
    for shift, (kind, label, colour, hatch) in zip((-0.27, 0.0, 0.27), styles, strict=True):
        here = [part for part in parts if part.kind == kind]
        if here:
            x = [places.index(part.place) + shift for part in here]
            rises, errors = [part.rise for part in here], [part.error for part in here]
            ax.bar(x, rises, 0.25, yerr=errors, color=colour, hatch=hatch, ecolor="0.3", edgecolor="white", label=label)
