"""Attention maps: the right row of the right layer, and drawn on the right pixels."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.figures import new_figure
from levit_ref.inspection import ATTENTION, attention_maps, draw_attention_maps, record
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array


@pytest.mark.parametrize(
    ("layer", "query", "row", "shape"),
    [
        ("stages.0.blocks.0.attn", (1, 2), 6, (4, 4)),
        ("stages.1.downsample.attn_downsample", (1, 0), 2, (4, 4)),
        ("stages.1.blocks.1.attn", None, 3, (2, 2)),
    ],
)
def test_maps_are_rows_of_the_probabilities(
    layer: str, query: tuple[int, int] | None, row: int, shape: tuple[int, int], model64: LeViT, images64: Array
) -> None:
    values: dict[str, Array] = {}
    model64(images64, FunctionTap(lambda name, value: values.__setitem__(name, value.copy())))
    maps = attention_maps(record(model64, images64, ATTENTION), layer, query)
    np.testing.assert_array_equal(maps.maps, values[f"{layer}.probs"][:, :, row].reshape(3, -1, *shape))
    np.testing.assert_allclose(maps.maps.sum(axis=(2, 3)), 1)


def test_a_token_that_is_not_there_is_refused(model64: LeViT, images64: Array) -> None:
    with pytest.raises(ValueError, match=r"no token \(2, 0\) on a map of 2x2"):
        attention_maps(record(model64, images64, ATTENTION), "stages.1.downsample.attn_downsample", (2, 0))


def test_a_layer_that_is_not_there_or_was_not_recorded_is_refused(model64: LeViT, images64: Array) -> None:
    acts = record(model64, images64, "stages.0.*.probs")
    with pytest.raises(ValueError, match=r"no attention 'stages.0.block.0.attn'; the nearest are stages.0.blocks.0"):
        attention_maps(acts, "stages.0.block.0.attn")
    with pytest.raises(ValueError, match=r"attention_maps needs stages.1.blocks.0.attn.probs, which this record does"):
        attention_maps(acts, "stages.1.blocks.0.attn")


def test_drawing(model64: LeViT, images64: Array, picture: Array, rendered) -> None:
    maps = attention_maps(record(model64, images64, ATTENTION), "stages.1.downsample.attn_downsample", (1, 1))
    figure = draw_attention_maps(picture, maps, heads=[1], image=2)
    rendered(figure)
    first, panel, _ = figure.axes
    _, over = panel.images
    np.testing.assert_allclose(over.get_array() * maps.maps[2, 1].max(), maps.maps[2, 1])
    assert tuple(over.get_extent()) == (-2, 14, 14, -2)  # 4x4 tokens of 4 pixels, the first around pixel 0
    for ax in (first, panel):
        assert ax.lines[0].get_xydata().tolist() == [[8, 8]]  # token (1, 1) of the smaller map, 8 pixels to a token
    assert "head 1" in panel.get_title()
    assert "attn_downsample" in figure.get_suptitle()


def test_drawing_into_a_part_of_a_figure(model64: LeViT, images64: Array, picture: Array, rendered) -> None:
    whole = new_figure(4)
    part = whole.subfigures(1, 2)[1]
    maps = attention_maps(record(model64, images64, ATTENTION), "stages.0.blocks.0.attn")
    assert draw_attention_maps(picture / 255, maps, figure=part) is whole
    assert len(part.axes) == 4  # picture, two heads, scale of colours
    rendered(whole)


def test_normalised_pixels_are_no_picture(model64: LeViT, images64: Array) -> None:
    maps = attention_maps(record(model64, images64, ATTENTION), "stages.0.blocks.0.attn")
    with pytest.raises(ValueError, match="before the normalisation"):
        draw_attention_maps(images64[0], maps)
    with pytest.raises(ValueError, match=r"shape \(3, H, W\), got \(3, 3, 16, 16\)"):
        draw_attention_maps(images64, maps)
