"""Attention distance, against probabilities for which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.inspection import ATTENTION, draw_attention_distance, record
from levit_ref.inspection.distance import AttentionDistance, attention_distance, token_distances
from levit_ref.inspection.layers import attention_layers, attention_modules
from levit_ref.nn import AttentionDownsample, LeViT, Parameter
from levit_ref.ops import Array
from tests.nn.networks import tiny

SAME = -1e3
"""Added to scores, it leaves no probability."""


def silence_scores(model: LeViT) -> None:
    """Make queries zero, so that the bias alone decides."""
    for module in attention_modules(model).values():
        norm = module.q.ln.bn if isinstance(module, AttentionDownsample) else module.qkv.bn
        heads, width = module.num_heads, len(norm.weight.data) // module.num_heads
        for parameter in (norm.weight, norm.bias):
            rows = parameter.data.reshape(heads, width)
            rows[:, : module.key_dim] = 0


def distances(model: LeViT, images: Array) -> dict[str, AttentionDistance]:
    return attention_distance(record(model, images, ATTENTION))


def set_bias(parameter: Parameter | None, value: Array) -> None:
    assert parameter is not None
    parameter.data[...] = value


def test_uniform_attention_has_the_mean_distance_of_all_pairs(images64: Array) -> None:
    model = tiny()
    silence_scores(model)
    for module in attention_modules(model).values():
        set_bias(module.attention_biases, 0)
    found = distances(model, images64)
    for layer in found.values():
        np.testing.assert_allclose(layer.distance, layer.uniform)
    # 2x2 tokens, 8 pixels apart: 0, 8, 8 and 8 sqrt(2)
    assert found["stages.1.blocks.0.attn"].uniform == pytest.approx((0 + 8 + 8 + 8 * np.sqrt(2)) / 4)


def test_a_token_that_looks_at_itself_looks_nowhere(images64: Array) -> None:
    model = tiny()
    silence_scores(model)
    for module in attention_modules(model).values():
        bias = np.full(module.keys.tokens, SAME)
        bias[0] = 0  # offset (0, 0)
        set_bias(module.attention_biases, bias)
    for layer in distances(model, images64).values():
        np.testing.assert_allclose(layer.distance, 0, atol=1e-12)


def test_a_known_offset_has_its_length(images64: Array) -> None:
    model = tiny()
    silence_scores(model)
    layer = "stages.0.blocks.0.attn"
    bias = np.full((2, 16), SAME)
    bias[0, 4 * 2 + 2] = bias[1, 1] = 0  # head 0: two rows and two columns away; head 1: one column away
    set_bias(attention_modules(model)[layer].attention_biases, bias)
    distance = distances(model, images64)[layer].distance
    # every token of 4x4 has a neighbour exactly two rows and two columns away, 4 pixels to a token
    np.testing.assert_allclose(distance, np.tile([8 * np.sqrt(2), 4], (3, 1)))


def test_distances_of_shrinking_attention_are_in_pixels(model64: LeViT) -> None:
    apart = token_distances(attention_layers(model64)["stages.1.downsample.attn_downsample"])
    assert apart.shape == (4, 16)
    assert apart[3, 10] == 0  # query (1, 1) stands on key (2, 2)
    assert apart[1, 4] == pytest.approx(np.hypot(4, 8))  # query (0, 1) on key (0, 2), and key (1, 0)


def test_drawing(model64: LeViT, images64: Array, rendered) -> None:
    found = distances(model64, images64)
    figure = draw_attention_distance(found)
    rendered(figure)
    (ax,) = figure.axes
    assert "pixels" in ax.get_ylabel()
    heads = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_ydata()) for line in heads] == [2, 2, 3, 3]
    np.testing.assert_allclose(heads[0].get_ydata(), np.sort(found["stages.0.blocks.0.attn"].distance.mean(axis=0)))
    other = draw_attention_distance(found, ax=ax)
    assert other is figure
