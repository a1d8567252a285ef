"""The memory of results is used again, and never grows beyond what was in use."""

from __future__ import annotations

import gc

import numpy as np

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
