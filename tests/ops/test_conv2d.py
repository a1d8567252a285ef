"""What is particular to the convolution."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levit_ref.ops import (
    ACTIVATIONS,
    conv2d_backward,
    conv2d_forward,
    conv2d_output_size,
    linear_backward,
    linear_forward,
)
from tests.ops.case import Array, relative_error, upstream
from tests.ops.registry import CASES

CONV = next(case for case in CASES if case.name == "conv2d")


def test_worked_by_hand() -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    weight = np.array([[[[1.0, 2.0], [0.0, -1.0]]]])
    y, saved = conv2d_forward(x, weight)
    # 0 1 2      y = 1 * top left + 2 * top right - bottom right
    # 3 4 5
    # 6 7 8
    np.testing.assert_array_equal(y, [[[[0 + 2 - 4, 1 + 4 - 5], [3 + 8 - 7, 4 + 10 - 8]]]])

    dx, dweight, _ = conv2d_backward(np.array([[[[1.0, 0.0], [0.0, 10.0]]]]), saved)
    np.testing.assert_array_equal(dx, [[[[1, 2, 0], [0, -1 + 10, 20], [0, 0, -10]]]])
    np.testing.assert_array_equal(dweight, [[[[0 + 40, 1 + 50], [3 + 70, 4 + 80]]]])


def test_stride_and_padding_worked_by_hand() -> None:
    x = np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
    y, _ = conv2d_forward(x, np.ones((1, 1, 3, 3)), stride=2, padding=1)
    np.testing.assert_array_equal(y, [[[[1 + 2 + 4 + 5, 2 + 3 + 5 + 6], [4 + 5 + 7 + 8, 5 + 6 + 8 + 9]]]])


def loops(
    x: Array, weight: Array, dy: Array, stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[Array, Array, Array]:
    """The docstring's sums, term by term: ``y``, ``dx``, ``dweight``."""
    (sH, sW), (pH, pW) = stride, padding
    H, W = x.shape[2:]
    y, dx, dweight = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(weight)
    for b, o, r, c in np.ndindex(dy.shape):
        for i, u, v in np.ndindex(weight.shape[1:]):
            h, w = r * sH + u - pH, c * sW + v - pW
            if 0 <= h < H and 0 <= w < W:
                y[b, o, r, c] += x[b, i, h, w] * weight[o, i, u, v]
                dx[b, i, h, w] += dy[b, o, r, c] * weight[o, i, u, v]
                dweight[o, i, u, v] += dy[b, o, r, c] * x[b, i, h, w]
    return y, dx, dweight


@settings(max_examples=30)
@given(sizes=CONV.sizes, seed=st.integers(0, 999))
def test_the_formulas_of_the_docstrings(sizes: dict[str, Any], seed: int) -> None:
    example = CONV.example(seed, sizes=sizes)
    y, saved = CONV.run(example)
    dy = upstream(y, seed)
    results = (y, *conv2d_backward(dy, saved)[:2])
    expected = loops(**example.arrays, dy=dy, stride=sizes["stride"], padding=sizes["padding"])
    for name, actual, wanted in zip(("y", "dx", "dweight"), results, expected, strict=True):
        assert relative_error(actual, wanted) < 1e-12, name


def test_a_1x1_convolution_is_a_linear_layer(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((6, 3, 1, 1))
    y, saved = conv2d_forward(x, weight)
    dy = rng.standard_normal(y.shape)
    dx, dweight, _ = conv2d_backward(dy, saved)

    y_linear, saved_linear = linear_forward(np.moveaxis(x, 1, -1), weight[:, :, 0, 0])
    dx_linear, dweight_linear, _ = linear_backward(np.moveaxis(dy, 1, -1), saved_linear)
    np.testing.assert_allclose(y, np.moveaxis(y_linear, -1, 1), rtol=1e-12)
    np.testing.assert_allclose(dx, np.moveaxis(dx_linear, -1, 1), rtol=1e-12)
    np.testing.assert_allclose(dweight[:, :, 0, 0], dweight_linear, rtol=1e-12, atol=1e-13)


def test_pixels_that_no_kernel_touches_have_no_gradient(rng: np.random.Generator) -> None:
    y, saved = conv2d_forward(rng.standard_normal((1, 1, 5, 6)), np.ones((1, 1, 2, 2)), stride=3)
    dx, *_ = conv2d_backward(np.ones_like(y), saved)
    touched = np.array([1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(dx[0, 0], np.outer(touched[:5], touched))


def test_one_number_stands_for_rows_and_columns(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((1, 2, 7, 6)), rng.standard_normal((3, 2, 3, 3))
    np.testing.assert_array_equal(
        conv2d_forward(x, weight, stride=2, padding=1)[0], conv2d_forward(x, weight, stride=(2, 2), padding=(1, 1))[0]
    )


def test_without_dx_the_weight_gradient_is_the_same(rng: np.random.Generator) -> None:
    y, saved = conv2d_forward(rng.standard_normal((2, 3, 5, 5)), rng.standard_normal((4, 3, 3, 3)), padding=1)
    dy = rng.standard_normal(y.shape)
    dx, dweight, _ = conv2d_backward(dy, saved, need_dx=False)
    assert dx is None
    np.testing.assert_array_equal(dweight, conv2d_backward(dy, saved)[1])


def test_output_size_counts_the_places_of_the_kernel() -> None:
    for size, kernel, stride, padding in product(range(1, 9), range(1, 4), range(1, 4), range(3)):
        places = len(range(0, size + 2 * padding - kernel + 1, stride))
        computed = conv2d_output_size((size, 7), (kernel, 1), (stride, 1), (padding, 0))
        assert max(computed[0], 0) == places
        assert computed[1] == 7


def test_the_stem_of_levit_quarters_a_picture_twice() -> None:
    sizes = [224]
    for _ in range(4):
        sizes.append(conv2d_output_size((sizes[-1], 1), (3, 3), (2, 2), (1, 1))[0])
    assert sizes == [224, 112, 56, 28, 14]


@pytest.mark.parametrize(
    ("shape", "weight_shape", "options", "message"),
    [
        ((1, 3, 5, 5), (4, 2, 3, 3), {}, r"x has 3 channels \(shape \(1, 3, 5, 5\)\), weight expects 2"),
        ((1, 2, 2, 5), (4, 2, 3, 3), {}, r"kernel 3x3 is larger than the 2x5 image padded by \(0, 0\)"),
        ((1, 2, 5, 5), (4, 2, 3, 3), {"stride": 0}, r"stride must be an integer >= 1 or a pair of them, got 0"),
        ((1, 2, 5, 5), (4, 2, 3, 3), {"stride": (1, 2, 3)}, r"stride must be .*got \(1, 2, 3\)"),
        ((1, 2, 5, 5), (4, 2, 3, 3), {"stride": 1.5}, r"stride must be .*got 1.5"),
        ((1, 2, 5, 5), (4, 2, 3, 3), {"padding": (0, -1)}, r"padding must be an integer >= 0 .*got \(0, -1\)"),
        ((1, 2, 5, 5), (4, 2, 3, 3), {"padding": "same"}, r"padding must be .*got 'same'"),
        ((2, 5, 5), (4, 2, 3, 3), {}, r"x must have 4 axes \(B, C_in, H, W\), got shape \(2, 5, 5\)"),
        ((1, 2, 5, 5), (4, 2), {}, r"weight must have 4 axes \(C_out, C_in, kH, kW\), got shape \(4, 2\)"),
        ((1, 2, 5, 5), (0, 2, 3, 3), {}, r"weight is empty, got shape \(0, 2, 3, 3\)"),
    ],
)
def test_refusals(shape: tuple[int, ...], weight_shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="conv2d: " + message):
        conv2d_forward(np.ones(shape), np.ones(weight_shape), **options)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bias_and_activation_are_the_operations_by_themselves(activation: str, rng: np.random.Generator) -> None:
    x, weight, bias = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
    fused, saved = conv2d_forward(x, weight, bias, stride=2, padding=1, activation=activation)
    plain, saved_plain = conv2d_forward(x, weight, stride=2, padding=1)
    shifted = plain + bias[:, None, None]
    y, saved_act = ACTIVATIONS[activation].forward(shifted)
    np.testing.assert_allclose(fused, y, rtol=1e-12, atol=1e-14)
    dy = rng.standard_normal(y.shape)
    dshifted = ACTIVATIONS[activation].backward(dy, saved_act)
    dx, dweight, dbias = conv2d_backward(dy, saved)
    assert dbias is not None
    for got, expected in zip((dx, dweight), conv2d_backward(dshifted, saved_plain)[:2], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dbias, dshifted.sum(axis=(0, 2, 3)), rtol=1e-11, atol=1e-13)


def test_patches_that_were_not_kept_are_gathered_again(rng: np.random.Generator) -> None:
    y, saved = conv2d_forward(rng.standard_normal((2, 3, 5, 5)), rng.standard_normal((4, 3, 3, 3)), padding=1)
    dy = rng.standard_normal(y.shape)
    for got, expected in zip(
        conv2d_backward(dy, saved._replace(patches=None))[:2], conv2d_backward(dy, saved)[:2], strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_refusals_of_bias_and_activation() -> None:
    x, weight = np.ones((1, 2, 5, 5)), np.ones((4, 2, 3, 3))
    with pytest.raises(ValueError, match=r"conv2d: bias has shape \(2,\), expected \(4,\)"):
        conv2d_forward(x, weight, np.ones(2))
    with pytest.raises(ValueError, match=r"conv2d: activation must be one of .*, got 'tanh'"):
        conv2d_forward(x, weight, activation="tanh")
