"""Which pixels a logit depends on: the gradient at the picture, and the gradients along the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from levit_ref.inspection.figures import HEAT, SIGNED, grid_of_axes, root_figure, show_picture
from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from levit_ref.inspection.figures import AnyFigure

PICTURES_AT_ONCE = 32
"""How many points of the paths are run as one batch."""
CLIPPED_ABOVE = 99.5
"""Percentile of the values at which the colours end: a few pixels would otherwise darken all others."""


@dataclass(frozen=True)
class InputGradient:
    """How a logit moves with the pixels, see :func:`input_gradient`.

    Attributes
    ----------
    gradient : ndarray, shape (B, 3, H, W)
        With respect to the normalised pixels.
    classes : ndarray of int, shape (B,)
        Whose logits.
    """

    gradient: Array
    classes: IntArray

    @property
    def saliency(self) -> Array:
        """One number for each pixel, the largest of its channels' absolute gradients: (B, H, W)."""
        return np.abs(self.gradient).max(axis=1)


@dataclass(frozen=True)
class IntegratedGradients:
    """Shares of the pixels in a logit, see :func:`integrated_gradients`.

    Attributes
    ----------
    attributions : ndarray, shape (B, 3, H, W)
    classes : ndarray of int, shape (B,)
    logits, baseline_logits : ndarray of float64, shape (B,)
        Of these classes, at the pictures and at the baselines.
    """

    attributions: Array
    classes: IntArray
    logits: Array
    baseline_logits: Array

    @property
    def saliency(self) -> Array:
        """One number for each pixel, the sum over its channels: (B, H, W)."""
        return self.attributions.sum(axis=1)

    @property
    def completeness_error(self) -> Array:
        """How far the attributions' sum is from ``logits - baseline_logits``, (B,): zero but for too few steps."""
        total = self.attributions.sum(axis=(1, 2, 3), dtype=np.float64)
        return total - (self.logits - self.baseline_logits)


def input_gradient(model: LeViT, images: Array, classes: npt.ArrayLike | None = None) -> InputGradient:
    """The gradient of one logit of each picture with respect to its pixels.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.
    classes : int or array of int, shape (B,), optional
        Whose logits; by default the classes that the model calls the pictures.

    Returns
    -------
    gradient : InputGradient

    Notes
    -----
    Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2014, section 3.
    """
    chosen = _chosen_classes(model, images, classes)
    return InputGradient(_gradient(model, images, chosen), chosen)


def integrated_gradients(
    model: LeViT,
    images: Array,
    classes: npt.ArrayLike | None = None,
    *,
    baseline: npt.ArrayLike = 0.0,
    steps: int = 64,
) -> IntegratedGradients:
    """Share the rise of a logit from a baseline picture to the picture out among the pixels.

    ``attribution = (x - x0) * integral over t from 0 to 1 of gradient(x0 + t (x - x0))``, whose sum is exactly
    ``logit(x) - logit(x0)`` (completeness). The integral is taken as a Gauss-Legendre sum. Along the path hardswish has
    kinks, so the error falls only as about one over the steps; :attr:`IntegratedGradients.completeness_error` says how
    large it is.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.
    classes : int or array of int, shape (B,), optional
        Whose logits; by default the classes that the model calls the pictures.
    baseline : array, broadcastable to the images
        Where the paths start. 0 is, in normalised pixels, the mean colour of the training pictures: a choice, on
        which the answer depends; pixels that are like the baseline get nothing.
    steps : int
        Points on each path.

    Returns
    -------
    attributions : IntegratedGradients

    Raises
    ------
    ValueError
        If ``steps`` is not positive.

    Notes
    -----
    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1 and proposition 1.
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients: steps must be at least 1, got {steps}")
    chosen = _chosen_classes(model, images, classes)
    start = np.broadcast_to(np.asarray(baseline, images.dtype), images.shape)
    way = images - start
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    nodes, weights = (nodes + 1) / 2, weights / 2
    attributions = np.empty(images.shape, model.dtype)
    for b in range(len(images)):
        mean = np.zeros(images.shape[1:])  # of the gradient along the path, in float64
        for first in range(0, steps, PICTURES_AT_ONCE):
            at = slice(first, first + PICTURES_AT_ONCE)
            points = start[b] + nodes[at, None, None, None].astype(images.dtype) * way[b]
            mean += np.tensordot(weights[at], _gradient(model, points, np.repeat(chosen[b], len(points))), axes=1)
        attributions[b] = way[b] * mean
    ends = [_logits(model, x)[np.arange(len(chosen)), chosen].astype(np.float64) for x in (images, start)]
    return IntegratedGradients(attributions, chosen, *ends)


def draw_saliency(
    picture: npt.NDArray[Any],
    gradient: InputGradient | None = None,
    integrated: IntegratedGradients | None = None,
    *,
    image: int = 0,
    class_names: tuple[str, ...] = (),
    figure: AnyFigure | None = None,
) -> Figure:
    """Draw a picture beside its input gradient, its integrated gradients, or both.

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


def _chosen_classes(model: LeViT, images: Array, classes: npt.ArrayLike | None) -> IntArray:
    if classes is None:
        return _logits(model, images).argmax(axis=1)
    chosen = np.broadcast_to(np.asarray(classes), len(images))
    if not np.issubdtype(chosen.dtype, np.integer) or chosen.min() < 0 or chosen.max() >= model.num_classes:
        raise ValueError(f"classes must be integers from 0 to {model.num_classes - 1}, got {classes}")
    return chosen.copy()


def _gradient(model: LeViT, images: Array, classes: IntArray) -> Array:
    """The gradient of each picture's chosen logit with respect to its pixels, (B, 3, H, W)."""
    with model.inference():
        return run_with_gradients(model, images, "images", of=classes)[1]["images"]


def _logits(model: LeViT, images: Array) -> Array:
    with model.inference():
        return model(images)
