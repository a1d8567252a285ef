"""Draws the filters of the first convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from levit_ref.inspection.drawing.canvas import root_figure, single_axes
from levit_ref.ops import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 16


def filters_as_pictures(filters: Array) -> Array:
    """Filters as colours: grey for a weight of 0, each filter scaled by its own largest absolute weight.

    Parameters
    ----------
    filters : ndarray, shape (C_out, 3, k, k)

    Returns
    -------
    pictures : ndarray, shape (C_out, k, k, 3)
        Between 0 and 1.
    """
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(filters, largest, out=np.zeros_like(filters), where=largest > 0)
    return 0.5 + 0.5 * scaled.transpose(0, 2, 3, 1)


def draw_first_filters(filters: Array, *, ax: Axes | None = None) -> Figure:
    """Draw all filters as small pictures, row by row.

    Parameters
    ----------
    filters : ndarray, shape (C_out, 3, k, k)
    ax : Axes, optional

    Returns
    -------
    figure : Figure
    """
    pictures = filters_as_pictures(filters)
    count, k = pictures.shape[:2]
    columns = min(count, COLUMNS if count > 64 else COLUMNS // 2)  # the last row is full then
    rows = -(-count // columns)
    cell = k + max(1, k // 8)  # a filter and the white gap next to it
    sheet = np.ones((rows * cell, columns * cell, 3))
    for i, picture in enumerate(pictures):
        y, x = i // columns * cell, i % columns * cell
        sheet[y : y + k, x : x + k] = picture
    ax = single_axes(ax, 0.9 + 7.3 * rows / columns)
    ax.imshow(sheet[: k - cell, : k - cell], interpolation="nearest")
    ax.set_xticks(np.arange(columns) * cell + (k - 1) / 2, [f"+{i}" for i in range(columns)], fontsize=8)
    ax.set_yticks(np.arange(rows) * cell + (k - 1) / 2, [str(i * columns) for i in range(rows)], fontsize=8)
    ax.tick_params(length=0)
    ax.set_frame_on(False)
    ax.set_xlabel("filter: number at the left plus number below; red, green and blue weights as colours, grey is 0")
    ax.set_title(f"The {count} filters of the first convolution, {k}x{k} pixels each", fontsize=11)
    return root_figure(ax)
