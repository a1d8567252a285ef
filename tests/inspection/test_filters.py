"""Filters of the first convolution: the weights, and the colours that stand for them."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.configs import create_model
from levit_ref.inspection import draw_first_filters, filters_as_pictures, first_filters
from levit_ref.nn import LeViT


def test_filters_are_a_copy_of_the_weights(model64: LeViT) -> None:
    filters = first_filters(model64)
    np.testing.assert_array_equal(filters, dict(model64.named_parameters())["stem.conv1.linear.weight"].data)
    before = model64.flat_data.copy()
    filters[...] = 0
    np.testing.assert_array_equal(model64.flat_data, before)


def test_colours() -> None:
    filters = np.zeros((3, 3, 2, 2))
    filters[0, 0, 0, 1] = 4  # red at the upper right
    filters[1, 2, 1, 0] = -0.5  # no blue at the lower left
    filters[1, 1, 0, 0] = 0.25
    pictures = filters_as_pictures(filters)
    assert pictures.shape == (3, 2, 2, 3)
    assert pictures[0, 0, 1].tolist() == [1, 0.5, 0.5]
    assert pictures[1, 1, 0].tolist() == [0.5, 0.5, 0]
    assert pictures[1, 0, 0].tolist() == [0.5, 0.75, 0.5]  # each filter has a scale of its own
    assert (pictures[2] == 0.5).all()


@pytest.mark.parametrize(
    ("name", "count"), [("levit_128s", 16), ("levit_192", 24), ("levit_128s_a2_no_conv_stem", 128)]
)
def test_drawing(name: str, count: int, rendered) -> None:
    filters = first_filters(create_model(name))
    figure = draw_first_filters(filters)
    rendered(figure)
    rendered(draw_first_filters(filters[:-1]))  # the last row is not full
    (ax,) = figure.axes
    sheet = ax.images[0].get_array()
    k = filters.shape[2]
    np.testing.assert_array_equal(sheet[:k, :k], filters_as_pictures(filters)[0])
    np.testing.assert_array_equal(sheet[-k:, -k:], filters_as_pictures(filters)[-1])
    assert f"The {count} filters" in ax.get_title()
