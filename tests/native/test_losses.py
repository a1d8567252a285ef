"""Softmax and cross-entropy against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import (
    assert_close,
    assert_refused_alike,
    assert_same_bits_for_any_threads,
    few,
    misaligned,
    normal,
    sizes,
)

spreads = st.sampled_from([1.0, 10.0, 1000.0])

# --- softmax ----------------------------------------------------------------------------------------------------------


@few
@given(leading=st.lists(st.integers(1, 7), max_size=3), K=sizes, spread=spreads)
def test_softmax(leading: list[int], K: int, spread: float) -> None:
    x, dy = spread * normal(0, *leading, K), normal(1, *leading, K)
    y, saved = F.softmax_forward(x)
    assert saved is y
    expected, _ = ops.softmax_forward(x.astype(np.float64))
    assert_close(y, expected, terms=K, scale=1)
    dx = F.softmax_backward(dy, saved)
    assert_close(dx, ops.softmax_backward(dy.astype(np.float64), expected), terms=K, scale=4)


def test_small_probabilities_keep_their_digits() -> None:
    x = -np.arange(80, dtype=np.float32)[None]
    np.testing.assert_allclose(F.softmax_forward(x)[0], ops.softmax_forward(x.astype(np.float64))[0], rtol=1e-6)


def test_masked_and_not_finite_scores_as_in_numpy() -> None:
    x = np.tile(normal(0, 37), (6, 1))
    x[0, 5] = -np.inf
    x[1, 36] = np.inf
    x[2, 20] = np.nan
    x[3] = -np.inf
    x[4, ::2], x[4, 1::2] = -np.inf, np.nan
    with np.errstate(all="ignore"):
        expected, _ = ops.softmax_forward(x)
    y, _ = F.softmax_forward(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    assert y[0, 5] == 0


def test_softmax_of_any_layout() -> None:
    x, dy = normal(0, 3, 4, 21), normal(1, 3, 4, 21)
    y, _ = F.softmax_forward(x)
    dx = F.softmax_backward(dy, y)
    for other in (misaligned, np.asfortranarray, lambda a: np.repeat(a, 2, -1)[..., ::2]):
        np.testing.assert_array_equal(F.softmax_forward(other(x))[0], y)
        np.testing.assert_array_equal(F.softmax_backward(other(dy), other(y)), dx)


def test_softmax_refuses_as_numpy_does() -> None:
    x = normal(0, 2, 3)
    for wrong in (x[:, :0], x.tolist(), x.astype(np.int64), x[0, 0].reshape(())):
        assert_refused_alike("softmax_forward", wrong)
    for dy in (x[:1], x.astype(np.float64)):
        assert_refused_alike("softmax_backward", dy, x)
    y, _ = F.softmax_forward(x.astype(np.float64))
    np.testing.assert_array_equal(y, ops.softmax_forward(x.astype(np.float64))[0])


# --- cross-entropy ----------------------------------------------------------------------------------------------------


@few
@given(B=sizes, K=sizes, soft=st.booleans(), smoothing=st.sampled_from([0.0, 0.1, 1.0]), spread=spreads)
def test_cross_entropy(B: int, K: int, soft: bool, smoothing: float, spread: float) -> None:
    logits = spread * normal(0, B, K)
    rng = np.random.default_rng(B)
    targets: Any = rng.dirichlet(np.ones(K), B).astype(np.float32) if soft else rng.integers(K, size=B)
    loss, saved = F.cross_entropy_forward(logits, targets, label_smoothing=smoothing)
    expected, saved_numpy = ops.cross_entropy_forward(logits.astype(np.float64), targets, label_smoothing=smoothing)
    assert type(loss) is np.float32
    assert abs(loss - expected) <= 1e-6 * max(1.0, spread)
    dlogits = F.cross_entropy_backward(0.7, saved)
    assert_close(dlogits, ops.cross_entropy_backward(0.7, saved_numpy), terms=K, scale=1 / B)


def test_either_backend_goes_on_from_what_the_other_saved() -> None:
    logits, targets = normal(0, 9, 13), np.arange(9)
    saved = [f.cross_entropy_forward(logits, targets, label_smoothing=0.1)[1] for f in (ops, F)]
    gradients = [f.cross_entropy_backward(np.float32(2), s) for f in (ops, F) for s in saved]
    for gradient in gradients[1:]:
        assert_close(gradient, gradients[0].astype(np.float64), terms=13)


def test_huge_and_not_finite_logits_as_in_numpy() -> None:
    logits = np.array([[1e4, -1e4, 0], [1e38, -1e38, 2e38], [0, 1, 2]], np.float32)
    loss, _ = F.cross_entropy_forward(logits, np.array([1, 2, 0]))
    assert np.isfinite(loss)
    np.testing.assert_allclose(loss, ops.cross_entropy_forward(logits, np.array([1, 2, 0]))[0], rtol=1e-6)
    for wrong in (np.nan, np.inf, -np.inf):
        logits[2, 1] = wrong
        with np.errstate(all="ignore"):
            expected, _ = ops.cross_entropy_forward(logits, np.array([1, 2, 0]))
        np.testing.assert_array_equal(F.cross_entropy_forward(logits, np.array([1, 2, 0]))[0], expected)


def test_given_targets_are_neither_changed_nor_kept() -> None:
    targets = np.eye(3, dtype=np.float32)
    targets.flags.writeable = False
    _, saved = F.cross_entropy_forward(normal(0, 3, 3), targets)
    assert not np.shares_memory(saved.targets, targets)


def test_cross_entropy_of_any_layout() -> None:
    logits, targets = normal(0, 6, 10), np.abs(normal(1, 6, 10))
    loss, saved = F.cross_entropy_forward(logits, targets)
    gradient = F.cross_entropy_backward(1, saved)
    for other in (misaligned, np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2]):
        again, saved = F.cross_entropy_forward(other(logits), other(targets))
        assert again == loss
        np.testing.assert_array_equal(F.cross_entropy_backward(1, saved), gradient)


def test_cross_entropy_refuses_as_numpy_does() -> None:
    logits = normal(0, 3, 4)
    for arguments in (
        (logits, np.array([0, 1, 4])),
        (logits, np.array([0, 1])),
        (logits, np.zeros((3, 5), np.float32)),
        (logits, [0, 1, 2]),
        (logits[:0], np.array([], np.int64)),
        (logits[0], np.array([0])),
    ):
        assert_refused_alike("cross_entropy_forward", *arguments)
    double, _ = F.cross_entropy_forward(logits.astype(np.float64), np.array([0, 1, 2]))
    assert double == ops.cross_entropy_forward(logits.astype(np.float64), np.array([0, 1, 2]))[0]


# --- both -------------------------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    x, dy = normal(0, 700, 101), normal(1, 700, 101)

    def compute() -> list[np.ndarray]:
        y, saved = F.softmax_forward(x)
        loss, saved_loss = F.cross_entropy_forward(x, np.arange(700) % 101)
        return [y, F.softmax_backward(dy, saved), np.array(loss), F.cross_entropy_backward(1, saved_loss)]

    assert_same_bits_for_any_threads(compute)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for K in (1, 3, 15, 17, 33):
        guarded = np.full((2, 2 * K + 64), np.nan, np.float32)
        x, t = (row[32 : 32 + 2 * K].reshape(2, K) for row in guarded)
        x[...], t[...] = normal(0, 2, K), np.abs(normal(1, 2, K))
        _, saved = F.softmax_forward(x)
        assert np.isfinite(F.softmax_backward(t, saved)).all()
        loss, saved_loss = F.cross_entropy_forward(x, t)
        assert np.isfinite(loss)
        assert np.isfinite(F.cross_entropy_backward(1, saved_loss)).all()
        assert np.isfinite(extension.cross_entropy_backward(x, t, 1.0)).all()
        assert np.isnan(guarded).sum() == 2 * 64


def test_the_bindings_refuse_what_the_kernels_cannot_read() -> None:
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="x has no columns"):
        extension.softmax_forward(x[:, :0].copy())
    with pytest.raises(ValueError, match=r"dy has shape \(4, 5\), expected \(4, 6\)"):
        extension.softmax_backward(x[:, :5].copy(), x)
    with pytest.raises(ValueError, match=r"targets has shape \(3, 6\), expected \(4, 6\)"):
        extension.cross_entropy_forward(x, x[:3])
    with pytest.raises(TypeError, match="probs must be float32, got float64"):
        extension.cross_entropy_backward(x.astype(np.float64), x, 1.0)
