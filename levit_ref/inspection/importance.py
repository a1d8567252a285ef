"""Importance of heads and branches: how much the loss rises when one of them is switched off."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from levit_ref.inspection.edits import Edit, switch_off, switch_off_bias, switch_off_head
from levit_ref.inspection.layers import attention_layers, attention_modules
from levit_ref.inspection.run import run_with_activations
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray, log_softmax

KINDS = ("head", "attention", "mlp", "bias")
"""What can be switched off: a head, the attention or MLP branch of a residual sum, a layer's position bias."""


@dataclass(frozen=True)
class Part:
    """A part of the network, and the loss without it.

    Attributes
    ----------
    kind : {"head", "attention", "mlp", "bias"}
    name : str
        Of the attention or MLP.
    place : str
        Of its block, short: ``0.blocks.1``, or ``0→1`` where attention shrinks.
    head : int or None
        Which head, for one.
    rise : float
        Loss without the part minus loss of the whole model, mean over the images, in nats.
    error : float
        Standard error of ``rise`` as an estimate for all pictures: the images are a sample.
    """

    kind: str
    name: str
    place: str
    head: int | None
    rise: float
    error: float


@dataclass(frozen=True)
class Importance:
    """The result of :func:`importance`.

    Attributes
    ----------
    loss : float
        Mean cross-entropy of the whole model, in nats.
    images : int
    parts : tuple of Part
        In the order of execution.
    """

    loss: float
    images: int
    parts: tuple[Part, ...]


def importance(
    model: LeViT, images: Array, labels: IntArray, kinds: Collection[str] = KINDS, *, batch_size: int = 64
) -> Importance:
    """Switch the parts of a model off, one at a time, and see how much the cross-entropy rises.

    A head is off when its output is replaced by zeros; a branch, when zeros are added to its residual path; the bias,
    when zeros are added to the scores. Shrinking attention has no residual path around it, so it has heads and a bias
    to switch off but no branch. The pictures run once for the whole model, and once for every part.

    Parameters
    ----------
    model : LeViT
    images : ndarray, shape (n, 3, H, W)
        Normalised.
    labels : ndarray of int, shape (n,)
    kinds : collection of str
        Which kinds of parts, of ``"head"``, ``"attention"``, ``"mlp"`` and ``"bias"``.
    batch_size : int
        Pictures run at once.

    Returns
    -------
    importance : Importance

    Raises
    ------
    ValueError
        If a kind is none of the four, or labels and images do not fit.

    Notes
    -----
    Michel, Levy and Neubig, "Are Sixteen Heads Really Better than One?", NeurIPS 2019, section 3.2, for heads; Veit,
    Wilber and Belongie, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks", NeurIPS 2016,
    section 4.1, for branches. A small rise says that the others can do without the part, not that it does nothing.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"importance: unknown kinds {', '.join(sorted(unknown))}; known are {', '.join(KINDS)}")
    if len(labels) != len(images):
        raise ValueError(f"importance: {len(images)} images but {len(labels)} labels")
    whole = _losses(model, images, labels, {}, batch_size)  # (n,)
    parts = []
    for kind, name, place, head, edits in _switches(model):
        if kind in kinds:
            rises = _losses(model, images, labels, edits, batch_size) - whole  # (n,): each picture with itself
            error = rises.std(ddof=1) / np.sqrt(len(rises)) if len(rises) > 1 else np.nan
            parts.append(Part(kind, name, place, head, float(rises.mean()), float(error)))
    return Importance(float(whole.mean()), len(images), tuple(parts))


def _losses(model: LeViT, images: Array, labels: IntArray, edits: Mapping[str, Edit], batch_size: int) -> Array:
    """Cross-entropy of every picture under edits, float64 (n,)."""
    losses = []
    for start in range(0, len(images), batch_size):
        some = slice(start, start + batch_size)
        with model.inference():
            logits, _ = run_with_activations(model, images[some], [], edits=edits)
        assert logits is not None  # nothing stopped the pass
        scores = log_softmax(logits.astype(np.float64))
        losses.append(-np.take_along_axis(scores, labels[some, None], axis=1)[:, 0])
    return np.concatenate(losses)


def _switches(model: LeViT) -> Iterator[tuple[str, str, str, int | None, Mapping[str, Edit]]]:
    """Every part as (kind, name, place, head, the edits that switch it off), in the order of execution."""
    modules = attention_modules(model)
    for name, layer in attention_layers(model).items():
        if modules[name].attention_biases is not None:
            yield "bias", name, layer.label, None, switch_off_bias(name)
        for head in range(modules[name].num_heads):
            yield "head", name, layer.label, head, switch_off_head(name, head)
        if not layer.shrinks:
            yield "attention", name, layer.label, None, switch_off(name)
        mlp = f"{name.rpartition('.')[0]}.mlp"
        yield "mlp", mlp, layer.label, None, switch_off(mlp)
