"""The 2-D convolution and its gradients against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import levit_ref
from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_close, assert_same_bits_for_any_threads, few, misaligned, normal


def nchw(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x)


def nhwc(x: np.ndarray) -> np.ndarray:
    """The same images, channels innermost in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def backwards(x: np.ndarray) -> np.ndarray:
    """The same images, every axis from the end to the start in memory."""
    return np.ascontiguousarray(x[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1]


def spread(x: np.ndarray) -> np.ndarray:
    """The same images, every second float in memory."""
    return np.stack([x, np.full_like(x, np.nan)], -1)[..., 0]


def unaligned(x: np.ndarray) -> np.ndarray:
    """The same images at addresses that are no multiples of four."""
    packed = np.zeros(x.shape, np.dtype([("byte", "u1"), ("value", "f4")]))
    packed["value"] = x
    return packed["value"]


LAYOUTS = [nchw, nhwc, backwards, spread, misaligned, unaligned]


def check(x: np.ndarray, weight: np.ndarray, dy_layout: Any = nhwc, **options: Any) -> None:
    """Forward and backward agree with NumPy in float64."""
    y, saved = F.conv2d_forward(x, weight, **options)
    y_numpy, saved_numpy = ops.conv2d_forward(x.astype(np.float64), weight.astype(np.float64), **options)
    dy = dy_layout(normal(7, *y_numpy.shape))
    dx, dweight, _ = F.conv2d_backward(dy, saved)
    dx_numpy, dweight_numpy, _ = ops.conv2d_backward(dy.astype(np.float64), saved_numpy)
    C_out, _, kH, kW = weight.shape
    pixels = y_numpy.size // C_out
    for got, expected, terms in (
        (y, y_numpy, weight[0].size),
        (dx, dx_numpy, C_out * kH * kW),
        (dweight, dweight_numpy, pixels),
    ):
        assert_close(got, expected, terms=terms, scale=3 * np.sqrt(terms))


small = st.one_of(st.integers(1, 6), st.sampled_from([15, 16, 17, 31, 33, 48]))


@few
@given(
    B=st.integers(1, 3),
    C_in=small,
    C_out=small,
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    beyond=st.tuples(st.integers(0, 16), st.integers(0, 33)),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
)
def test_forward_and_backward(
    B: int,
    C_in: int,
    C_out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    beyond: tuple[int, int],
    layouts: tuple[Any, Any],
) -> None:
    H, W = (max(1, k - 2 * p) + more for k, p, more in zip(kernel, padding, beyond, strict=True))
    x, weight = normal(0, B, C_in, H, W), normal(1, C_out, C_in, *kernel)
    check(layouts[0](x), weight, layouts[1], stride=stride, padding=padding)


@pytest.mark.parametrize(
    ("B", "C_in", "size", "C_out", "kernel", "options"),
    [
        (2, 3, (32, 32), 32, 3, {"stride": 1, "padding": 1}),  # the stems of the small-image family
        (2, 32, (32, 32), 64, 3, {"stride": 2, "padding": 1}),
        (3, 64, (16, 16), 64, 3, {"stride": 2, "padding": 1}),
        (1, 3, (224, 224), 16, 3, {"stride": 2, "padding": 1}),  # and of 128S: several bands
        (1, 16, (112, 112), 32, 3, {"stride": 2, "padding": 1}),
        (9, 64, (28, 28), 128, 3, {"stride": 2, "padding": 1}),  # more images than parts of the weight's gradient
        (1, 3, (64, 48), 40, 16, {"stride": 16}),  # patches, as in ablation A2
        (1, 96, (9, 7), 300, 3, {"padding": 1}),  # more columns than are packed for one block
        (1, 2, (1, 1), 3, 3, {"stride": 2, "padding": 3}),  # most of y sees nothing but padding
    ],
)
def test_sizes_of_the_network(
    B: int, C_in: int, size: tuple[int, int], C_out: int, kernel: int, options: dict[str, Any]
) -> None:
    check(nhwc(normal(0, B, C_in, *size)), normal(1, C_out, C_in, kernel, kernel), **options)


def test_memory_layout_and_alignment_change_no_bit() -> None:
    x, weight = normal(0, 2, 5, 9, 11), normal(1, 17, 5, 3, 3)
    dy = normal(2, 2, 17, 5, 6)
    expected, saved = F.conv2d_forward(x, weight, stride=2, padding=1)
    dx_expected, dweight_expected, _ = F.conv2d_backward(dy, saved)
    for layout in LAYOUTS:
        y, saved = F.conv2d_forward(layout(x), layout(weight), stride=2, padding=1)
        np.testing.assert_array_equal(y, expected)
        dx, dweight, _ = F.conv2d_backward(layout(dy), saved)
        np.testing.assert_array_equal(dx, dx_expected)
        np.testing.assert_array_equal(dweight, dweight_expected)
    one = np.broadcast_to(x[:1], (3, *x.shape[1:]))
    np.testing.assert_array_equal(F.conv2d_forward(one, weight, stride=2, padding=1)[0][2], expected[0])


def test_results_have_their_channels_innermost() -> None:
    y, saved = F.conv2d_forward(normal(0, 2, 3, 6, 5), normal(1, 8, 3, 3, 3), padding=1)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    dx, *_ = F.conv2d_backward(y, saved)
    assert dx is not None
    assert dx.transpose(0, 2, 3, 1).flags.c_contiguous


def test_nothing_beyond_the_arrays_is_read() -> None:
    # images in the middle of memory full of NaN, which would show in a sum
    for C_in, C_out, W in [(1, 1, 1), (3, 5, 7), (17, 33, 15)]:
        memory = np.full((5, 3 * W, 3 * C_in), np.nan, np.float32)
        image = memory[1:4, W : 2 * W, C_in : 2 * C_in]
        image[...] = normal(0, *image.shape)
        x = image.transpose(2, 0, 1)[None]
        y, saved = F.conv2d_forward(x, normal(1, C_out, C_in, 3, 3), stride=2, padding=1)
        assert np.isfinite(y).all()
        dx, dweight, _ = F.conv2d_backward(normal(2, *y.shape), saved)
        assert np.isfinite(dweight).all()
        assert np.isfinite(dx).all()


def test_pixels_that_no_kernel_touches_have_no_gradient() -> None:
    y, saved = F.conv2d_forward(normal(0, 1, 1, 5, 6), np.ones((1, 1, 2, 2), np.float32), stride=3)
    dx, *_ = F.conv2d_backward(np.ones_like(y), saved)
    assert dx is not None
    touched = np.array([1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(dx[0, 0], np.outer(touched[:5], touched))


@pytest.mark.parametrize(("B", "C_out"), [(1, 32), (3, 80), (20, 130)])
def test_the_same_bits_for_any_threads(restore_threads: None, B: int, C_out: int) -> None:
    x, weight = nhwc(normal(0, B, 24, 40, 40)), normal(1, C_out, 24, 3, 3)
    dy = nhwc(normal(2, B, C_out, 20, 20))

    def compute() -> tuple[Any, ...]:
        y, saved = F.conv2d_forward(x, weight, stride=2, padding=1)
        return (y, *F.conv2d_backward(dy, saved)[:2])

    assert_same_bits_for_any_threads(compute)


def test_without_dx_the_weight_gradient_is_the_same() -> None:
    y, saved = F.conv2d_forward(normal(0, 2, 3, 5, 5), normal(1, 4, 3, 3, 3), padding=1)
    dx, dweight, _ = F.conv2d_backward(y, saved, need_dx=False)
    assert dx is None
    np.testing.assert_array_equal(dweight, F.conv2d_backward(y, saved)[1])


@pytest.mark.parametrize(("forward", "backward"), [("numpy", "native"), ("native", "numpy")])
def test_either_backend_goes_on_from_the_other(forward: str, backward: str) -> None:
    x, weight = nhwc(normal(0, 2, 6, 9, 8)), normal(1, 10, 6, 3, 3)
    with levit_ref.use_backend(forward):
        y, saved = F.conv2d_forward(x, weight, stride=2, padding=1)
        expected = F.conv2d_backward(y, saved)[:2]
    with levit_ref.use_backend(backward):
        gradients = F.conv2d_backward(y, saved)[:2]
    for got, right in zip(gradients, expected, strict=True):
        assert_close(got, right, terms=100)


def test_the_image_is_kept_and_no_patches() -> None:
    x = normal(0, 1, 2, 5, 5)
    _, saved = F.conv2d_forward(x, normal(1, 3, 2, 3, 3))
    assert saved.x is x
    assert saved.patches is None


# NumPy's products warn of what these tests are about.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
class TestNotFinite:
    def setup_method(self) -> None:
        self.x, self.weight, self.dy = normal(0, 2, 4, 9, 8), normal(1, 18, 4, 3, 3), normal(2, 2, 18, 5, 4)

    def gradients(self, backend: str) -> tuple[np.ndarray, ...]:
        with levit_ref.use_backend(backend):
            y, saved = F.conv2d_forward(self.x, self.weight, stride=2, padding=1)
            return (y, *F.conv2d_backward(self.dy, saved)[:2])

    def test_values_spread_as_in_numpy(self) -> None:
        self.x[0, 1, 3, 3], self.x[1, 2, 0, 7], self.dy[0, 5, 2, 1], self.dy[1, 17, 0, 0] = (
            np.nan,
            np.inf,
            -np.inf,
            np.nan,
        )
        for got, expected in zip(self.gradients("native"), self.gradients("numpy"), strict=True):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
            np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))

    def test_weights_spread_as_in_numpy_but_for_the_border_of_dx(self) -> None:
        self.weight[3, 1, 0, 2], self.weight[7, 2, 2, 2] = np.inf, np.nan
        (y, dx, dweight), expected = self.gradients("native"), self.gradients("numpy")
        for got, right in (
            (y, expected[0]),
            (dweight, expected[2]),
            (dx[..., 1:-1, 1:-1], expected[1][..., 1:-1, 1:-1]),
        ):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(right))
            np.testing.assert_array_equal(np.isinf(got), np.isinf(right))
        assert (np.isnan(dx) | ~np.isnan(expected[1])).all()  # at the border: zero times infinity


def test_float64_is_served_by_numpy() -> None:
    x, weight = normal(0, 2, 3, 5, 5).astype(np.float64), normal(1, 4, 3, 3, 3).astype(np.float64)
    y, saved = F.conv2d_forward(x, weight)
    np.testing.assert_array_equal(y, ops.conv2d_forward(x, weight)[0])
    dx, *_ = F.conv2d_backward(y, saved)
    assert dx is not None
    assert dx.dtype == np.float64


def test_the_same_refusals_as_numpy() -> None:
    x, weight = normal(0, 1, 2, 5, 5), normal(1, 3, 2, 3, 3)
    with pytest.raises(ValueError, match="conv2d: x has 2 channels"):
        F.conv2d_forward(x, normal(1, 3, 4, 3, 3))
    with pytest.raises(TypeError, match="conv2d: weight is float64 but x is float32"):
        F.conv2d_forward(x, weight.astype(np.float64))
    with pytest.raises(ValueError, match="conv2d: kernel 3x3 is larger than the 2x5 image"):
        F.conv2d_forward(x[:, :, :2], weight)
    _, saved = F.conv2d_forward(x, weight)
    with pytest.raises(ValueError, match=r"conv2d_backward: dy has shape \(1, 3, 5, 5\), expected \(1, 3, 3, 3\)"):
        F.conv2d_backward(normal(2, 1, 3, 5, 5), saved)


IMAGES, KERNEL, DY = (
    np.zeros((1, 5, 5, 2), np.float32),
    np.zeros((3, 3, 3, 2), np.float32),
    np.zeros((1, 3, 3, 3), np.float32),
)
ONE, NONE = (1, 1), (0, 0)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("forward", (IMAGES.astype(np.float64), KERNEL, ONE, NONE), "x must be float32, got float64"),
        ("forward", (IMAGES[0], KERNEL, ONE, NONE), r"x has shape \(5, 5, 2\), expected \(any, any, any, any\)"),
        ("forward", (IMAGES, KERNEL[..., :1], ONE, NONE), r"weight has shape .*, expected \(any, any, any, 2\)"),
        ("forward", (IMAGES, KERNEL.transpose(0, 2, 1, 3), ONE, NONE), "weight must be contiguous in memory"),
        ("forward", (IMAGES, KERNEL, (0, 1), NONE), "stride must be at least 1 and padding at least 0, got 0 and 0"),
        ("forward", (IMAGES, KERNEL, ONE, (0, -1)), "stride must be at least 1 and padding at least 0, got 1 and -1"),
        ("forward", (IMAGES[:, :2], KERNEL, ONE, NONE), "a kernel of size 3 does not fit into an image of size 2"),
        ("forward", (unaligned(IMAGES), KERNEL, ONE, NONE), "x must have strides of whole floats"),
        ("backward_x", (DY, KERNEL, (6, 5), ONE, NONE), r"dy has shape \(1, 3, 3, 3\), expected \(1, 4, 3, 3\)"),
        ("backward_x", (DY, KERNEL[:2], (5, 5), ONE, NONE), r"weight has shape .*, expected \(3, any, any, any\)"),
        ("backward_weight", (DY, IMAGES, (3, 2), ONE, NONE), r"dy has shape \(1, 3, 3, 3\), expected \(1, 3, 4, 3\)"),
        ("backward_weight", (DY[:0], IMAGES, (3, 3), ONE, NONE), r"dy has shape \(0, 3, 3, 3\), expected \(1, any"),
    ],
)
def test_the_binding_refuses_what_the_kernel_cannot_read(
    function: str, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(extension, f"conv2d_{function}")(*arguments)
