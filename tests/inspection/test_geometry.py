"""Where tokens stand on the picture, and which attention layers there are."""

from __future__ import annotations

import pytest

from levit_ref.configs import create_model
from levit_ref.inspection.geometry import attention_layer, attention_layers, stage_grid, stem_grid
from levit_ref.nn import LeViT
from tests.nn.networks import tiny


def test_tokens_of_the_paper_stand_on_every_sixteenth_pixel_from_the_first_one_on() -> None:
    model = create_model("levit_128s")
    grids = [stage_grid(model, stage) for stage in range(3)]
    assert [(g.rows, g.columns, g.pitch, g.origin) for g in grids] == [(14, 14, 16, 0), (7, 7, 32, 0), (4, 4, 64, 0)]
    assert grids[0].centre((13, 2)) == (208, 32)
    assert grids[2].extent == (-32, 224, 224, -32)


def test_patches_stand_in_the_middle_of_their_pixels() -> None:
    grid = stem_grid(create_model("levit_128s_a2_no_conv_stem"))
    assert (grid.rows, grid.pitch, grid.origin) == (14, 16, 7.5)  # pixels 0 to 15
    assert grid.extent == (-0.5, 223.5, 223.5, -0.5)


def test_grids_have_as_many_tokens_as_the_maps() -> None:
    model = tiny((24, 41))
    assert (stem_grid(model, 1).rows, stem_grid(model, 1).columns) == (12, 21)
    for stage, module in enumerate(model.stages):
        grid = stage_grid(model, stage)
        assert (grid.rows, grid.columns) == module.grid.shape
    with pytest.raises(ValueError, match="stages 0 to 1, got 2"):
        stage_grid(model, 2)


def test_layers_in_the_order_of_execution(model64: LeViT) -> None:
    layers = attention_layers(model64)
    assert list(layers) == [
        "stages.0.blocks.0.attn",
        "stages.1.downsample.attn_downsample",
        "stages.1.blocks.0.attn",
        "stages.1.blocks.1.attn",
    ]
    assert [layer.label for layer in layers.values()] == ["0.blocks.0", "0→1", "1.blocks.0", "1.blocks.1"]
    assert [layer.shrinks for layer in layers.values()] == [False, True, False, False]
    shrinking = layers["stages.1.downsample.attn_downsample"]
    assert (shrinking.keys.tokens, shrinking.queries.tokens) == (16, 4)
    for layer in layers.values():
        assert layer.module.attention_bias_index.shape == (layer.queries.tokens, layer.keys.tokens)


def test_unknown_layers_and_tokens_are_refused(model64: LeViT) -> None:
    with pytest.raises(
        ValueError, match=r"no attention 'stages.0.block.0.attn'; the nearest are stages.0.blocks.0.attn"
    ):
        attention_layer(model64, "stages.0.block.0.attn")
    grid = stage_grid(model64, 0)
    assert grid.index((1, 2)) == 6
    for token in ((4, 0), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match="on a map of 4x4"):
            grid.index(token)


def test_the_token_nearest_to_a_pixel() -> None:
    grid = stage_grid(create_model("levit_128s"), 1)  # 7x7 tokens, on the pixels 0, 32, and so on to 192
    assert grid.nearest((0, 223)) == (0, 6)
    assert grid.nearest((100, 40)) == (3, 1)
    for token in ((0, 0), (6, 2)):
        row, column = grid.centre(token)
        assert grid.nearest((int(row), int(column))) == token
