"""The findings of all tools about one picture; ``levit-ref inspect`` writes them.

A finding is computed and drawn in two steps. The numbers alone need no matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from levit_ref.inspection import drawing
from levit_ref.inspection.activations import Activations
from levit_ref.inspection.distance import attention_distance
from levit_ref.inspection.filters import first_filters
from levit_ref.inspection.importance import importance
from levit_ref.inspection.layers import ATTENTION, attention_layers, attention_modules
from levit_ref.inspection.maps import attention_maps
from levit_ref.inspection.position_bias import position_biases
from levit_ref.inspection.receptive import ReceptiveField, receptive_field
from levit_ref.inspection.rollout import attention_rollout
from levit_ref.inspection.run import record
from levit_ref.inspection.saliency import InputGradient, IntegratedGradients, input_gradient, integrated_gradients
from levit_ref.inspection.similarity import AFTER_BLOCKS, LayerSimilarity, layer_similarity
from levit_ref.inspection.statistics import MAIN_PATH, activation_statistics
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDED = ("images", *MAIN_PATH, *ATTENTION, "logits")
"""The values that have to be recorded of the picture."""

EXAMPLES_AT_ONCE = 64


@dataclass(frozen=True)
class Finding:
    """A result about a picture, not yet computed, and its figure, not yet drawn.

    Attributes
    ----------
    name : str
        Of a file, without suffix; ``attention/stages.0.blocks.1.attn`` lies in a folder.
    about : str
        What it shows, on one line.
    compute : callable
        Returns the result of a tool: numbers.
    draw : callable
        Takes that result, and returns the figure.
    """

    name: str
    about: str
    compute: Callable[[], Any]
    draw: Callable[[Any], Figure]


def findings(
    model: LeViT,
    acts: Activations,
    picture: npt.NDArray[Any],
    *,
    at: tuple[int, int] | None = None,
    target: int | None = None,
    class_names: tuple[str, ...] = (),
    examples: tuple[Array, IntArray] | None = None,
) -> Iterator[Finding]:
    """Every finding of the tools of this package about a picture, one by one.

    The picture is not run again, except by the tools that differentiate: saliency and receptive fields.

    Parameters
    ----------
    model : LeViT
    acts : Activations
        ``record(model, images, NEEDED)``, or more, of one normalised picture.
    picture : ndarray, shape (3, H, W)
        The same picture, not normalised: uint8, or floating between 0 and 1.
    at : (int, int), optional
        Row and column of a pixel: attention maps are those of the nearest tokens. By default the middle.
    target : int, optional
        The class whose logit is explained; by default the one that the model predicts.
    class_names : tuple of str
        In the order of the logits.
    examples : (ndarray (n, 3, H, W), ndarray of int (n,)), optional
        Normalised pictures with labels. With them there are two more findings: similarity of layers, and importance.

    Yields
    ------
    finding : Finding

    Raises
    ------
    ValueError
        If something was not recorded.
    """
    acts.needed(NEEDED, by="findings")
    for name, layer in attention_layers(acts).items():
        query = None if at is None else layer.queries.nearest(at)
        yield Finding(
            f"attention/{name}",
            f"where a token looks in {name}, by head",
            partial(attention_maps, acts, name, query),
            partial(drawing.draw_attention_maps, picture),
        )
    yield Finding(
        "rollout",
        "attention of all layers multiplied: the shares of the first tokens in later ones",
        partial(attention_rollout, acts),
        partial(drawing.draw_rollout, picture),
    )
    yield Finding(
        "attention_distance",
        "how far each head looks",
        partial(attention_distance, acts),
        drawing.draw_attention_distance,
    )
    if all(module.attention_biases is not None for module in attention_modules(model).values()):
        yield Finding(
            "position_bias",
            "the position biases around a query, by layer and head",
            partial(position_biases, model),
            drawing.draw_position_bias,
        )
    images = acts["images"]
    explained = int(acts["logits"][0].argmax()) if target is None else target
    yield Finding(
        "saliency",
        "which pixels matter for the class: gradient, integrated gradients",
        partial(_saliency, model, images, explained),
        partial(_draw_saliency, picture, class_names),
    )
    yield Finding(
        "activation_statistics",
        "range, mean and deviation of the values on the way through the network",
        partial(activation_statistics, acts),
        drawing.draw_activation_statistics,
    )
    yield Finding(
        "first_filters",
        "the filters of the first convolution",
        partial(first_filters, model),
        drawing.draw_first_filters,
    )
    yield Finding(
        "receptive_fields",
        "the pixels that a token can see, and how much each counts",
        partial(_receptive_fields, model, images),
        partial(drawing.draw_receptive_fields, picture),
    )
    if examples is not None:
        others, labels = examples
        yield Finding(
            "layer_similarity",
            f"similarity of the layers (CKA), over {len(others)} pictures",
            partial(_layer_similarity, model, others),
            drawing.draw_layer_similarity,
        )
        yield Finding(
            "importance",
            f"how much the loss rises without a head, a branch or a bias, over {len(others)} pictures",
            partial(importance, model, others, labels, batch_size=EXAMPLES_AT_ONCE),
            drawing.draw_importance,
        )


def _saliency(model: LeViT, images: Array, target: int) -> tuple[InputGradient, IntegratedGradients]:
    return input_gradient(model, images, target), integrated_gradients(model, images, target)


def _draw_saliency(
    picture: npt.NDArray[Any], class_names: tuple[str, ...], found: tuple[InputGradient, IntegratedGradients]
) -> Figure:
    return drawing.draw_saliency(picture, *found, class_names=class_names)


def _receptive_fields(model: LeViT, images: Array) -> list[ReceptiveField]:
    """Of a token after every convolution of the stem, and after the first attention."""
    convs = [f"stem.act{i}" for i in range(1, len(model.config.stem))]
    block, _, _ = next(iter(attention_layers(model))).rpartition(".")
    names = [*convs, "stem.tokens", f"{block}.resid_mid"]
    return [receptive_field(model, name, images=images) for name in names]


def _layer_similarity(model: LeViT, images: Array) -> LayerSimilarity:
    return layer_similarity(record(model, images, AFTER_BLOCKS, batch_size=EXAMPLES_AT_ONCE))
