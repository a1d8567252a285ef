"""Batch normalisation, fused with its activation, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.ops.batch_norm import BatchNormSaved
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
from tests.ops.composed import Composed

NUMPY, NATIVE = Composed(ops), Composed(F)

activations = st.sampled_from(list(ops.ACTIVATIONS))
every_activation = pytest.mark.parametrize("activation", ops.ACTIVATIONS)


def vectors(C: int) -> tuple[np.ndarray, ...]:
    """Weight, bias, running mean and running variance."""
    return normal(3, C), normal(4, C), normal(5, C), normal(6, C) ** 2 + np.float32(0.5)


def double(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def as_images(rows: np.ndarray) -> np.ndarray:
    """(B, N, C) as images (B, C, N, 1), the channels innermost in memory, as a convolution returns them."""
    return rows[:, :, None].transpose(0, 3, 1, 2)


class Recorder:
    """A tap that keeps what it sees, and may put something else in its place."""

    def __init__(self, replace: Callable[[np.ndarray], np.ndarray] = lambda value: value) -> None:
        self.seen: dict[str, np.ndarray] = {}
        self.replace = replace

    def __call__(self, name: str, value: np.ndarray) -> np.ndarray:
        self.seen[name] = value.copy()
        return self.replace(value)


# --- agreement --------------------------------------------------------------------------------------------------------


@few
@given(B=st.integers(1, 9), N=sizes, C=sizes, activation=activations, training=st.booleans(), images=st.booleans())
def test_forward_and_backward(B: int, N: int, C: int, activation: str, training: bool, images: bool) -> None:
    training = training and B * N > 1
    x, dy = 2 * normal(0, B, N, C) + normal(1, C), normal(2, B, N, C)
    if images:
        x, dy = as_images(x), as_images(dy)
    arrays = vectors(C)
    options: dict[str, Any] = {"training": training, "channel_axis": 1 if images else -1, "activation": activation}
    y, saved = NATIVE.batch_norm_forward(x, *arrays, **options)
    y_numpy, saved_numpy = NUMPY.batch_norm_forward(*double(x, *arrays), **options)
    weight, inv_std = np.abs(arrays[0]).max(), saved_numpy.inv_std.max()
    digits = 1 + np.abs(x).max() * inv_std  # two values of a channel that are nearly the same have few digits left
    assert_close(y, y_numpy, terms=4, scale=float(weight * digits + 3))

    # An activation's slope jumps, and a rounding error before it may pick the other side: NumPy gets the native input.
    recorder = Recorder()
    NATIVE.batch_norm_forward(x, *arrays, **options, tap=recorder)
    before = recorder.seen["bn"].astype(np.float64)
    gradients = NATIVE.batch_norm_backward(dy, saved)
    expected = NUMPY.batch_norm_backward(dy.astype(np.float64), saved_numpy.with_normalised(before))
    slope = 2 * np.abs(dy).max() * digits
    for got, right, scale in zip(gradients, expected, (weight * inv_std, (B * N) ** 0.5, (B * N) ** 0.5), strict=True):
        assert_close(got, right, terms=B * N, scale=float(scale * slope))
    assert gradients[0].strides == y.strides


def test_images_cost_no_copy() -> None:
    x, dy = normal(0, 4, 3, 2, 8).transpose(0, 3, 1, 2), normal(1, 4, 3, 2, 8).transpose(0, 3, 1, 2)
    y, saved = NATIVE.batch_norm_forward(x, *vectors(8), training=True, channel_axis=1)
    assert np.shares_memory(saved.x, x)
    assert y.strides == x.strides
    dx, _, _ = NATIVE.batch_norm_backward(dy, saved)
    assert dx.strides == x.strides


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -2, 3])
def test_any_channel_axis_and_layout(channel_axis: int) -> None:
    x, dy = normal(0, 3, 4, 5, 6), normal(1, 3, 4, 5, 6)
    options: dict[str, Any] = {"training": True, "channel_axis": channel_axis, "activation": "hardswish"}
    arrays = vectors(x.shape[channel_axis])
    y, saved = NATIVE.batch_norm_forward(x, *arrays, **options)
    expected = NUMPY.batch_norm_forward(x, *arrays, **options)[0]
    assert_close(y, expected.astype(np.float64), terms=72)
    gradients = NATIVE.batch_norm_backward(dy, saved)
    for other in (
        misaligned,
        np.asfortranarray,
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.repeat(a, 2, -1)[..., ::2],
    ):
        z, saved = NATIVE.batch_norm_forward(other(x), *map(other, arrays), **options)
        np.testing.assert_array_equal(z, y)
        for a, b in zip(NATIVE.batch_norm_backward(other(dy), saved), gradients, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("M", [257, 8192])
def test_a_mean_far_from_zero_costs_no_more_digits_than_in_numpy(M: int) -> None:
    """A mean of 1000 standard deviations: mean of squares minus square of the mean would have no digit left."""
    C = 48
    x, dy = 1000 + normal(0, M, C), normal(1, M, C)
    arrays = vectors(C)
    exact_y, exact_saved = NUMPY.batch_norm_forward(*double(x, *arrays), training=True)
    exact = (exact_y, *NUMPY.batch_norm_backward(dy.astype(np.float64), exact_saved), exact_saved.variance)
    errors = {}
    for name, backend in (("numpy", NUMPY), ("native", NATIVE)):
        y, saved = backend.batch_norm_forward(x, *arrays, training=True)
        got = (y, *backend.batch_norm_backward(dy, saved), saved.variance)
        errors[name] = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(got, exact, strict=True)]
    for native, numpy in zip(errors["native"], errors["numpy"], strict=True):
        assert native <= max(2 * numpy, 1e-6), errors
    assert errors["native"][0] < 1e-4


def test_rows_that_drift_cost_no_digits() -> None:
    """Every block of rows has a mean of its own, far from that of all."""
    x = (np.arange(5000, dtype=np.float32) // 100)[:, None] * 100 + normal(0, 5000, 3)
    mean, variance = extension.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=0), rtol=1e-6)


def test_many_rows() -> None:
    """Rounding must not pile up over 1.6 million rows, as a batch of 128 has them after the first convolution."""
    x, dy = 2 * normal(0, 128 * 112 * 112, 2) + 3, normal(1, 128 * 112 * 112, 2)
    mean, variance = extension.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(variance, x.var(axis=0, dtype=np.float64), rtol=1e-6)
    saved = NATIVE.batch_norm_forward(x, *vectors(2), training=True)[1]
    _, dweight, dbias = NATIVE.batch_norm_backward(dy, saved)
    normalised = (x - saved.mean.astype(np.float64)) * saved.inv_std
    np.testing.assert_allclose(dbias, dy.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(dweight, (dy * normalised).sum(axis=0), rtol=1e-5, atol=1e-2)


def test_a_constant_channel_gives_the_bias_and_no_infinity() -> None:
    weight, bias, mean, var = vectors(3)
    y, saved = NATIVE.batch_norm_forward(np.full((130, 3), 3.25, np.float32), weight, bias, mean, var, training=True)
    np.testing.assert_array_equal(y, np.broadcast_to(bias, y.shape))
    assert np.isfinite(NATIVE.batch_norm_backward(normal(0, 130, 3), saved)[0]).all()


# --- taps -------------------------------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("training", [True, False])
def test_recording_changes_no_bit(activation: str, training: bool) -> None:
    x, dy, arrays = 3 * normal(0, 140, 37), normal(1, 140, 37), vectors(37)
    options: dict[str, Any] = {"training": training, "activation": activation}
    y, saved = NATIVE.batch_norm_forward(x, *arrays, **options)
    gradients = NATIVE.batch_norm_backward(dy, saved)
    forward, backward = Recorder(), Recorder()
    z, saved_tapped = NATIVE.batch_norm_forward(x, *arrays, **options, tap=forward)
    np.testing.assert_array_equal(z, y)
    np.testing.assert_array_equal(forward.seen["bn"], NATIVE.batch_norm_forward(x, *arrays, training=training)[0])
    for kept in (saved, saved_tapped):
        for tap in ({}, {"tap": backward}):
            for a, b in zip(NATIVE.batch_norm_backward(dy, kept, **tap), gradients, strict=True):
                np.testing.assert_array_equal(a, b)
    expected = getattr(ops, f"{activation}_backward")(dy, forward.seen["bn"])
    np.testing.assert_allclose(backward.seen["bn"], expected, rtol=1e-5, atol=1e-6)


@every_activation
@pytest.mark.parametrize("images", [False, True])
def test_what_a_tap_returns_flows_on(activation: str, images: bool) -> None:
    x, dy = normal(0, 2, 20, 7), normal(1, 2, 20, 7)
    if images:
        x, dy = as_images(x), as_images(dy)
    options: dict[str, Any] = {"training": True, "channel_axis": 1 if images else -1, "activation": activation}
    half = Recorder(lambda value: 0.5 * value)
    nothing = Recorder(np.zeros_like)
    results = []
    for backend in (NUMPY, NATIVE):
        y, saved = backend.batch_norm_forward(x, *vectors(7), **options, tap=half)
        _, dweight, _ = backend.batch_norm_backward(dy, saved)
        dx, _, dbias = backend.batch_norm_backward(dy, saved, tap=nothing)
        assert not dx.any()
        assert not dbias.any()
        results.append((y, dweight))
    for got, expected in zip(results[1], results[0], strict=True):
        assert_close(got, expected.astype(np.float64), terms=40, scale=8)


# --- both backends ----------------------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("training", [True, False])
def test_either_backend_goes_on_from_what_the_other_saved(activation: str, training: bool) -> None:
    x, dy = as_images(normal(0, 3, 30, 17)), as_images(normal(1, 3, 30, 17))
    options: dict[str, Any] = {"training": training, "channel_axis": 1, "activation": activation}
    saved = [backend.batch_norm_forward(x, *vectors(17), **options)[1] for backend in (NUMPY, NATIVE)]
    first, *others = [backend.batch_norm_backward(dy, s) for backend in (NUMPY, NATIVE) for s in saved]
    for gradients in others:
        for got, expected in zip(gradients, first, strict=True):
            assert_close(got, expected.astype(np.float64), terms=90, scale=30)
    recorder = Recorder()
    NUMPY.batch_norm_backward(dy, saved[1], tap=recorder)
    assert recorder.seen["bn"].shape == x.shape
    if training:
        moved = [ops.update_running_statistics(*vectors(17)[2:], s.mean, s.variance, s.count) for s in saved]
        for mean, var in moved[1:]:
            np.testing.assert_allclose(mean, moved[0][0], rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(var, moved[0][1], rtol=1e-6)


def test_a_training_step_keeps_the_input_alone() -> None:
    x = normal(0, 64, 32)
    _, saved = NATIVE.batch_norm_forward(x, *vectors(32), training=True, activation="hardswish")
    large = [name for name in BatchNormSaved._fields if getattr(getattr(saved.saved, name), "size", 0) >= x.size]
    assert large == ["x"]
    assert np.shares_memory(saved.x, x)


def test_float64_is_served_by_numpy() -> None:
    x, arrays = normal(0, 20, 5).astype(np.float64), double(*vectors(5))
    options: dict[str, Any] = {"training": True, "activation": "hardswish"}
    y, saved = NATIVE.batch_norm_forward(x, *arrays, **options)
    np.testing.assert_array_equal(y, NUMPY.batch_norm_forward(x, *arrays, **options)[0])
    assert NATIVE.batch_norm_backward(y, saved)[0].dtype == np.float64


# --- what is not finite -----------------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("training", [True, False])
def test_nan_and_infinity_stay_in_their_channel_as_in_numpy(activation: str, training: bool) -> None:
    C = 21
    x, dy, (weight, bias, mean, var) = normal(0, 300, C), normal(1, 300, C), vectors(C)
    x[7, 0], x[200, 1], x[299, 2] = np.nan, np.inf, -np.inf
    x[5, 3], x[6, 3] = np.inf, -np.inf
    dy[5, 17], dy[6, 18] = np.nan, np.inf
    mean[4], mean[5], var[6], var[7] = np.inf, np.nan, np.inf, np.nan  # running statistics that have diverged
    weight[8], bias[9], bias[10] = np.inf, np.inf, np.nan
    with np.errstate(all="ignore"):
        options: dict[str, Any] = {"training": training, "activation": activation}
        results = []
        for backend in (NUMPY, NATIVE):
            y, saved = backend.batch_norm_forward(x, weight, bias, mean, var, **options)
            moved = (
                ops.update_running_statistics(mean, var, saved.mean, saved.variance, saved.count) if training else ()
            )
            results.append((y, *backend.batch_norm_backward(dy, saved), saved.mean, saved.variance, *moved))
    for got, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(got[np.isinf(got)], expected[np.isinf(expected)])


# --- the binding ------------------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    x, dy = normal(0, 3000, 75), normal(1, 3000, 75)

    def compute() -> tuple[np.ndarray, ...]:
        y, saved = NATIVE.batch_norm_forward(x, *vectors(75), training=True, activation="hardswish")
        return (y, saved.mean, saved.variance, *NATIVE.batch_norm_backward(dy, saved), extension.sum_rows(x))

    assert_same_bits_for_any_threads(compute)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for M, C in [(2, 1), (5, 3), (9, 17), (131, 33)]:
        guarded = np.full((2, M * C + 64), np.nan, np.float32)
        x, dy = (row[32 : 32 + M * C].reshape(M, C) for row in guarded)
        x[...], dy[...] = normal(0, M, C), normal(1, M, C)
        guarded.flags.writeable = False
        for training in (True, False):
            y, saved = NATIVE.batch_norm_forward(x, *vectors(C), training=training, activation="hardswish")
            assert np.isfinite(y).all()  # a NaN of the guard would be in a sum
            assert all(np.isfinite(gradient).all() for gradient in NATIVE.batch_norm_backward(dy, saved))
        assert np.isnan(guarded).sum() == 2 * 64


def test_refusals_as_in_numpy() -> None:
    x, (weight, bias, mean, var) = normal(0, 4, 3), vectors(3)
    for arguments, options in [
        ((x, weight[:2], bias, mean, var), {}),
        ((x, weight, bias, mean, var.astype(np.float64)), {"training": False}),
        ((x, weight, bias.tolist(), mean, var), {}),
        ((x, weight, bias, mean, var), {"channel_axis": 2}),
        ((x, weight, bias, mean, var), {"activation": "tanh"}),
        ((x[:1], weight, bias, mean, var), {}),
        ((x[:0], weight, bias, mean, var), {}),
    ]:
        assert_refused_alike(
            "batch_norm_forward", *arguments, **{"training": True, **options}, numpy=NUMPY, native=NATIVE
        )
    saved = NATIVE.batch_norm_forward(x, weight, bias, mean, var, training=True)[1]
    assert_refused_alike("batch_norm_backward", x[:2], saved, numpy=NUMPY, native=NATIVE)
    assert_refused_alike("batch_norm_backward", x.astype(np.float64), saved, numpy=NUMPY, native=NATIVE)


def test_the_bindings_refuse_what_the_kernels_cannot_read() -> None:
    x, (weight, bias, mean, var) = normal(0, 4, 3), vectors(3)
    with pytest.raises(ValueError, match="x has no rows"):
        extension.batch_norm_statistics(x[:0])
    with pytest.raises(ValueError, match="x must be contiguous in memory"):
        extension.batch_norm_statistics(x[::2])
    with pytest.raises(ValueError, match=r"inv_std has shape \(2,\), expected \(3,\)"):
        extension.batch_norm_apply(x, mean, var[:2], weight, bias, "identity")
    with pytest.raises(ValueError, match="there is no kernel for the activation 'tanh'"):
        extension.batch_norm_apply(x, mean, var, weight, bias, "tanh")
    with pytest.raises(ValueError, match=r"dy has shape \(3, 3\), expected \(4, 3\)"):
        extension.batch_norm_backward_sums(x[:3], x, mean, var, weight, bias, "identity")
    with pytest.raises(TypeError, match="bias must be float32, got float64"):
        extension.batch_norm_backward_apply(x, x, mean, var, weight, bias.astype(np.float64), "identity", None, None)
