"""Activation statistics, against NumPy on values recorded by hand."""

from __future__ import annotations

import numpy as np
import pytest

from levit_ref.configs import create_model
from levit_ref.inspection import (
    MAIN_PATH,
    ActivationStatistics,
    activation_statistics,
    draw_activation_statistics,
    record,
)
from levit_ref.inspection.names import select
from levit_ref.nn import FunctionTap, LeViT
from levit_ref.ops import Array
from tests.nn.networks import tiny


def test_of_known_numbers() -> None:
    found = ActivationStatistics.of("x", np.array([[0.0, 3.0], [-3.0, 4.0]]))
    assert (found.mean, found.smallest, found.largest, found.zeros, found.finite) == (1, -3, 4, 0.25, 1)
    assert found.std == pytest.approx(np.sqrt(7.5))
    assert found.rms == pytest.approx(np.sqrt((9 + 9 + 16) / 4))
    assert found.shape == (2, 2)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    found = ActivationStatistics.of("x", np.array([1.0, np.nan, np.inf, 3.0]))
    assert (found.mean, found.largest, found.finite) == (2, 3, 0.5)
    nothing = ActivationStatistics.of("x", np.array([np.nan]))
    assert nothing.finite == 0
    assert np.isnan(nothing.mean)


def test_sums_are_taken_in_double_precision() -> None:
    found = ActivationStatistics.of("x", np.full(10_000_000, 0.1, np.float32))
    assert found.mean == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    assert found.std < 1e-9


def test_of_a_model(model64: LeViT, images64: Array) -> None:
    values: dict[str, Array] = {}
    model64(images64, FunctionTap(lambda name, value: values.__setitem__(name, value.copy())))
    found = activation_statistics(record(model64, images64, MAIN_PATH))
    assert list(found)[:4] == [
        "stem.act1",
        "stem.tokens",
        "stages.0.blocks.0.resid_mid",
        "stages.0.blocks.0.resid_post",
    ]
    for name, row in found.items():
        assert row.mean == pytest.approx(values[name].mean())
        assert row.std == pytest.approx(values[name].std())
        assert (row.smallest, row.largest) == (values[name].min(), values[name].max())


def test_zeros_of_an_activation_that_has_them(images64: Array) -> None:
    model = tiny(activation="relu")
    acts = record(model, images64, ["stages.0.blocks.0.mlp.act", "pooled"])
    (row,) = activation_statistics(acts, "stages.0.blocks.0.mlp.act").values()
    assert 0.1 < row.zeros < 0.9
    assert row.smallest == 0


def test_a_value_that_was_not_recorded_is_missed(model64: LeViT, images64: Array) -> None:
    acts = record(model64, images64, "pooled")
    with pytest.raises(ValueError, match=r"activation_statistics needs stem.act1 and .* more, which this record does"):
        activation_statistics(acts)
    with pytest.raises(ValueError, match=r"activation_statistics: nothing matches the pattern '\*.probz'"):
        activation_statistics(acts, "*.probz")


@pytest.mark.parametrize("variant", ["levit_128s", "levit_128s_a2_no_conv_stem", "levit_250k_32px"])
def test_the_main_path_has_the_stem_s_maps_and_the_stream(variant: str) -> None:
    names = [spec.name for spec in create_model(variant).activation_specs()]
    expected = [
        name
        for name in names
        if name == "stem.tokens" or name.startswith("stem.act") or name.endswith((".resid_mid", ".resid_post"))
    ]
    assert select(MAIN_PATH, names) == expected


def test_drawing(model64: LeViT, images64: Array, rendered) -> None:
    found = activation_statistics(record(model64, images64, MAIN_PATH))
    figure = draw_activation_statistics(found)
    rendered(figure)
    size, off = figure.axes
    (means,) = size.lines
    np.testing.assert_array_equal(means.get_ydata(), [row.mean for row in found.values()])
    assert len(off.patches) == len(found)
    assert [label.get_text() for label in off.get_xticklabels()][:3] == [
        "stem.act1",
        "stem.tokens",
        "0.blocks.0.resid_mid",
    ]
