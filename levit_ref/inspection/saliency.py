"""Which pixels a logit depends on: the gradient at the picture, and the gradients along the way to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from levit_ref.inspection.gradients import run_with_gradients
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray

PICTURES_AT_ONCE = 32
"""How many points of the paths are run as one batch."""


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
    """The gradient of one logit of each picture with respect to its pixels. It takes one pass, forward and backward.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.
    classes : int or array of int, shape (B,), optional
        Whose logits; by default those that the model predicts.

    Returns
    -------
    gradient : InputGradient

    Notes
    -----
    Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2014, section 3.
    """
    chosen = None if classes is None else _checked(model, images, classes)
    with model.inference():
        logits, gradients = run_with_gradients(model, images, "images", of=chosen)
    return InputGradient(gradients["images"], logits.argmax(axis=1) if chosen is None else chosen)


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
    large it is. It takes a forward pass of all pictures and baselines, and for each picture one pass, forward and
    backward, for every 32 steps.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (B, 3, H, W)
        Normalised.
    classes : int or array of int, shape (B,), optional
        Whose logits; by default those that the model predicts.
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
    start = np.broadcast_to(np.asarray(baseline, images.dtype), images.shape)
    with model.inference():
        logits, start_logits = np.split(model(np.concatenate([images, start])), 2)  # (B, K) each
    chosen = logits.argmax(axis=1) if classes is None else _checked(model, images, classes)
    way = images - start
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    nodes, weights = (nodes + 1) / 2, weights / 2
    attributions = np.empty(images.shape, model.dtype)
    for b in range(len(images)):
        mean = np.zeros(images.shape[1:])  # of the gradient along the path, in float64
        for first in range(0, steps, PICTURES_AT_ONCE):
            at = slice(first, first + PICTURES_AT_ONCE)
            points = start[b] + nodes[at, None, None, None].astype(images.dtype) * way[b]
            with model.inference():
                _, gradients = run_with_gradients(model, points, "images", of=int(chosen[b]))
            mean += np.tensordot(weights[at], gradients["images"], axes=1)
        attributions[b] = way[b] * mean
    every = np.arange(len(images))
    ends = [values[every, chosen].astype(np.float64) for values in (logits, start_logits)]
    return IntegratedGradients(attributions, chosen, *ends)


def _checked(model: LeViT, images: Array, classes: npt.ArrayLike) -> IntArray:
    chosen = np.broadcast_to(np.asarray(classes), len(images))
    if not np.issubdtype(chosen.dtype, np.integer) or chosen.min() < 0 or chosen.max() >= model.num_classes:
        raise ValueError(f"classes must be integers from 0 to {model.num_classes - 1}, got {classes!r}")
    return chosen.copy()
