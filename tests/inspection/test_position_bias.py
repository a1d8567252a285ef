"""The bias around a query: what a query sees of the picture is what the model adds to its scores."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.inspection import draw_position_bias, position_bias_around_query, position_biases
from levit_ref.inspection.layers import attention_modules
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


def test_every_query_sees_the_bias_that_the_model_adds() -> None:
    model = tiny((16, 24))
    model.eval()
    seen: dict[str, Array] = {}
    model(np.zeros((1, 3, 16, 24)), FunctionTap(lambda name, value: seen.__setitem__(name, value.copy())))
    for name, layer in attention_modules(model).items():
        bias = position_bias_around_query(model, name)
        H, W = layer.keys.rows, layer.keys.columns
        assert bias.bias.shape == (layer.num_heads, 2 * H - 1, 2 * W - 1)
        stride = layer.queries.pitch // layer.keys.pitch
        for row in range(layer.queries.rows):
            for column in range(layer.queries.columns):
                added = seen[f"{name}.bias"][:, layer.queries.index((row, column))]
                around = bias.seen_from((stride * row, stride * column))
                np.testing.assert_array_equal(around.reshape(added.shape), added)


def test_offsets_are_where_they_belong(model64: LeViT) -> None:
    table = model64.stages[0].blocks[0].attn.attention_biases
    assert table is not None
    table.data[...] = 0
    table.data[1, 4 * 3 + 1] = 7  # head 1: three rows and one column away, on a map of 4x4
    bias = position_bias_around_query(model64, "stages.0.blocks.0.attn").bias
    assert np.argwhere(bias).tolist() == [[1, 0, 2], [1, 0, 4], [1, 6, 2], [1, 6, 4]]


def test_no_bias_is_said() -> None:
    with pytest.raises(ValueError, match="has no position bias"):
        position_biases(tiny(position="embedding"))


def test_drawing(model64: LeViT, rendered) -> None:
    by_layer = position_biases(model64)
    biases = list(by_layer.values())
    figure = draw_position_bias(by_layer)
    rendered(figure)
    shown = [ax.images[0] for ax in figure.axes if ax.images and "head" in ax.get_title()]
    assert len(shown) == sum(len(b.bias) for b in biases)
    np.testing.assert_array_equal(shown[1].get_array(), biases[0].bias[1])
    low, high = shown[0].get_clim()
    assert -low == high == np.abs(biases[0].bias).max()  # white is zero


def test_drawing_zeros_and_many_heads(rendered) -> None:
    model = tiny(num_heads=(9, 1))
    model.stages[0].blocks[0].attn.attention_biases.data[...] = 0
    rendered(draw_position_bias(position_bias_around_query(model, "stages.0.blocks.0.attn")))
