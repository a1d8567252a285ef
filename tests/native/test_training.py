"""The update of the weights by kernels against the NumPy code beside it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref.runtime import native_serves
from levit_ref.runtime.native import extension
from levit_ref.training import AdamW, Ema
from levit_ref.training.clipping import clip_adaptive, clip_global_norm, global_norm
from tests.native.agreement import EPS, assert_same_bits_for_any_threads, few, misaligned, normal, sizes

BLOCK = 16384  # of a task in csrc/ops/training.h

lengths = st.one_of(sizes, st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]))


def masks(length: int, runs: int, seed: int) -> np.ndarray:
    """Decayed and not, in runs of random length."""
    edges = np.sort(np.random.default_rng(seed).integers(0, length + 1, runs))
    return np.searchsorted(edges, np.arange(length), side="right") % 2 == 1


# --- AdamW ------------------------------------------------------------------------------------------------------------


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


# --- the moving average -----------------------------------------------------------------------------------------------


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


# --- clipping ---------------------------------------------------------------------------------------------------------


@few
@given(length=lengths)
def test_global_norm(length: int) -> None:
    grads = normal(0, length)
    expected = float(np.linalg.norm(grads.astype(np.float64)))
    assert global_norm(grads) == pytest.approx(expected, rel=4 * EPS)
    clipped = grads.copy()
    assert clip_global_norm(clipped, expected / 2) == global_norm(grads)
    scale = np.float32(expected / 2 / (expected + 1e-6))
    np.testing.assert_allclose(clipped, grads * scale, rtol=8 * EPS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_global_norm_of_what_is_not_finite(bad: float) -> None:
    grads = normal(0, 100)
    grads[40] = bad
    np.testing.assert_equal(global_norm(grads), abs(bad))


def parameters(seed: int, *shapes: tuple[int, ...]) -> list[SimpleNamespace]:
    """With gradients of units on both sides of their bound, and some units that are 0."""
    rng = np.random.default_rng(seed)
    made = []
    for shape in shapes:
        data, grad = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        if len(shape) > 1:
            grad *= 10.0 ** -rng.integers(0, 6, (len(grad),) + (1,) * (len(shape) - 1)).astype(np.float32)
            data[rng.random(len(data)) < 0.2] = 0
            grad[rng.random(len(grad)) < 0.1] = 0
        made.append(SimpleNamespace(data=data, grad=grad))
    return made


def clip(backend: str, some: list[SimpleNamespace]) -> tuple[int, list[np.ndarray]]:
    copies = [SimpleNamespace(data=p.data, grad=p.grad.copy()) for p in some]
    with levit_ref.use_backend(backend), np.errstate(all="ignore"):
        clipped = clip_adaptive(copies)
    return clipped, [p.grad for p in copies]


@few
@given(shapes=st.lists(st.lists(sizes, min_size=1, max_size=3).map(tuple), max_size=5), seed=st.integers(0, 100))
def test_adaptive_clipping_agrees_with_numpy(shapes: list[tuple[int, ...]], seed: int) -> None:
    some = parameters(seed, *shapes)
    (count, grads), (expected_count, expected) = clip("native", some), clip("numpy", some)
    assert count == expected_count
    for got, right, before in zip(grads, expected, some, strict=True):
        np.testing.assert_allclose(got, right, rtol=16 * EPS)
        untouched = right == before.grad
        np.testing.assert_array_equal(got[untouched], right[untouched])


def test_adaptive_clipping_of_large_and_odd_shapes() -> None:
    some = parameters(0, (700, 5, 3, 3), (2, BLOCK + 3), (1, 1), (3, 1), (2 * BLOCK,))
    (count, grads), (expected_count, expected) = clip("native", some), clip("numpy", some)
    assert count == expected_count > 300
    for got, right in zip(grads, expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=32 * EPS)


def test_adaptive_clipping_treats_nan_and_infinity_as_numpy() -> None:
    some = parameters(0, (6, 20))
    some[0].grad[0, 3], some[0].grad[1, 4], some[0].data[2, 5], some[0].data[3, 6] = np.nan, np.inf, np.nan, np.inf
    some[0].grad[:4] *= 1e4
    (count, grads), (expected_count, expected) = clip("native", some), clip("numpy", some)
    assert count == expected_count
    np.testing.assert_allclose(grads[0], expected[0], rtol=16 * EPS)


def test_parameters_that_no_kernel_serves_are_numpys() -> None:
    turned = SimpleNamespace(data=normal(0, 5, 7).T, grad=normal(1, 5, 7).T)
    double = SimpleNamespace(data=np.ones((3, 4)), grad=np.ones((3, 4)))
    assert not native_serves(turned.data)
    assert not native_serves(double.data)
    assert clip_adaptive([turned, double]) == 7 + 3


# --- all of them ------------------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    params, grads = normal(0, 5 * BLOCK + 9), normal(1, 5 * BLOCK + 9)

    def compute() -> tuple[np.ndarray, ...]:
        some = parameters(0, (700, 60), (90,))
        clip_adaptive(some)
        optimizer = AdamW(params.copy(), grads, masks(params.size, 7, 0))
        ema = Ema(SimpleNamespace(flat_data=optimizer.params, flat_buffers=params), 0.9)
        optimizer.step()
        ema.update()
        norm = np.array([global_norm(grads)])
        return (norm, optimizer.params, optimizer.m, optimizer.v, ema.data, *(p.grad for p in some))

    assert_same_bits_for_any_threads(compute)


def test_alignment_makes_no_difference() -> None:
    params, grads = normal(0, 1003), normal(1, 1003)
    results = []
    for copied in (np.copy, misaligned):
        optimizer = AdamW(copied(params), copied(grads), masks(1003, 4, 0))
        optimizer.step()
        results.append(optimizer)
    assert_same_state(*results)
    assert global_norm(misaligned(grads)) == global_norm(grads)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for length in (1, 15, 33, BLOCK + 1):
        guarded = np.full((4, length + 64), 7.0, np.float32)
        params, grads, m, v = guarded[:, 32 : 32 + length]
        grads[:], m[:], v[:] = 1, 0, 0
        extension.adamw_step(
            params, grads, m, v, np.array([0, length]), keep=0.9, one_minus_beta1=0.1, beta2=0.9, one_minus_beta2=0.1,
            root_scale=1.0, eps=1e-8, step_size=0.1,
        )  # fmt: skip
        extension.move_average(params, grads, 0.5)
        extension.scale(grads, 2.0)
        extension.clip_units([params.reshape(1, -1)], [m.reshape(1, -1)], 1e-3, 1e-3)
        assert (guarded[:, :32] == 7).all() and (guarded[:, 32 + length :] == 7).all()
        assert not (guarded[:, 32 : 32 + length] == 7).any()


def test_float64_is_served_by_numpy() -> None:
    params, mask = normal(0, 50).astype(np.float64), masks(50, 2, 0)
    assert not native_serves(params)
    one, other = AdamW(params.copy(), params, mask), AdamW(params.copy(), params, mask)
    one.step()
    with levit_ref.use_backend("numpy"):
        other.step()
        assert not native_serves(params.astype(np.float32))
    assert one.params.dtype == np.float64
    assert_same_state(one, other)


def arguments(**changes: object) -> dict[str, object]:
    arrays = {name: np.zeros(4, np.float32) for name in ("params", "grads", "m", "v")}
    scalars = ("keep", "one_minus_beta1", "beta2", "one_minus_beta2", "root_scale", "eps", "step_size")
    return {**arrays, "edges": np.array([0, 4]), **dict.fromkeys(scalars, 0.5), **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": np.zeros(4)}, "params must be float32, got float64"),
        ({"grads": np.zeros(5, np.float32)}, r"grads has shape \(5,\), expected \(4,\)"),
        ({"m": np.zeros((2, 2), np.float32)}, r"m has shape \(2, 2\), expected \(4,\)"),
        ({"v": np.zeros(8, np.float32)[::2]}, "v must be contiguous in memory"),
        ({"edges": np.array([0, 5])}, "edges must ascend from 0 to 4, got 5 after 0"),
        ({"edges": np.array([3, 1])}, "edges must ascend from 0 to 4, got 1 after 3"),
        ({"edges": np.array([-1, 1])}, "edges must ascend from 0 to 4, got -1 after 0"),
        ({"edges": np.array([[0, 1]])}, "edges must be one contiguous axis of int64"),
    ],
)
def test_the_binding_refuses_what_the_kernel_cannot_read(change: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        extension.adamw_step(**arguments(**change))


def test_read_only_and_unpaired_arrays_are_refused() -> None:
    frozen = np.zeros(4, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="params is read-only"):
        extension.adamw_step(**arguments(params=frozen))
    with pytest.raises(ValueError, match="x is read-only"):
        extension.scale(frozen, 2.0)
    with pytest.raises(ValueError, match="there are 1 arrays of data and 0 of gradients"):
        extension.clip_units([frozen], [], 0.1, 0.1)
    with pytest.raises(ValueError, match=r"grad has shape \(3,\), expected \(4,\)"):
        extension.clip_units([frozen], [np.zeros(3, np.float32)], 0.1, 0.1)
