"""The moving average by the kernel: the bits of NumPy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref.runtime.native import extension
from levit_ref.training import Ema
from tests.native.agreement import BLOCK, assert_same_bits_for_any_threads, few, lengths, normal


@few
@given(length=lengths, statistics=st.integers(0, 40))
def test_the_average_has_the_bits_of_numpy(length: int, statistics: int) -> None:
    results = []
    for name in ("native", "numpy"):
        model = SimpleNamespace(flat_data=normal(0, length), flat_buffers=normal(1, statistics))
        ema = Ema(model, 0.99)
        for seed in range(3):
            model.flat_data += normal(seed, length)
            model.flat_buffers *= 1.5
            with levit_ref.use_backend(name):
                ema.update()
        results.append(ema)
    np.testing.assert_array_equal(results[0].data, results[1].data)
    np.testing.assert_array_equal(results[0].buffers, results[1].buffers)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    params, target = normal(0, 5 * BLOCK + 9), normal(1, 5 * BLOCK + 9)

    def compute() -> np.ndarray:
        ema = Ema(SimpleNamespace(flat_data=params, flat_buffers=target), 0.9)
        ema.model.flat_data = target
        ema.update()
        return ema.data

    assert_same_bits_for_any_threads(compute)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for length in (1, 15, 33, BLOCK + 1):
        guarded = np.full((2, length + 64), 7.0, np.float32)
        average, value = guarded[:, 32 : 32 + length]
        value[:] = 1
        extension.move_average(average, value, 0.5)
        assert (average == 4).all() and (value == 1).all()
        assert (guarded[:, :32] == 7).all() and (guarded[:, 32 + length :] == 7).all()
