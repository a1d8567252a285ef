"""The private bindings are memory-safe by themselves, also with arguments that the public functions refuse."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from levit_ref.runtime.native import extension
from tests.native.agreement import normal
from tests.native.conftest import SUPPORTED

HUGE = (2**33, 2**31)  # rows and columns whose product is 2**64, which is 0 for a processor


@pytest.fixture(params=list(itertools.product(SUPPORTED, (1, 2))), autouse=True)
def setting(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each instruction set, on one thread and on two."""
    isa, threads = extension.isa(), extension.num_threads()
    extension.set_isa(request.param[0])
    extension.set_num_threads(request.param[1])
    yield
    extension.set_isa(isa)
    extension.set_num_threads(threads)


def floats(*shape: int) -> np.ndarray:
    return normal(sum(shape), *shape)


def test_sizes_that_overflow_are_refused() -> None:
    for wrong in (HUGE, (2**62, 2), (2**40, 2**40)):
        with pytest.raises(ValueError, match=r"the shape \(\d+, \d+\) is too large for memory"):
            extension.subsample_forward(np.zeros((1, 0, 8), np.float32), wrong, (1, 1))
        with pytest.raises(ValueError, match=r"the shape \(\d+, \d+\) is too large for memory"):
            extension.subsample_backward(np.zeros((1, 0, 8), np.float32), wrong, (1, 1))
        with pytest.raises(ValueError, match="is too large for memory"):
            extension.empty(wrong)
        with pytest.raises(ValueError, match="is too large for memory"):  # as NumPy says of it
            extension.empty((0, *wrong))
    with pytest.raises(ValueError, match="negative"):
        extension.empty((-1, 3))
    x, weight, dy = floats(1, 4, 4, 2), floats(3, 3, 3, 2), floats(1, 2, 2, 3)
    for padding in (2**31, 2**61, 2**62, 2**63 - 1):
        with pytest.raises((ValueError, MemoryError)):
            extension.conv2d_forward(x, weight, stride=(1, 1), padding=(padding, padding))
    for far in (2**31, 2**62):
        with pytest.raises((ValueError, MemoryError)):
            extension.conv2d_backward_x(dy, weight, (far + 3, far + 3), (far, far), (0, 0))
        with pytest.raises((ValueError, MemoryError)):
            extension.conv2d_backward_weight(dy, x, (far, far), (1, 1), (far // 2, far // 2))


def test_linear_of_nothing() -> None:
    for M, N, K in itertools.product((0, 1, 20), (0, 1, 40), (0, 1, 17)):
        x, weight, bias, dy = floats(M, K), floats(N, K), floats(N), floats(M, N)
        y = extension.linear_forward(x, weight, bias, "relu")
        np.testing.assert_allclose(y, np.maximum(x @ weight.T + bias, 0), atol=1e-4)
        np.testing.assert_allclose(extension.linear_backward_x(dy, weight), dy @ weight, atol=1e-4)
        np.testing.assert_allclose(extension.linear_backward_weight(dy, x), dy.T @ x, atol=1e-4)
        np.testing.assert_allclose(extension.linear_backward_weight(dy, x, weight.copy()), weight + dy.T @ x, atol=1e-4)
        np.testing.assert_allclose(extension.sum_rows(x), x.sum(0), atol=1e-4)


def test_conv2d_of_nothing() -> None:
    for B, C_in, C_out in itertools.product((0, 1, 2), (0, 1, 3), (0, 1, 40)):
        x, weight, bias = floats(B, 5, 4, C_in), floats(C_out, 3, 3, C_in), floats(C_out)
        stride, padding = (2, 1), (1, 1)
        y = extension.conv2d_forward(x, weight, bias, "relu", stride=stride, padding=padding)
        assert y.shape == (B, 3, 4, C_out)
        dx = extension.conv2d_backward_x(y, weight, (5, 4), stride, padding)
        dweight = extension.conv2d_backward_weight(y, x, (3, 3), stride, padding)
        assert dx.shape == x.shape
        assert dweight.shape == (3, 3, C_in, C_out)
        if C_in == 0:
            np.testing.assert_array_equal(y, np.broadcast_to(np.maximum(bias, 0), y.shape))
        if C_out == 0:
            assert not dx.any()
        if B == 0:
            assert not dweight.any()


def test_rows_and_images_of_nothing() -> None:
    for M, C in itertools.product((0, 3), (0, 5)):
        x, vector = floats(M, C), floats(C)
        for activation in ("identity", "gelu"):
            norm = (x, vector, vector, vector, vector, activation)
            assert extension.batch_norm_apply(*norm).shape == (M, C)
            dweight, dbias = extension.batch_norm_backward_sums(x, *norm)
            assert M > 0 or not (dweight.any() or dbias.any())
            for means in ((vector, vector), (None, None)):
                assert extension.batch_norm_backward_apply(x, *norm, *means).shape == (M, C)
        assert extension.residual_forward(x, x, None).shape == (M, C)
        assert extension.residual_backward(x, floats(M)).shape == (M, C)
        assert extension.average_pool_forward(floats(M, 4, C)).shape == (M, C)
        assert extension.average_pool_backward(x, 4).shape == (M, 4, C)
        assert extension.subsample_forward(floats(M, 4, C), (2, 2), (2, 2)).shape == (M, 1, C)
        if C > 0:
            assert extension.softmax_forward(x).shape == (M, C)
            assert extension.cross_entropy_forward(x, x)[1].shape == (M, C)
    empty = np.zeros(0, np.float32)
    assert extension.sum_of_squares(empty) == 0
    extension.scale(empty, 2.0)
    extension.move_average(empty, empty, 0.5)
    extension.clip_units([empty], [empty.copy()], 0.1, 0.1)


def test_batch_norm_backward_in_two_steps() -> None:
    x, dy = floats(300, 21), normal(1, 300, 21)
    mean, inv_std, weight, bias = (np.abs(normal(seed, 21)) for seed in range(4))
    norm = (x, mean, inv_std, weight, bias, "identity")
    n = (x - mean) * inv_std
    dweight, dbias = extension.batch_norm_backward_sums(dy, *norm)
    np.testing.assert_allclose(dweight, (dy * n).sum(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(dbias, dy.sum(0), rtol=1e-4, atol=1e-3)
    rows = np.float32(700)  # of all processes
    dx = extension.batch_norm_backward_apply(dy, *norm, dweight / rows, dbias / rows)
    expected = weight * inv_std * (dy - dbias / rows - n * dweight / rows)
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-4)
    dx = extension.batch_norm_backward_apply(dy, *norm, None, None)
    np.testing.assert_allclose(dx, weight * inv_std * dy, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="mean_dweight and mean_dbias must be given together, or neither"):
        extension.batch_norm_backward_apply(dy, *norm, dweight, None)


def test_conv2d_with_bias_and_activation() -> None:
    x, weight, bias = floats(2, 9, 8, 5), normal(1, 37, 3, 3, 5), normal(2, 37)
    plain = extension.conv2d_forward(x, weight, stride=(2, 1), padding=(1, 1))
    relu = extension.conv2d_forward(x, weight, bias, "relu", stride=(2, 1), padding=(1, 1))
    np.testing.assert_array_equal(relu, np.maximum(plain + bias, 0))
    with pytest.raises(ValueError, match=r"bias has shape \(5,\), expected \(37,\)"):
        extension.conv2d_forward(x, weight, floats(5), stride=(2, 1), padding=(1, 1))


def test_dtypes_are_compared_by_equality() -> None:
    def unpickled(array: np.ndarray) -> np.ndarray:
        return pickle.loads(pickle.dumps(array))

    x = floats(3, 4)
    np.testing.assert_array_equal(extension.sum_rows(unpickled(x)), extension.sum_rows(x))
    index = np.zeros((2, 2), np.int64)
    assert extension.position_bias_forward(unpickled(x), unpickled(index)).shape == (3, 2, 2)
    with pytest.raises(TypeError, match="x must be float32, got >f4"):
        extension.sum_rows(x.astype(">f4"))
