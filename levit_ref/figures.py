"""What all figures share: size, colours, and a canvas that leaves no state behind.

A figure of the default width is 800 pixels wide. Figures are not made through pyplot, whose list of figures is global
state; ``figure.savefig`` writes one, and a notebook shows one that a cell ends with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 8.0
"""Inches, at ``DPI`` dots an inch."""
DPI = 100

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's palette, which the common forms of colour blindness tell apart; the strong colours first."""
BLUE, ORANGE, GREEN, PINK = OKABE_ITO[:4]

HEAT = "viridis"
"""For values that start at zero."""
SIGNED = "PuOr_r"
"""For values with a sign: purple below zero, white, orange above."""


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, sizes in inches."""
    # here and not above: matplotlib takes longer to import than all of this package
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
