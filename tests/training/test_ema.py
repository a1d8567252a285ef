"""The moving average: its recurrence, and swapping it in and out of a model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from levit_ref.ops._rows import CHUNK
from levit_ref.training.ema import Ema


def arrays(size=CHUNK + 7, statistics=5, dtype=np.float64):
    """The two flat arrays of a model."""
    rng = np.random.default_rng(0)
    return SimpleNamespace(
        flat_data=rng.standard_normal(size).astype(dtype), flat_buffers=rng.standard_normal(statistics).astype(dtype)
    )


@pytest.mark.parametrize("warmup", [True, False])
def test_the_recurrence(warmup):
    model = arrays()
    ema = Ema(model, 0.9, warmup=warmup)
    expected, expected_buffers = model.flat_data.copy(), model.flat_buffers.copy()
    for t in range(1, 200):
        model.flat_data += 0.01
        model.flat_buffers *= 1.01
        ema.update()
        d = min(0.9, (1 + t) / (10 + t)) if warmup else 0.9
        expected = d * expected + (1 - d) * model.flat_data
        expected_buffers = d * expected_buffers + (1 - d) * model.flat_buffers
    np.testing.assert_allclose(ema.data, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ema.buffers, expected_buffers, rtol=1e-12, atol=1e-12)


def test_applied_swaps_in_and_out_to_the_bit():
    model = arrays(dtype=np.float32)
    ema = Ema(model, 0.5, warmup=False)
    model.flat_data += 1
    ema.update()
    own, average = model.flat_data.tobytes(), ema.data.tobytes()
    own_buffers = model.flat_buffers.tobytes()
    view = model.flat_data[:3]  # a Parameter is such a view: it must see the average too
    with ema.applied():
        assert model.flat_data.tobytes() == average
        assert view.tobytes() == average[:12]
    assert model.flat_data.tobytes() == own and model.flat_buffers.tobytes() == own_buffers
    assert ema.data.tobytes() == average


def test_an_exception_inside_restores_the_weights():
    model = arrays()
    ema = Ema(model, 0.5)
    model.flat_data += 1
    own = model.flat_data.copy()
    with pytest.raises(ZeroDivisionError), ema.applied():
        raise ZeroDivisionError
    np.testing.assert_array_equal(model.flat_data, own)
    ema.update()  # usable again


def test_the_average_is_out_of_reach_while_applied():
    ema = Ema(arrays(), 0.5)
    with ema.applied():
        for use in (ema.update, ema.state_dict, lambda: ema.load_state_dict({}), lambda: ema.applied().__enter__()):
            with pytest.raises(RuntimeError, match=r"inside Ema.applied\(\)"):
                use()


def test_a_saved_state_continues_to_the_same_bits():
    model = arrays(dtype=np.float32)
    ema = Ema(model, 0.99)
    ema.update()
    state = ema.state_dict()
    other = Ema(model, 0.99)
    other.load_state_dict(state)
    model.flat_data *= 2
    for average in (ema, other):
        average.update()
    assert ema.data.tobytes() == other.data.tobytes() and ema.updates == other.updates == 2


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        Ema(arrays(), decay)


def test_a_foreign_state_is_refused():
    ema = Ema(arrays(), 0.5)
    with pytest.raises(ValueError, match="keys updates, data, buffers"):
        ema.load_state_dict({"updates": 1})
    with pytest.raises(ValueError, match="state data is float64 of shape"):
        ema.load_state_dict({"updates": 1, "data": np.zeros(3), "buffers": np.zeros(5)})
