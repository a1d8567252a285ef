"""The exponential and the activations against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime.native import extension
from tests.native.agreement import assert_close, assert_same_bits_for_any_threads, few, misaligned, normal, sizes

KERNELS = tuple(name for name in ops.ACTIVATIONS if name != "identity")
every_activation = pytest.mark.parametrize("name", KERNELS)


def forward(name: str) -> Callable[[Any], tuple[Any, Any]]:
    return lambda x: F.activation_forward(x, name)


def backward(name: str) -> Callable[[Any, Any], Any]:
    return lambda dy, saved: F.activation_backward(dy, saved, name)


# --- the exponential --------------------------------------------------------------------------------------------------


def test_exponential_within_two_units_in_the_last_place() -> None:
    """Every 997th float32 from where the result is 0 to where it is infinite."""
    negative = np.arange(0x80000000, 0xC2D20000, 997, dtype=np.uint32)  # -0 .. -105
    positive = np.arange(0, 0x42B20000, 997, dtype=np.uint32)  # 0 .. 89
    x = np.concatenate([negative, positive]).view(np.float32)
    exact = np.exp(x.astype(np.float64))
    got = extension.exponential(x)
    largest = float(np.finfo(np.float32).max)
    np.testing.assert_array_equal(got[exact > largest], np.inf)
    finite = exact <= largest
    unit = np.spacing(exact[finite].astype(np.float32)).astype(np.float64)  # 2^-149 among the subnormals
    assert (np.abs(got[finite] - exact[finite]) / unit).max() <= 2


def test_exponential_beyond_its_range() -> None:
    x = np.array([np.nan, np.inf, 1e30, 89, 0, -0.0, -104, -1e30, -np.inf], np.float32)
    np.testing.assert_array_equal(extension.exponential(x), [np.nan, np.inf, np.inf, np.inf, 1, 1, 0, 0, 0])


# --- activations ------------------------------------------------------------------------------------------------------


@few
@given(name=st.sampled_from(KERNELS), rows=sizes, columns=sizes, spread=st.sampled_from([0.5, 3.0, 30.0]))
def test_activations(name: str, rows: int, columns: int, spread: float) -> None:
    x, dy = spread * normal(0, rows, columns), normal(1, rows, columns)
    y, saved = forward(name)(x)
    expected, _ = getattr(ops, f"{name}_forward")(x.astype(np.float64))
    assert_close(y, expected, scale=max(1.0, float(np.abs(x).max())))
    dx = backward(name)(dy, saved)
    expected = getattr(ops, f"{name}_backward")(dy.astype(np.float64), x.astype(np.float64))
    assert_close(dx, expected, scale=max(1.0, float(np.abs(dy).max())))


@every_activation
def test_special_values_as_in_numpy(name: str) -> None:
    kinks = np.array([-3, -0.0, 0, 3], np.float32)
    around = [np.nextafter(kinks, np.float32(9)), np.nextafter(kinks, np.float32(-9))]
    x = np.concatenate([kinks, *around, np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40], np.float32)])
    with np.errstate(all="ignore"):
        y, saved = getattr(ops, f"{name}_forward")(x)
        slope = getattr(ops, f"{name}_backward")(np.ones_like(x), saved)
    np.testing.assert_allclose(forward(name)(x)[0], y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(backward(name)(np.ones_like(x), x), slope, rtol=1e-6, atol=1e-6)


@every_activation
def test_memory_order_and_alignment(name: str) -> None:
    x, dy = normal(0, 2, 5, 7, 3), normal(1, 2, 5, 7, 3)
    y, dx = forward(name)(x)[0], backward(name)(dy, x)
    for other in (
        misaligned,
        np.asfortranarray,
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.repeat(a, 2, 2)[:, :, ::2],
    ):
        np.testing.assert_array_equal(forward(name)(other(x))[0], y)
        np.testing.assert_array_equal(backward(name)(other(dy), x), dx)
        np.testing.assert_array_equal(backward(name)(dy, other(x)), dx)
    channels_first = x.transpose(0, 3, 1, 2)  # images as a convolution returns them
    turned, _ = forward(name)(channels_first)
    np.testing.assert_array_equal(turned, y.transpose(0, 3, 1, 2))
    assert turned.strides == channels_first.strides
    assert backward(name)(dy.transpose(0, 3, 1, 2), channels_first).strides == channels_first.strides


@every_activation
def test_what_numpy_serves_and_refuses(name: str) -> None:
    x = normal(0, 3, 4)
    y, _ = forward(name)(x.astype(np.float64))
    np.testing.assert_array_equal(y, getattr(ops, f"{name}_forward")(x.astype(np.float64))[0])
    for arguments in ((x[:, :0],), (x.tolist(),), (x.astype(np.int64),), (x[0, 0].reshape(()),)):
        assert_refused_alike(f"{name}_forward", *arguments)
    for arguments in ((x[:2], x), (x.astype(np.float64), x), (x, x.astype(np.float64))):
        assert_refused_alike(f"{name}_backward", *arguments)


def assert_refused_alike(operation: str, *arguments: Any) -> None:
    name, _, direction = operation.rpartition("_")
    with pytest.raises((TypeError, ValueError)) as expected:
        getattr(ops, operation)(*arguments)
    with pytest.raises(expected.type) as got:
        getattr(F, f"activation_{direction}")(*arguments, name)
    assert str(got.value) == str(expected.value)


# --- all of them ------------------------------------------------------------------------------------------------------


def test_the_same_bits_for_any_threads(restore_threads: None) -> None:
    x, dy = 3 * normal(0, 40, 1237), normal(1, 40, 1237)

    def compute() -> list[np.ndarray]:
        return [f for name in KERNELS for f in (forward(name)(x)[0], backward(name)(dy, x))]

    assert_same_bits_for_any_threads(compute)


def test_nothing_beyond_the_arrays_is_touched() -> None:
    for n in (1, 3, 15, 17, 33):
        guarded = np.full(n + 64, np.nan, np.float32)
        x = guarded[32 : 32 + n]
        x[...] = normal(0, n)
        x.flags.writeable = False
        for name in KERNELS:
            assert np.isfinite(forward(name)(x)[0]).all()
            assert np.isfinite(backward(name)(x, x)).all()
        assert np.isnan(guarded).sum() == 64


def test_the_bindings_refuse_what_the_kernels_cannot_read() -> None:
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="there is no kernel for the activation 'tanh'"):
        extension.activation_forward("tanh", x[0])
    with pytest.raises(ValueError, match=r"dy has shape \(4,\), expected \(6,\)"):
        extension.activation_backward("relu", x[:, 0].copy(), x[0])


def test_the_identity_is_the_array_itself() -> None:
    x = normal(0, 3, 4)
    assert F.activation_forward(x, "identity")[0] is x
    assert F.activation_backward(x, x, "identity") is x


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"activation must be one of .*, got 'tanh'"):
        F.activation_forward(normal(0, 3), "tanh")
