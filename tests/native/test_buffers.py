"""The memory of results is used again, and never grows beyond what was in use."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from levit_ref.runtime.native import extension
from tests.native.agreement import normal


def result(M: int) -> np.ndarray:
    return extension.linear_forward(normal(0, M, 8), normal(1, 16, 8), None, "identity")


def start_empty() -> int:
    gc.collect()
    extension.release_buffers()
    in_use, kept, _ = extension.buffer_bytes()
    assert kept == 0
    return in_use


def test_memory_of_a_result_is_used_again() -> None:
    start_empty()
    first = result(1000)
    address = first.ctypes.data
    assert address % 64 == 0
    del first
    again = result(1000)
    if extension.buffer_bytes()[1] > 0 or again.ctypes.data == address:  # not under a memory checker
        assert again.ctypes.data == address


def test_views_keep_the_memory_alive() -> None:
    before = start_empty()
    part = result(1000)[10:20]
    expected = part.copy()
    others = [result(1000) for _ in range(3)]
    np.testing.assert_array_equal(part, expected)
    assert all(not np.shares_memory(part, other) for other in others)
    del part, others
    assert extension.buffer_bytes()[0] == before


def test_kept_memory_is_bounded_by_what_was_in_use() -> None:
    before = start_empty()
    for M in range(1000, 20_000, 700):  # many sizes, one at a time
        result(M)
        in_use, kept, most = extension.buffer_bytes()
        assert in_use == before
        assert in_use + kept <= most + most // 8


def test_free_neighbours_become_one_place_and_a_part_of_it_is_taken() -> None:
    start_empty()
    first, second, third = extension.empty((1000, 16)), extension.empty((3000, 16)), extension.empty((10, 16))
    _, kept, most = extension.buffer_bytes()
    if second.ctypes.data != first.ctypes.data + first.nbytes:
        pytest.skip("a memory checker is at work")
    addresses = first.ctypes.data, second.ctypes.data
    del first, second
    whole = extension.empty((4000, 16))
    assert whole.ctypes.data == addresses[0]
    del whole
    parts = extension.empty((500, 16)), extension.empty((3500, 16))
    assert parts[0].ctypes.data == addresses[0]
    assert parts[1].ctypes.data == addresses[0] + parts[0].nbytes
    assert third.ctypes.data >= parts[1].ctypes.data + parts[1].nbytes
    assert extension.buffer_bytes()[1:] == (kept, most)  # all in the memory that was there


def test_a_place_between_others_is_used_by_what_fits() -> None:
    before = start_empty()
    low, middle, high = (extension.empty((n, 16)) for n in (100, 200, 100))
    if high.ctypes.data != low.ctypes.data + low.nbytes + middle.nbytes:
        pytest.skip("a memory checker is at work")
    hole = middle.ctypes.data
    del middle
    larger, smaller = extension.empty((201, 16)), extension.empty((199, 16))
    assert larger.ctypes.data > high.ctypes.data
    assert smaller.ctypes.data == hole
    larger[...], smaller[...], low[...], high[...] = 1, 2, 3, 4
    assert [float(a.sum()) / a.size for a in (larger, smaller, low, high)] == [1, 2, 3, 4]
    del larger, smaller, low, high
    assert extension.buffer_bytes()[0] == before


def test_what_was_given_back_to_the_system_can_be_used_again() -> None:
    start_empty()
    big = extension.empty((1 << 20, 16))  # 64 MB
    big[...] = 1
    del big
    extension.release_buffers()
    assert extension.buffer_bytes()[1] == 0
    again = extension.empty((1 << 20, 16))
    again[...] = 2
    assert float(again[::1000].mean()) == 2


def test_results_larger_than_a_run_of_addresses() -> None:
    start_empty()
    big = extension.empty(((300 << 20) // 4,))  # untouched, so it takes no memory
    assert big.nbytes == 300 << 20 and big.ctypes.data % 64 == 0
    big[-1] = 7
    assert big[-1] == 7
