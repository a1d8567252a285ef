"""Receptive fields: found by gradients, given by a formula, and measured by moving pixels."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.configs import create_model
from levit_ref.inspection import draw_receptive_fields, receptive_field, stem_receptive_box
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


@pytest.mark.parametrize(
    ("variant", "size"),
    [("levit_128s", 31), ("levit_250k_32px", 9), ("levit_128s_a2_no_conv_stem", 16)],
)
def test_the_stem_found_by_gradients_and_by_formula(variant: str, size: int) -> None:
    model = create_model(variant)
    grid = model.stem.grid
    for token in (grid.middle, (0, 0), (grid.rows - 1, grid.columns - 1), (0, grid.middle[1])):
        field = receptive_field(model, "stem.tokens", token)
        top, left, bottom, right = field.box
        assert field.box == stem_receptive_box(model, token)
        assert field.mask.sum() == (bottom - top + 1) * (right - left + 1)  # all of the box
        if token == grid.middle:
            assert (bottom - top + 1, right - left + 1) == (size, size)
            assert ((top + bottom) / 2, (left + right) / 2) == grid.centre(token)


@pytest.mark.parametrize("convs", [1, 2, 3])
def test_every_convolution_of_the_stem_on_a_picture_that_is_not_square(convs: int) -> None:
    model = create_model("levit_1m_32px", image_size=(30, 37))
    for token in ((0, 0), (3, 4), (model.stem.grids[convs].rows - 1, 0)):
        for name in (f"stem.conv{convs}.linear", f"stem.conv{convs}.bn"):
            assert receptive_field(model, name, token).box == stem_receptive_box(model, token, convs)


def test_attention_sees_the_whole_picture_and_an_mlp_sees_no_further() -> None:
    model = tiny((24, 32))
    assert receptive_field(model, "stages.0.blocks.0.attn").mask.all()
    assert receptive_field(model, "stages.1.downsample.resid_mid", (1, 1)).mask.all()
    before = receptive_field(model, "stages.0.blocks.0.resid_pre", (2, 2))
    assert before.box == stem_receptive_box(model, (2, 2))
    patches = receptive_field(model, "stages.0.blocks.0.attn.qkv.linear", (2, 2))
    np.testing.assert_array_equal(patches.mask, before.mask)


def test_a_branch_that_starts_at_zero_and_an_activation_that_is_off_hide_nothing() -> None:
    fresh = create_model("levit_250k_32px")  # its residual branches have a normalisation of weight 0
    assert receptive_field(fresh, "stages.0.blocks.0.resid_mid").mask.all()
    off = tiny(activation="relu")
    off.stem.convs[0].bn.bias.data[...] = -100
    assert receptive_field(off, "stem.tokens", (1, 1)).box == stem_receptive_box(off, (1, 1))


def test_the_strength_is_what_moving_pixels_says(model64: LeViT, images64: Array) -> None:
    name, token = "stages.1.blocks.0.resid_mid", (1, 0)
    field = receptive_field(model64, name, token, images64, probes=100)

    def value(images: Array) -> Array:
        seen = []
        model64(images, FunctionTap(lambda n, v: seen.append(v) if n == name else None))
        return seen[0][:, model64.stages[1].grid.index(token)]  # (B, C)

    step = 1e-5
    assert field.strength is not None
    for y, x in ((0, 0), (8, 3), (15, 15), (9, 1)):
        squares = 0.0
        for colour in range(3):
            push = np.zeros(images64.shape)
            push[:, colour, y, x] = step
            jacobian = (value(images64 + push) - value(images64 - push)) / (2 * step)  # (B, C)
            squares += np.square(jacobian).sum(axis=1).mean()
        # 100 random directions for each of 3 images: the root of a mean of squares to a few percent
        assert field.strength[y, x] == pytest.approx(np.sqrt(squares), rel=0.15)


def test_the_strength_is_zero_outside(model64: LeViT, images64: Array) -> None:
    field = receptive_field(model64, "stem.tokens", (1, 2), images64, probes=1)
    assert field.strength is not None
    np.testing.assert_array_equal(field.strength[~field.mask], 0)
    assert (field.strength[field.mask] > 0).all()


def test_refusals(model64: LeViT) -> None:
    with pytest.raises(ValueError, match=r"no value 'stem.token'; the nearest are stem.tokens"):
        receptive_field(model64, "stem.token")
    with pytest.raises(ValueError, match=r"axes \(B, heads, N_q, N_k\): neither a map"):
        receptive_field(model64, "stages.0.blocks.0.attn.probs")
    with pytest.raises(ValueError, match="neither a map"):
        receptive_field(model64, "pooled")
    with pytest.raises(ValueError, match=r"no token \(4, 0\) on a map of 4x4"):
        receptive_field(model64, "stem.tokens", (4, 0))


def test_drawing(model64: LeViT, images64: Array, picture: Array, rendered) -> None:
    names = ["stem.act1", "stem.tokens", "stages.0.blocks.0.resid_mid"]
    fields = [receptive_field(model64, name, images=images64, probes=1) for name in names]
    figure = draw_receptive_fields(picture, fields)
    rendered(figure)
    (frame,) = figure.axes[1].patches
    top, left, bottom, right = fields[1].box
    corner = (left - 0.5, top - 0.5)
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == (corner, right - left + 1, bottom - top + 1)
    rendered(draw_receptive_fields(picture, [receptive_field(model64, "stem.act1")]))
