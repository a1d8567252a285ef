"""Gradient clipping by kernels against NumPy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref import functional as F
from levit_ref.runtime.native import extension
from levit_ref.training.clipping import clip_adaptive, clip_global_norm
from tests.native.agreement import (
    BLOCK,
    EPS,
    assert_same_bits_for_any_threads,
    few,
    lengths,
    misaligned,
    normal,
    sizes,
)


@few
@given(length=lengths)
def test_global_norm(length: int) -> None:
    grads = normal(0, length)
    expected = float(np.linalg.norm(grads.astype(np.float64)))
    assert F.global_norm(grads) == pytest.approx(expected, rel=4 * EPS)
    clipped = grads.copy()
    assert clip_global_norm(clipped, expected / 2) == F.global_norm(grads)
    scale = np.float32(expected / 2 / (expected + 1e-6))
    np.testing.assert_allclose(clipped, grads * scale, rtol=8 * EPS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_global_norm_of_what_is_not_finite(bad: float) -> None:
    grads = normal(0, 100)
    grads[40] = bad
    np.testing.assert_equal(F.global_norm(grads), abs(bad))


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


def test_parameters_of_any_layout() -> None:
    turned = SimpleNamespace(data=normal(0, 5, 7).T, grad=normal(1, 5, 7).T)
    plain = SimpleNamespace(data=turned.data.copy(), grad=turned.grad.copy())
    assert clip_adaptive([turned]) == clip_adaptive([plain]) == 7
    np.testing.assert_array_equal(turned.grad, plain.grad)


def test_float64_is_served_by_numpy() -> None:
    double = SimpleNamespace(data=np.ones((3, 4)), grad=np.ones((3, 4)))
    assert clip_adaptive([double]) == 3
    np.testing.assert_allclose(double.grad, 0.01, rtol=1e-12)


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    grads = normal(1, 5 * BLOCK + 9)

    def compute() -> tuple[np.ndarray, ...]:
        some = parameters(0, (700, 60), (90,))
        clip_adaptive(some)
        return np.array([F.global_norm(grads)]), *(p.grad for p in some)

    assert_same_bits_for_any_threads(compute)


def test_alignment_makes_no_difference() -> None:
    grads = normal(1, 1003)
    assert F.global_norm(misaligned(grads)) == F.global_norm(grads)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for length in (1, 15, 33, BLOCK + 1):
        guarded = np.full((2, length + 64), 7.0, np.float32)
        data, grads = guarded[:, 32 : 32 + length]
        grads[:] = 1
        extension.scale(grads, 2.0)
        assert (grads == 2).all()
        extension.clip_units([data.reshape(1, -1)], [grads.reshape(1, -1)], 1e-3, 1e-3)
        assert (guarded[:, :32] == 7).all() and (guarded[:, 32 + length :] == 7).all()
        assert (data == 7).all() and (grads < 2).all()
