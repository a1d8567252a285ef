"""All figures about one picture, and what they show: what ``levit-ref inspect`` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from levit_ref.inspection.distance import attention_distance, draw_attention_distance
from levit_ref.inspection.filters import draw_first_filters, first_filters
from levit_ref.inspection.geometry import attention_layers
from levit_ref.inspection.importance import draw_importance, importance
from levit_ref.inspection.maps import attention_maps, draw_attention_maps
from levit_ref.inspection.position_bias import draw_position_bias, position_biases
from levit_ref.inspection.receptive import draw_receptive_fields, receptive_field
from levit_ref.inspection.rollout import attention_rollout, draw_rollout
from levit_ref.inspection.saliency import draw_saliency, input_gradient, integrated_gradients
from levit_ref.inspection.similarity import draw_layer_similarity, layer_similarity
from levit_ref.inspection.statistics import activation_statistics, draw_activation_statistics
from levit_ref.nn import LeViT
from levit_ref.ops import Array, IntArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ReportFigure:
    """A figure that has not been drawn yet.

    Attributes
    ----------
    name : str
        Of a file, without suffix; ``attention/stages.0.blocks.1.attn`` lies in a folder.
    about : str
        What it shows, on one line.
    draw : callable
        Computes what is needed, and returns the figure.
    """

    name: str
    about: str
    draw: Callable[[], Figure]


def report_figures(
    model: LeViT,
    picture: npt.NDArray[Any],
    images: Array,
    *,
    at: tuple[int, int] | None = None,
    target: int | None = None,
    class_names: tuple[str, ...] = (),
    examples: tuple[Array, IntArray] | None = None,
) -> Iterator[ReportFigure]:
    """Every figure that the tools of this package have about a picture, one by one.

    Parameters
    ----------
    model : LeViT
    picture : ndarray, shape (3, H, W)
        Not normalised: uint8, or floating between 0 and 1.
    images : ndarray, shape (1, 3, H, W)
        The same picture, normalised.
    at : (int, int), optional
        Row and column of the pixel whose tokens are asked where they look; by default the middle.
    target : int, optional
        The class whose logit is explained; by default the one that the model predicts.
    class_names : tuple of str
        In the order of the logits.
    examples : (ndarray (n, 3, H, W), ndarray of int (n,)), optional
        Normalised pictures with labels. With them there are two more figures: similarity of layers, and importance.

    Yields
    ------
    figure : ReportFigure
    """

    def attention(layer: str, query: tuple[int, int] | None) -> Figure:
        return draw_attention_maps(picture, attention_maps(model, images, layer, query))

    def saliency() -> Figure:
        classes = None if target is None else [target]
        gradient = input_gradient(model, images, classes)
        integrated = integrated_gradients(model, images, classes)
        return draw_saliency(picture, gradient, integrated, class_names=class_names)

    def receptive() -> Figure:
        convs = [f"stem.act{i}" for i in range(1, len(model.config.stem))]
        names = [*convs, "stem.tokens", "stages.0.blocks.0.resid_mid"]
        return draw_receptive_fields(picture, [receptive_field(model, name, images=images) for name in names])

    layers = attention_layers(model)
    for name, layer in layers.items():
        query = None if at is None else layer.queries.nearest(at)
        yield ReportFigure(
            f"attention/{name}",
            f"where a token looks in {name}, by head",
            partial(attention, name, query),
        )
    yield ReportFigure(
        "rollout",
        "attention of all layers multiplied: what a token is mixed from",
        lambda: draw_rollout(picture, attention_rollout(model, images)),
    )
    yield ReportFigure(
        "attention_distance",
        "how far each head looks",
        lambda: draw_attention_distance(attention_distance(model, images)),
    )
    if all(layer.module.attention_biases is not None for layer in layers.values()):
        yield ReportFigure(
            "position_bias",
            "the position biases around a query, by layer and head",
            lambda: draw_position_bias(list(position_biases(model).values())),
        )
    yield ReportFigure("saliency", "which pixels matter for the class: gradient, integrated gradients", saliency)
    yield ReportFigure(
        "activation_statistics",
        "range, mean and deviation of the values on the way through the network",
        lambda: draw_activation_statistics(activation_statistics(model, images)),
    )
    yield ReportFigure(
        "first_filters", "the filters of the first convolution", lambda: draw_first_filters(first_filters(model))
    )
    yield ReportFigure("receptive_fields", "what a token can see, and what it does see", receptive)
    if examples is not None:
        others, labels = examples
        yield ReportFigure(
            "layer_similarity",
            f"how alike the layers are (CKA), over {len(others)} pictures",
            lambda: draw_layer_similarity(layer_similarity(model, others)),
        )
        yield ReportFigure(
            "importance",
            f"how much the loss rises without a head, a branch or a bias, over {len(others)} pictures",
            lambda: draw_importance(importance(model, others, labels)),
        )
