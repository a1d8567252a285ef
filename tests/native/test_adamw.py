"""AdamW's step by the kernel: the bits of NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref.runtime.native import extension
from levit_ref.training import AdamW
from tests.native.agreement import BLOCK, assert_same_bits_for_any_threads, few, lengths, misaligned, normal


def masks(length: int, runs: int, seed: int) -> np.ndarray:
    """Decayed and not, in runs of random length."""
    edges = np.sort(np.random.default_rng(seed).integers(0, length + 1, runs))
    return np.searchsorted(edges, np.arange(length), side="right") % 2 == 1


def train(backend: str, params: np.ndarray, mask: np.ndarray, steps: int) -> AdamW:
    """Some steps with gradients of very different size, and a rate that changes."""
    optimizer = AdamW(params.copy(), np.zeros_like(params), mask, weight_decay=0.05)
    rng = np.random.default_rng(3)
    with levit_ref.use_backend(backend):
        for t in range(steps):
            optimizer.grads[:] = rng.standard_normal(params.size, np.float32) * rng.uniform(1e-6, 10)
            optimizer.step(1e-2 / (1 + t))
    return optimizer


def assert_same_state(a: AdamW, b: AdamW) -> None:
    for name in ("params", "m", "v"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.steps == b.steps


@few
@given(length=lengths, runs=st.integers(0, 9), seed=st.integers(0, 100))
def test_adamw_has_the_bits_of_numpy(length: int, runs: int, seed: int) -> None:
    params, mask = normal(seed, length), masks(length, runs, seed)
    assert_same_state(train("native", params, mask, 3), train("numpy", params, mask, 3))


def test_adamw_over_thirty_steps() -> None:
    params, mask = normal(0, 2 * BLOCK + 5), masks(2 * BLOCK + 5, 40, 0)
    assert_same_state(train("native", params, mask, 30), train("numpy", params, mask, 30))


def test_the_backend_may_change_between_steps() -> None:
    params, grads = normal(0, 1000), normal(1, 1000)
    mixed, plain = (AdamW(params.copy(), grads, masks(1000, 3, 0)) for _ in range(2))
    for name in ("native", "numpy", "native"):
        with levit_ref.use_backend(name):
            mixed.step()
        with levit_ref.use_backend("numpy"):
            plain.step()
    assert_same_state(mixed, plain)


def test_adamw_spreads_nan_and_infinity_as_numpy() -> None:
    params = normal(0, 100)
    found = []
    for name in ("native", "numpy"):
        optimizer = AdamW(params.copy(), normal(1, 100), np.ones(100, bool))
        optimizer.grads[[3, 50, 70]] = np.nan, np.inf, 1e30  # the last one's square is infinite
        optimizer.params[10] = np.nan
        with levit_ref.use_backend(name), np.errstate(all="ignore"):
            optimizer.step()
        found.append(optimizer)
    assert_same_state(*found)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    params, grads = normal(0, 5 * BLOCK + 9), normal(1, 5 * BLOCK + 9)

    def compute() -> tuple[np.ndarray, ...]:
        optimizer = AdamW(params.copy(), grads, masks(params.size, 7, 0))
        optimizer.step()
        return optimizer.params, optimizer.m, optimizer.v

    assert_same_bits_for_any_threads(compute)


def test_alignment_makes_no_difference() -> None:
    params, grads = normal(0, 1003), normal(1, 1003)
    results = []
    for copied in (np.copy, misaligned):
        optimizer = AdamW(copied(params), copied(grads), masks(1003, 4, 0))
        optimizer.step()
        results.append(optimizer)
    assert_same_state(*results)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for length in (1, 15, 33, BLOCK + 1):
        guarded = np.full((4, length + 64), 7.0, np.float32)
        params, grads, m, v = guarded[:, 32 : 32 + length]
        grads[:], m[:], v[:] = 1, 0, 0
        extension.adamw_step(
            params, grads, m, v, np.array([0, length]), keep=0.9, one_minus_beta1=0.1, beta2=0.9, one_minus_beta2=0.1,
            root_scale=1.0, eps=1e-8, step_size=0.1,
        )  # fmt: skip
        assert (guarded[:, :32] == 7).all() and (guarded[:, 32 + length :] == 7).all()
        assert not (guarded[:, 32 : 32 + length] == 7).any()
