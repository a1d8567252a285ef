"""Statistics of activations, layer by layer: how large, how spread, how often exactly zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from levit_ref.inspection.figures import BLUE, ORANGE, label_layers, new_figure, root_figure
from levit_ref.inspection.run import run_with_activations
from levit_ref.nn import LeViT
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.figures import AnyFigure

MAIN_PATH = ("stem.act*", "stem.tokens", "stages.*.resid_mid", "stages.*.resid_post")
"""The way through the network: the stem's maps and the residual stream behind every attention and every MLP."""


@dataclass(frozen=True)
class ActivationStatistics:
    """Of one named value, over all images and all its entries.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the value, batch included.
    mean, std, smallest, largest : float
    zeros : float
        Share of the entries that are exactly 0, as behind a hardswish or ReLU that is off.
    finite : float
        Share of the entries that are neither infinite nor NaN; the statistics are those of these.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    smallest: float
    largest: float
    zeros: float
    finite: float

    @property
    def rms(self) -> float:
        """Root of the mean square: ``sqrt(mean^2 + std^2)``."""
        return float(np.hypot(self.mean, self.std))

    @classmethod
    def of(cls, name: str, value: Array) -> ActivationStatistics:
        """Statistics of an array, in float64. All are NaN if no entry is finite."""
        fine = np.isfinite(value)
        entries = value[fine].astype(np.float64)
        if not entries.size:
            nan = float("nan")
            return cls(name, value.shape, nan, nan, nan, nan, zeros=nan, finite=0.0)
        mean, std, low, high = (float(f(entries)) for f in (np.mean, np.std, np.min, np.max))
        return cls(name, value.shape, mean, std, low, high, float(np.mean(entries == 0)), float(fine.mean()))


def activation_statistics(
    model: LeViT, images: Array, names: Sequence[str] = MAIN_PATH
) -> dict[str, ActivationStatistics]:
    """Statistics of the values of a forward pass, by name, in the order of execution.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.
    names : sequence of str
        Names or patterns; by default the stem's maps and the residual stream.

    Returns
    -------
    statistics : dict of str to ActivationStatistics
    """
    with model.inference():
        _, acts = run_with_activations(model, images, names)
    return {name: ActivationStatistics.of(name, value) for name, value in acts.items()}


def draw_activation_statistics(
    statistics: dict[str, ActivationStatistics], *, figure: AnyFigure | None = None
) -> Figure:
    """Draw, for each value, its range and its mean with one standard deviation, and the share of zeros below.

    Parameters
    ----------
    statistics : dict of str to ActivationStatistics
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
