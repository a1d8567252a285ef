"""What is particular to batch normalisation: two kinds of statistics, and small batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from levit_ref.ops import batch_norm_backward as apply_backward
from levit_ref.ops import batch_norm_backward_sums, batch_norm_statistics, update_running_statistics
from tests.ops.case import Array, relative_error
from tests.ops.composed import batch_norm_backward, batch_norm_forward


def normalise(x: Array, *, training: bool = True, channel_axis: int = -1, **options: Any) -> Any:
    """``batch_norm_forward`` with weight 1, bias 0 and running statistics 0 and 1 (PyTorch's initial ones)."""
    one, zero = np.ones(x.shape[channel_axis], x.dtype), np.zeros(x.shape[channel_axis], x.dtype)
    return batch_norm_forward(x, one, zero, zero, one, training=training, channel_axis=channel_axis, **options)


def test_training_worked_by_hand() -> None:
    x = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 3.0], [7.0, 1.0]])  # means 4 and 1, variances 5 and 1.5
    y, saved = batch_norm_forward(
        x, np.array([2.0, 1.0]), np.array([0.0, 10.0]), np.zeros(2), np.ones(2), training=True, eps=0.0
    )
    np.testing.assert_allclose(y[:, 0], 2 * np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-15)
    np.testing.assert_allclose(y[:, 1], 10 + np.array([-1, -1, 2, 0]) / np.sqrt(1.5), rtol=1e-15)

    # One unit of gradient on the first row: it minus its mean 1/4 minus n times the mean of (dy n), n_0^2 = 9/5.
    dy = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    dx, dweight, dbias = batch_norm_backward(dy, saved)
    n = np.array([-3, -1, 1, 3]) / np.sqrt(5)
    np.testing.assert_allclose(
        dx[:, 0], 2 / np.sqrt(5) * (np.array([0.75, -0.25, -0.25, -0.25]) - n * n[0] / 4), rtol=1e-14
    )
    np.testing.assert_array_equal(dx[:, 1], 0)
    np.testing.assert_allclose(dweight, [n[0], 0], rtol=1e-15)
    np.testing.assert_array_equal(dbias, [1, 0])


def test_inference_worked_by_hand() -> None:
    y, saved = batch_norm_forward(
        np.array([[5.0], [9.0]]),
        np.array([3.0]),
        np.array([1.0]),
        np.array([1.0]),
        np.array([4.0]),
        training=False,
        eps=0.0,
    )
    np.testing.assert_array_equal(y, [[3 * 4 / 2 + 1], [3 * 8 / 2 + 1]])
    dx, dweight, dbias = batch_norm_backward(np.array([[1.0], [10.0]]), saved)
    np.testing.assert_array_equal(dx, [[1.5], [15]])
    np.testing.assert_array_equal(dweight, [1 * 2 + 10 * 4])
    np.testing.assert_array_equal(dbias, [11])


def test_inference_takes_a_batch_of_one() -> None:
    y, _ = normalise(np.array([[3.0, -2.0]]), training=False, eps=0.0)
    np.testing.assert_array_equal(y, [[3, -2]])


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("images", [False, True])
@settings(max_examples=10)
@given(batch=st.integers(1, 4), channels=st.integers(1, 5), seed=st.integers(0, 999))
def test_running_statistics_over_steps_as_pytorch_keeps_them(
    images: bool, dtype: type[np.floating[Any]], limit: float, batch: int, channels: int, seed: int
) -> None:
    """Five training steps and one inference, module and functions side by side, with their default momentum and eps."""
    rng = np.random.default_rng(seed)
    module = (torch.nn.BatchNorm2d if images else torch.nn.BatchNorm1d)(channels, dtype=torch.tensor(dtype(0)).dtype)
    weight, bias = (module.weight.detach().numpy(), module.bias.detach().numpy())
    mean, var = np.zeros(channels, dtype), np.ones(channels, dtype)
    for step in range(6):
        training = step < 5
        module.train(training)
        x = (3 * rng.standard_normal((batch, channels, 3, 5)) + rng.standard_normal((channels, 1, 1))).astype(dtype)
        if not images:
            x = x.reshape(batch, channels, 15)
        y, saved = batch_norm_forward(x, weight, bias, mean, var, training=training, channel_axis=1)
        if training:
            mean, var = update_running_statistics(mean, var, *batch_norm_statistics(x, channel_axis=1), saved.count)
        assert relative_error(y, module(torch.tensor(x)).detach().numpy()) < limit
        buffers = module.state_dict()
        assert relative_error(mean, buffers["running_mean"].numpy()) < limit
        assert relative_error(var, buffers["running_var"].numpy()) < limit
        assert mean.dtype == var.dtype == dtype


def test_the_running_variance_is_the_unbiased_one() -> None:
    batch = batch_norm_statistics(np.array([[1.0], [3.0]]))  # mean 2, variance 1 (divided by 2), 2 (divided by 1)
    mean, var = update_running_statistics(np.array([10.0]), np.array([20.0]), *batch, 2)
    np.testing.assert_allclose([mean[0], var[0]], [0.9 * 10 + 0.1 * 2, 0.9 * 20 + 0.1 * 2], rtol=1e-15)
    mean, var = update_running_statistics(np.array([10.0]), np.array([20.0]), *batch, 2, momentum=1.0)
    np.testing.assert_allclose([mean[0], var[0]], [2, 2], rtol=1e-15)


def test_running_statistics_are_new_arrays_of_the_same_dtype() -> None:
    batch = batch_norm_statistics(np.array([[1.0], [3.0]], np.float32))
    before = np.zeros(1, np.float32), np.ones(1, np.float32)
    for array in before:
        array.flags.writeable = False
    after = update_running_statistics(*before, *batch, 2, momentum=np.float64(0.1))
    assert [a.dtype for a in after] == [np.float32, np.float32]


@pytest.mark.parametrize("activation", ["identity", "silu"])
def test_a_batch_in_two_parts_whose_sums_are_added_in_between(activation: str, rng: np.random.Generator) -> None:
    """As several processes do it: each has a part of the batch, and only sums travel."""
    x, dy = 2 * rng.standard_normal((7, 5, 3)) + 1, rng.standard_normal((7, 5, 3))
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)
    y, saved = batch_norm_forward(x, weight, bias, bias, bias, training=True, activation=activation)
    dx, dweight, dbias = batch_norm_backward(dy, saved)
    assert saved.count == 35
    mean, variance = batch_norm_statistics(x)

    parts = []
    for part in slice(0, 3), slice(3, 7):
        y_part, saved_part = batch_norm_forward(
            x[part], weight, bias, mean, variance, training=False, activation=activation
        )
        np.testing.assert_allclose(y_part, y[part], rtol=1e-12)
        parts.append((saved_part.saved, batch_norm_backward_sums(dy[part], saved_part.saved)))
    all_dweight, all_dbias = (sum(sums[i] for _, sums in parts) for i in (0, 1))
    np.testing.assert_allclose(all_dweight, dweight, rtol=1e-12)
    np.testing.assert_allclose(all_dbias, dbias, rtol=1e-12)
    whole = [
        apply_backward(sums._replace(dweight=all_dweight, dbias=all_dbias), saved_part, count=35)
        for saved_part, sums in parts
    ]
    np.testing.assert_allclose(np.concatenate(whole), dx, rtol=1e-11, atol=1e-13)


def test_an_activation_whose_gradient_is_left_to_the_second_operation(rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    one, zero = np.ones(3), np.zeros(3)
    _, composed = batch_norm_forward(x, one, zero, zero, one, training=True, activation="silu")
    saved, count = composed.saved, composed.count
    sums = batch_norm_backward_sums(dy, saved)
    expected = apply_backward(sums, saved, count)
    np.testing.assert_array_equal(apply_backward(sums._replace(dy=dy, activation="silu"), saved, count), expected)
    later = apply_backward(sums._replace(dy=dy, activation="silu"), saved._replace(normalised=None), count)
    np.testing.assert_array_equal(later, expected)


def test_two_values_of_a_channel() -> None:
    """They become -1 and +1 whatever they are, so nothing is left of the gradient but what eps lets through."""
    x = np.array([[0.0, 5.0], [4.0, 5.5]])
    y, saved = normalise(x, eps=0.0)
    np.testing.assert_allclose(y, [[-1, -1], [1, 1]], rtol=1e-15)
    dx, _, _ = batch_norm_backward(np.array([[1.0, -3.0], [7.0, 2.0]]), saved)
    np.testing.assert_allclose(dx, 0, atol=1e-13)


@settings(max_examples=20)
@given(rows=st.integers(2, 9), channels=st.integers(1, 4), seed=st.integers(0, 999))
def test_training_output_has_mean_zero_and_variance_one(rows: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, saved = normalise(5 * rng.standard_normal((rows, channels)) + 7, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-9)
    dx, _, _ = batch_norm_backward(rng.standard_normal(y.shape), saved)
    np.testing.assert_allclose(dx.sum(axis=0), 0, atol=1e-9)  # a common shift changes nothing
    np.testing.assert_allclose((dx * y).sum(axis=0), 0, atol=1e-9)  # nor does a common stretch


def test_a_constant_channel_gives_the_bias_and_no_infinity() -> None:
    y, saved = batch_norm_forward(
        np.full((4, 1), 3.0), np.array([2.0]), np.array([0.5]), np.zeros(1), np.ones(1), training=True
    )
    np.testing.assert_array_equal(y, 0.5)
    assert np.isfinite(batch_norm_backward(np.ones((4, 1)), saved)[0]).all()


def test_a_mean_far_from_zero_costs_no_digits(rng: np.random.Generator) -> None:
    """The variance as mean of squares minus square of the mean would have none left here."""
    x = (1000 + 0.1 * rng.standard_normal((64, 3))).astype(np.float32)
    y, _ = normalise(x)
    exact, _ = normalise(x.astype(np.float64))
    assert relative_error(y, exact) < 1e-3


def test_many_rows_in_single_precision(rng: np.random.Generator) -> None:
    """128 maps of 112 x 112, as after the first convolution: rounding must not pile up over 1.6 million rows."""
    x = 2 * rng.standard_normal((128 * 112 * 112, 2), np.float32) + 3
    dy = rng.standard_normal(x.shape, np.float32)
    y, saved = normalise(x)
    exact_y, exact_saved = normalise(x.astype(np.float64))
    assert relative_error(y, exact_y) < 1e-5
    gradients = batch_norm_backward(dy, saved)
    for actual, exact in zip(gradients, batch_norm_backward(dy.astype(np.float64), exact_saved), strict=True):
        assert relative_error(actual, exact) < 1e-5


@pytest.mark.parametrize("shape", [(1, 3), (3,)])
def test_a_single_value_per_channel_is_refused_in_training_with_the_reason(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"more than one value per channel, got x of shape .*batch of at least 2, or eval mode"
    ):
        normalise(np.ones(shape))


def test_a_batch_of_one_is_fine_where_it_has_several_tokens(rng: np.random.Generator) -> None:
    y, _ = normalise(rng.standard_normal((1, 9, 3)), eps=0.0)
    np.testing.assert_allclose(y.var(axis=(0, 1)), 1)


def test_refusals() -> None:
    ones = np.ones(3)
    for wrong, name in enumerate(("weight", "bias", "mean", "variance")):
        vectors = [np.ones(1) if number == wrong else ones for number in range(4)]
        with pytest.raises(ValueError, match=rf"batch_norm: {name} has shape \(1,\), expected \(3,\) .*3 channels"):
            batch_norm_forward(np.ones((4, 3)), *vectors, training=False)
    with pytest.raises(ValueError, match=r"channel_axis is 2, but x has only 2 axes \(shape \(4, 3\)\)"):
        batch_norm_forward(np.ones((4, 3)), ones, ones, ones, ones, training=True, channel_axis=2)


def test_refusals_of_the_running_statistics() -> None:
    batch = np.zeros(3), np.ones(3), 4
    with pytest.raises(ValueError, match=r"running_var has shape \(1,\), expected \(3,\)"):
        update_running_statistics(np.zeros(3), np.ones(1), *batch)
    with pytest.raises(TypeError, match="running_var is float32 but running_mean is float64"):
        update_running_statistics(np.zeros(3), np.ones(3, np.float32), *batch)


def test_refusals_of_the_second_backward_operation() -> None:
    _, composed = normalise(np.ones((4, 3)))
    saved, count = composed.saved, composed.count
    sums = batch_norm_backward_sums(np.ones((4, 3)), saved)
    with pytest.raises(ValueError, match=r"batch_norm_backward: dbias has shape \(1,\), expected \(3,\)"):
        apply_backward(sums._replace(dbias=np.ones(1)), saved, count)
