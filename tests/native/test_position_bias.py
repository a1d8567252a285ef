"""The table of position biases: gathering, and adding up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_same_bits_for_any_threads, few, misaligned, normal

Side = st.integers(1, 9)


@few
@given(H=Side, W=Side, stride=st.integers(1, 3), heads=st.integers(1, 5))
def test_forward_and_backward(H: int, W: int, stride: int, heads: int) -> None:
    table, index = normal(0, heads, H * W), ops.position_bias_index((H, W), stride)
    bias, saved = F.position_bias_forward(table, index)
    np.testing.assert_array_equal(bias, table[:, index])
    dbias = normal(1, *bias.shape)
    expected = ops.position_bias_backward(dbias, saved)
    np.testing.assert_array_equal(F.position_bias_backward(dbias, saved), expected.astype(np.float32))


def test_any_index_strides_and_alignment() -> None:
    index = np.random.default_rng(0).integers(0, 40, (13, 29))  # of no map, and of no order
    table, dbias = normal(0, 3, 40), normal(1, 3, 13, 29)
    bias, saved = F.position_bias_forward(table, index)
    dtable = F.position_bias_backward(dbias, saved)
    np.testing.assert_array_equal(bias, table[:, index])
    for i in (index.astype(np.int32), np.asfortranarray(index), np.repeat(index, 2, axis=1)[:, ::2]):
        for t, d in ((np.asfortranarray(table), np.asfortranarray(dbias)), (misaligned(table), misaligned(dbias))):
            other, other_saved = F.position_bias_forward(t, i)
            np.testing.assert_array_equal(other, bias)
            np.testing.assert_array_equal(F.position_bias_backward(d, other_saved), dtable)


def test_attention_reads_it_without_a_copy() -> None:
    bias, _ = F.position_bias_forward(normal(0, 2, 16), ops.position_bias_index(4, 2))
    assert bias.shape == (2, 4, 16)
    assert bias.swapaxes(-2, -1).flags.c_contiguous


def test_many_pairs_meet_in_one_entry_without_losing_the_small_ones() -> None:
    index = np.zeros((1000, 1000), np.int64)
    dbias = np.full((1, 1000, 1000), 0.1, np.float32)
    _, saved = F.position_bias_forward(np.zeros((1, 1), np.float32), index)
    assert F.position_bias_backward(dbias, saved)[0, 0] == pytest.approx(1e6 * np.float32(0.1), rel=1e-7)


def test_nan_and_infinity_go_where_they_are_read_and_added() -> None:
    table, index = normal(0, 2, 9), ops.position_bias_index(3)
    table[0, 4], table[1, 8] = np.nan, np.inf
    bias, saved = F.position_bias_forward(table, index)
    np.testing.assert_array_equal(bias, table[:, index])
    with np.errstate(invalid="ignore"):
        expected = ops.position_bias_backward(bias, saved)
    np.testing.assert_array_equal(F.position_bias_backward(bias, saved), expected)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    table, index = normal(0, 5, 49), ops.position_bias_index(7, 2)
    dbias = normal(1, 5, *index.shape)

    def compute() -> tuple[np.ndarray, ...]:
        bias, saved = F.position_bias_forward(table, index)
        return bias, F.position_bias_backward(dbias, saved)

    assert_same_bits_for_any_threads(compute)


def test_float64_is_served_by_numpy() -> None:
    table, index = normal(0, 2, 9).astype(np.float64), ops.position_bias_index(3)
    bias, saved = F.position_bias_forward(table, index)
    np.testing.assert_array_equal(bias, table[:, index])
    assert F.position_bias_backward(bias, saved).dtype == np.float64


def test_reading_beyond_the_table_is_refused_twice() -> None:
    table = normal(0, 2, 9)
    for wrong in (-1, 9):
        index = np.array([[0, wrong]])
        with pytest.raises(ValueError, match=r"position_bias: index runs from .*, the table has 9 offsets"):
            F.position_bias_forward(table, index)
        with pytest.raises(ValueError, match=r"index must lie in 0 \.\. 8"):
            extension.position_bias_forward(table, index)
        with pytest.raises(ValueError, match=r"index must lie in 0 \.\. 8"):
            extension.position_bias_backward(np.zeros((2, 2, 1), np.float32), index, 9)
    with pytest.raises(TypeError, match="index must be int64, got int32"):
        extension.position_bias_forward(table, np.zeros((1, 1), np.int32))
