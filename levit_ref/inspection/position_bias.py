"""The learned position biases as pictures around a query: all that LeViT knows of where a token is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from levit_ref.inspection.layers import attention_layer, attention_modules
from levit_ref.nn import LeViT
from levit_ref.ops import Array


@dataclass(frozen=True)
class PositionBias:
    """The table of one layer, laid out around a query, see :func:`position_bias_around_query`.

    Attributes
    ----------
    layer, label : str
        Its name, and a short one.
    bias : ndarray, shape (heads, 2 H - 1, 2 W - 1)
        ``bias[h, H - 1 + dy, W - 1 + dx]`` is added to the score of a key ``dy`` rows below and ``dx`` columns to
        the right of the query.
    """

    layer: str
    label: str
    bias: Array

    @property
    def reach(self) -> tuple[int, int]:
        """Largest offset along either axis, in tokens: H - 1 and W - 1."""
        return self.bias.shape[1] // 2, self.bias.shape[2] // 2

    def seen_from(self, query: tuple[int, int]) -> Array:
        """The bias at every key of the map, (heads, H, W), for a query at this row and column of the keys' map."""
        y, x = query
        down, right = self.reach
        return self.bias[:, down - y : 2 * down + 1 - y, right - x : 2 * right + 1 - x]


def position_bias_around_query(model: LeViT, layer: str) -> PositionBias:
    """Lay the bias table of a layer out around a query.

    The table has one number for each head and offset ``(|dy|, |dx|)``. So the picture is its mirror image about the
    middle row and column; a query sees of it the part that lies on the map, :meth:`PositionBias.seen_from`.

    Parameters
    ----------
    model : LeViT
    layer : str
        An attention, see :func:`attention_layers`.

    Returns
    -------
    bias : PositionBias

    Raises
    ------
    ValueError
        If there is no such layer, or it has no bias (ablation A5).

    Notes
    -----
    The pictures of the paper's appendix B, "Visualizations: attention bias".
    """
    at = attention_layer(model, layer)
    biases = attention_modules(model)[layer].attention_biases
    if biases is None:
        raise ValueError(f"{layer} of {model.config.name} has no position bias")
    H, W = at.keys.shape
    table = biases.data.reshape(-1, H, W)  # (heads, H, W) by |dy| and |dx|
    dy, dx = np.abs(np.arange(1 - H, H)), np.abs(np.arange(1 - W, W))
    return PositionBias(layer, at.label, table[:, dy[:, None], dx])


def position_biases(model: LeViT) -> dict[str, PositionBias]:
    """:func:`position_bias_around_query` of all layers, by name, in the order of execution."""
    return {name: position_bias_around_query(model, name) for name in attention_modules(model)}
