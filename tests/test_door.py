"""The one door: who computes an operation is decided in one place, after one check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import levit_ref
from levit_ref import functional as F
from levit_ref import ops
from levit_ref.runtime import BACKENDS, native
from levit_ref.runtime.native.kernel import Kernel, kernel, kernels

WITHOUT_KERNEL = {
    "layer_norm_forward",
    "layer_norm_backward",
    "split_heads",  # views
    "hard_distillation_forward",
    "hard_distillation_backward",
    "soft_distillation_forward",
    "soft_distillation_backward",
}


def doors() -> dict[str, Any]:
    return {name: f for name, f in vars(F).items() if getattr(ops, name, None) is not None and callable(f)}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A backend with one kernel, for float32, that notes its calls."""
    seen: list[str] = []

    def softmax(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(f"kernel {x.dtype}")
        return x, x

    table = {"softmax_forward": Kernel(softmax, np.dtype(np.float32))}
    monkeypatch.setitem(BACKENDS, "noting", table)
    with levit_ref.use_backend("noting"):
        yield seen


def test_a_kernel_serves_its_dtype_and_numpy_all_others(calls: list[str]) -> None:
    for dtype in (np.float64, np.float16):
        x = np.ones((2, 2), dtype)
        np.testing.assert_array_equal(F.softmax_forward(x)[0], 0.5)
    assert calls == []
    F.softmax_forward(np.ones((2, 2), np.float32))
    F.softmax_forward(x=np.ones((2, 2), np.float32))
    assert calls == ["kernel float32"] * 2
    with levit_ref.use_backend("numpy"):
        np.testing.assert_array_equal(F.softmax_forward(np.ones((2, 2), np.float32))[0], 0.5)
    assert len(calls) == 2


def test_the_check_comes_first_whoever_computes(calls: list[str]) -> None:
    for dtype in (np.float32, np.float64):
        with pytest.raises(ValueError, match=r"softmax: x is empty, got shape \(0, 2\)"):
            F.softmax_forward(np.ones((0, 2), dtype))
    assert calls == []


def test_an_operation_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare function runs behind the door, not the checked one."""
    checked: list[int] = []
    monkeypatch.setattr("levit_ref.ops.linear.check_not_empty", lambda *args: checked.append(1))
    for dtype in (np.float32, np.float64):
        F.linear_forward(np.ones((2, 3), dtype), np.ones((4, 3), dtype))
    assert len(checked) == 2


def test_an_operation_without_a_kernel_is_numpys(calls: list[str]) -> None:
    x, weight = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(F.linear_forward(x, weight)[0], ops.linear_forward(x, weight)[0])
    assert not F.has_kernel("linear_forward", np.float32)
    assert F.has_kernel("softmax_forward", np.float32)
    assert not F.has_kernel("softmax_forward", np.float64)


def test_one_line_registers_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernels, "layer_norm_forward", None)
    monkeypatch.delitem(kernels, "layer_norm_forward")

    @kernel(ops.layer_norm_forward)
    def layer_norm_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, eps: float = 1e-5) -> str:
        return "the kernel"

    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    monkeypatch.setitem(BACKENDS, "native", kernels)
    with levit_ref.use_backend("native"):
        assert F.layer_norm_forward(np.ones((2, 3), np.float32), one, zero) == "the kernel"
    with levit_ref.use_backend("numpy"):
        assert F.layer_norm_forward(np.ones((2, 3), np.float32), one, zero) != "the kernel"


def test_everything_that_training_calls_goes_through_the_door() -> None:
    by_name = {f"{name}_{direction}" for name in ops.ACTIVATIONS for direction in ("forward", "backward")}
    pure = {  # of numbers that are few, or counted in advance
        "conv2d_output_size",
        "drop_path_factor",
        "log_softmax",
        "position_bias_index",
        "target_distribution",
        "untapped",
        "update_running_statistics",
    }
    functions = {name for name in ops.__all__ if callable(getattr(ops, name)) and not name[0].isupper()}
    assert set(doors()) == functions - by_name - pure


@pytest.mark.skipif(native.extension is None, reason="the native backend is not available")
def test_every_door_has_its_kernel_and_every_kernel_a_door() -> None:
    """An operation that lost its kernel would be slow, and nothing else would say so."""
    assert set(kernels) == set(doors()) - WITHOUT_KERNEL


def test_signatures_and_docstrings_are_the_operations() -> None:
    for name, function in doors().items():
        assert function.__doc__ == getattr(ops, name).__doc__
        assert function.__wrapped__ is getattr(ops, name)
