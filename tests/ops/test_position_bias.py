"""What is particular to the position bias: which pairs share an entry, and that all of them move it."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref.ops import position_bias_backward, position_bias_forward, position_bias_index, subsample_forward

resolutions = st.tuples(st.integers(1, 6), st.integers(1, 6))


def test_the_index_of_a_2x2_map_by_hand() -> None:
    """Offsets (0,0), (0,1), (1,0), (1,1) have the numbers 0 to 3."""
    np.testing.assert_array_equal(position_bias_index(2), [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])


def test_the_index_of_a_strided_map_by_hand() -> None:
    """A 2 x 3 map: queries at (0, 0) and (0, 2)."""
    np.testing.assert_array_equal(position_bias_index((2, 3), stride=2), [[0, 1, 2, 3, 4, 5], [2, 1, 0, 5, 4, 3]])


@given(resolution=resolutions, stride=st.integers(1, 4))
def test_numbers_offsets_in_the_order_in_which_the_official_code_meets_them(
    resolution: tuple[int, int], stride: int
) -> None:
    """There a dictionary gives every new offset the next number, so that checkpoints depend on the order."""
    H, W = resolution
    numbers: dict[tuple[int, int], int] = {}
    index = []
    for y_q, x_q in product(range(0, H, stride), range(0, W, stride)):
        for y_k, x_k in product(range(H), range(W)):
            index.append(numbers.setdefault((abs(y_q - y_k), abs(x_q - x_k)), len(numbers)))
    np.testing.assert_array_equal(position_bias_index(resolution, stride).ravel(), index)
    assert len(numbers) == H * W


@given(resolution=resolutions)
def test_the_index_is_symmetrical_with_zeros_where_a_token_meets_itself(resolution: tuple[int, int]) -> None:
    index = position_bias_index(resolution)
    np.testing.assert_array_equal(index, index.T)
    np.testing.assert_array_equal(np.diag(index), 0)


@given(resolution=resolutions, stride=st.integers(1, 4))
def test_queries_are_the_tokens_that_subsampling_keeps(resolution: tuple[int, int], stride: int) -> None:
    tokens = np.arange(float(resolution[0] * resolution[1])).reshape(1, -1, 1)
    kept, _ = subsample_forward(tokens, resolution=resolution, stride=stride)
    np.testing.assert_array_equal(
        position_bias_index(resolution, stride), position_bias_index(resolution)[kept.ravel().astype(int)]
    )


def test_forward_worked_by_hand() -> None:
    table = np.array([[10.0, 11.0, 12.0, 13.0], [20.0, 21.0, 22.0, 23.0]])
    bias, _ = position_bias_forward(table, np.array([[0, 3, 3], [1, 1, 2]]))
    np.testing.assert_array_equal(bias, [[[10, 13, 13], [11, 11, 12]], [[20, 23, 23], [21, 21, 22]]])


def test_an_entry_that_many_pairs_read_is_moved_by_all_of_them() -> None:
    """``dtable[index] += dbias`` would keep only the last of them."""
    _, saved = position_bias_forward(np.zeros((1, 4)), np.array([[0, 3, 3], [1, 3, 0]]))
    dtable = position_bias_backward(np.array([[[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]]), saved)
    np.testing.assert_array_equal(dtable, [[1 + 32, 8, 0, 2 + 4 + 16]])


@given(resolution=resolutions, stride=st.integers(1, 3), seed=st.integers(0, 999))
def test_backward_is_the_adjoint_as_one_hot_matrices_have_it(
    resolution: tuple[int, int], stride: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    index = position_bias_index(resolution, stride)
    offsets = resolution[0] * resolution[1]
    one_hot = np.eye(offsets)[index]  # (N_q, N_k, offsets)
    table, dbias = rng.standard_normal((2, offsets)), rng.standard_normal((2, *index.shape))
    bias, saved = position_bias_forward(table, index)
    np.testing.assert_array_equal(bias, np.einsum("ho,qko->hqk", table, one_hot))
    np.testing.assert_allclose(
        position_bias_backward(dbias, saved), np.einsum("hqk,qko->ho", dbias, one_hot), rtol=1e-11, atol=1e-13
    )


def test_how_often_each_offset_is_read() -> None:
    """On an H x W map (H - dy)(W - dx) pairs lie dy, dx apart, twice as many for each of dy, dx that is not 0."""
    _, saved = position_bias_forward(np.zeros((1, 12)), position_bias_index((3, 4)))
    counts = position_bias_backward(np.ones((1, 12, 12)), saved).reshape(3, 4)
    expected = [[(3 - y) * (4 - x) * (1 + (y > 0)) * (1 + (x > 0)) for x in range(4)] for y in range(3)]
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("entry", [-1, 4])
def test_an_index_beyond_the_table_is_refused(entry: int) -> None:
    """NumPy would read -1 as the last entry."""
    with pytest.raises(
        ValueError, match=rf"index runs from {min(entry, 0)} to {max(entry, 0)}, the table has 4 offsets"
    ):
        position_bias_forward(np.zeros((1, 4)), np.array([[0, entry]]))


def test_refusals() -> None:
    table = np.zeros((2, 4))
    with pytest.raises(TypeError, match="index must have an integer dtype, got float64"):
        position_bias_forward(table, cast(Any, np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"index must have 2 axes \(N_q, N_k\), got shape \(4,\)"):
        position_bias_forward(table, np.zeros(4, np.int64))
    with pytest.raises(
        ValueError, match="position_bias_index: resolution must be an integer >= 1 or a pair of them, got 0"
    ):
        position_bias_index(0)
    with pytest.raises(ValueError, match=r"position_bias_index: stride must be an integer >= 1 .*got 0"):
        position_bias_index(3, 0)
