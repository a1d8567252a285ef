"""The attention layers, of a model and of a record, and where tokens stand on the picture."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.configs import create_model
from levit_ref.inspection import record
from levit_ref.inspection.layers import attention_layer, attention_layers, attention_modules
from levit_ref.nn import LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


def test_tokens_of_the_paper_stand_on_every_sixteenth_pixel_from_the_first_one_on() -> None:
    model = create_model("levit_128s")
    grids = [stage.grid for stage in model.stages]
    assert [(g.rows, g.columns, g.pitch, g.origin) for g in grids] == [(14, 14, 16, 0), (7, 7, 32, 0), (4, 4, 64, 0)]
    assert grids[0].centre((13, 2)) == (208, 32)
    assert grids[2].extent == (-32, 224, 224, -32)


def test_patches_stand_in_the_middle_of_their_pixels() -> None:
    grid = create_model("levit_128s_a2_no_conv_stem").stem.grid
    assert (grid.rows, grid.pitch, grid.origin) == (14, 16, 7.5)  # pixels 0 to 15
    assert grid.extent == (-0.5, 223.5, 223.5, -0.5)


def test_convolutions_round_up() -> None:
    model = tiny((24, 41))
    assert model.stem.grids[1].shape == (12, 21)
    assert [stage.grid.shape for stage in model.stages] == [(6, 11), (3, 6)]


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
    modules = attention_modules(model64)
    for name, layer in layers.items():
        assert modules[name].attention_bias_index.shape == (layer.queries.tokens, layer.keys.tokens)


def test_a_record_knows_all_layers_of_its_network(model64: LeViT, images64: Array) -> None:
    for names in ([], "pooled", "stages.0.*.probs"):
        assert attention_layers(record(model64, images64, names)) == attention_layers(model64)


def test_shrinking_a_map_of_one_token_is_known_as_shrinking() -> None:
    model = tiny((4, 4))
    layers = attention_layers(record(model, np.zeros((1, 3, 4, 4)), []))
    shrinking = layers["stages.1.downsample.attn_downsample"]
    assert (shrinking.keys.tokens, shrinking.queries.tokens) == (1, 1)
    assert shrinking.shrinks
    assert [layer.shrinks for layer in layers.values()] == [False, True, False, False]


def test_unknown_layers_and_tokens_are_refused(model64: LeViT) -> None:
    with pytest.raises(
        ValueError, match=r"no attention 'stages.0.block.0.attn'; the nearest are stages.0.blocks.0.attn"
    ):
        attention_layer(model64, "stages.0.block.0.attn")
    grid = model64.stages[0].grid
    assert grid.index((1, 2)) == 6
    for token in ((4, 0), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match="on a map of 4x4"):
            grid.index(token)


def test_the_token_nearest_to_a_pixel() -> None:
    grid = create_model("levit_128s").stages[1].grid  # 7x7 tokens, on the pixels 0, 32, and so on to 192
    assert grid.nearest((0, 223)) == (0, 6)
    assert grid.nearest((100, 40)) == (3, 1)
    for token in ((0, 0), (6, 2)):
        row, column = grid.centre(token)
        assert grid.nearest((int(row), int(column))) == token
