"""The two pictures of a run: its curves and its confusions. Written atomically, so that a viewer never sees half."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from levit_ref.figures import BLUE, GREEN, ORANGE, new_figure
from levit_ref.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELLED_CELLS = 12
"""With at most this many classes, every cell of the confusions shows its number."""


def plot_curves(path: str | os.PathLike[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss, accuracy and learning rate over the epochs.

    Parameters
    ----------
    path : path-like
        The PNG file.
    records : sequence of mappings
        The lines of ``metrics.jsonl``; at least one.
    """
    figure = new_figure(3.6, 12)
    loss, accuracy, rate = figure.subplots(1, 3)
    _line(loss, records, "train_loss", "training", BLUE, "-")
    _line(loss, records, "test_loss", "test", ORANGE, "--")
    _line(loss, records, "ema_test_loss", "test, averaged weights", GREEN, ":")
    _line(accuracy, records, "train_accuracy", "training", BLUE, "-", 100)
    _line(accuracy, records, "test_accuracy", "test", ORANGE, "--", 100)
    _line(accuracy, records, "ema_test_accuracy", "test, averaged weights", GREEN, ":", 100)
    _line(rate, records, "lr", "learning rate", BLUE, "-")
    for axes, title in ((loss, "loss"), (accuracy, "accuracy (%)"), (rate, "learning rate at the end of the epoch")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.locator_params(axis="x", integer=True)
    loss.legend(fontsize=8)
    accuracy.legend(fontsize=8)
    _save(figure, path)


def plot_confusion(path: str | os.PathLike[str], confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
    """Draw the confusion matrix.

    Parameters
    ----------
    path : path-like
        The PNG file.
    confusion : ndarray of int, (K, K)
        ``confusion[i, j]`` pictures of class i were called j.
    classes : sequence of str
        K names.
    """
    K = len(classes)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # (K, K), each row sums to 1
    side = 1.8 + 0.5 * min(K, 24)
    figure = new_figure(side, side + 0.8)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(
        f"{np.trace(confusion) / max(confusion.sum(), 1):.2%} of {confusion.sum():,} pictures right", fontsize=10
    )
    every = max(1, -(-K // 25))  # at most 25 names on an axis can be read
    axes.set_xticks(range(0, K, every), classes[::every], rotation=90, fontsize=8)
    axes.set_yticks(range(0, K, every), classes[::every], fontsize=8)
    if K <= LABELLED_CELLS:
        for (i, j), count in np.ndenumerate(confusion):
            if count:
                colour = "black" if shares[i, j] > 0.5 else "white"
                axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=7)
    _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _line(
    axes: Axes,
    records: Sequence[Mapping[str, Any]],
    field: str,
    label: str,
    colour: str,
    style: str,
    scale: float = 1.0,
) -> None:
    """One curve over the epochs that have a value; nothing if none has."""
    points = [(record["epoch"], scale * record[field]) for record in records if record[field] is not None]
    if points:
        marker = "." if len(points) < 40 else None
        axes.plot(*zip(*points, strict=True), label=label, color=colour, linestyle=style, marker=marker)
