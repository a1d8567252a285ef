"""Statistics of activations, layer by layer: how large, how spread, how often exactly zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from levit_ref.inspection.activations import Activations
from levit_ref.ops import Array

MAIN_PATH = ("stem.[!c]*", "stages.*.resid_mid", "stages.*.resid_post")
"""The way through the network: the stem's maps (without the insides of its convolutions, ``stem.conv*``), and the
residual stream after every attention and every MLP."""


@dataclass(frozen=True)
class ActivationStatistics:
    """Statistics of one named value, over all images and all its entries.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the value, batch included.
    mean, std, smallest, largest : float
    zeros : float
        Share of the entries that are exactly 0, as after a hardswish or ReLU that is off.
    finite : float
        Share of the entries that are neither infinite nor NaN; the statistics are taken over them.
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


def activation_statistics(acts: Activations, names: str | Iterable[str] = MAIN_PATH) -> dict[str, ActivationStatistics]:
    """Statistics of recorded values, by name, in the order of execution.

    Parameters
    ----------
    acts : Activations
    names : str or iterable of str
        Names or patterns; by default the stem's maps and the residual stream.

    Returns
    -------
    statistics : dict of str to ActivationStatistics

    Raises
    ------
    ValueError
        If a value was not recorded, or a name or pattern stands for none.
    """
    values = acts.needed(names, by="activation_statistics")
    return {name: ActivationStatistics.of(name, value) for name, value in values.items()}
