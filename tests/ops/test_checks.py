"""The check of an operation: before it, once, with the names of its arguments."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, cast

import numpy as np
import pytest

from levit_ref import ops
from levit_ref.ops._checks import checked


def test_a_check_comes_first_and_stays_within_reach() -> None:
    seen: list[str] = []

    def check(x: int, *, y: int = 2) -> None:
        seen.append(f"check {x} {y}")

    @checked(check)
    def operation(x: int, *, y: int = 2) -> int:
        """What it does."""
        seen.append("body")
        return x + y

    assert operation(1, y=5) == 6
    assert seen == ["check 1 5", "body"]
    assert operation.__doc__ == "What it does."
    assert list(inspect.signature(operation).parameters) == ["x", "y"]
    assert vars(operation)["check"] is check
    assert vars(operation)["__wrapped__"](1) == 3
    assert len(seen) == 3  # without the check


@pytest.mark.parametrize("name", [name for name in ops.__all__ if hasattr(getattr(ops, name), "check")])
def test_a_check_takes_what_its_operation_takes(name: str) -> None:
    operation = getattr(ops, name)
    own, checks = (inspect.signature(f).parameters for f in (operation, vars(operation)["check"]))
    assert list(own) == list(checks)
    assert [p.default for p in own.values()] == [p.default for p in checks.values()]


def test_none_for_a_required_array_is_named() -> None:
    nothing = cast(Any, None)
    for call, name in [
        (lambda: ops.linear_forward(nothing, np.ones((2, 3))), "x"),
        (lambda: ops.linear_forward(np.ones((2, 3)), nothing), "weight"),
        (lambda: ops.conv2d_forward(np.ones((1, 2, 5, 5)), nothing), "weight"),
        (lambda: ops.batch_norm_statistics(nothing), "x"),
        (lambda: ops.attention_forward(nothing, nothing, nothing, scale=1), "q"),
        (lambda: ops.residual_forward(np.ones((2, 3)), nothing), "branch"),
        (lambda: ops.softmax_forward(nothing), "x"),
        (lambda: ops.merge_heads(nothing), "part 0"),
        (lambda: ops.hardswish_forward(nothing), "x"),
        (lambda: ops.position_bias_forward(nothing, np.ones((2, 2), int)), "table"),
    ]:
        with pytest.raises(TypeError, match=rf": {name} must be a numpy array, got NoneType"):
            call()


@pytest.mark.parametrize("kind", [np.ma.MaskedArray, np.matrix])
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_with_another_arithmetic_are_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match=f"x must be a numpy array, got {kind.__name__}"):
        ops.linear_forward(kind(np.ones((2, 3))), np.ones((4, 3)))


def test_other_subclasses_are_arrays(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(2, 3))
    assert ops.linear_forward(mapped, np.ones((4, 3), np.float32))[0].shape == (2, 4)


def test_a_dtype_that_came_through_pickle_is_the_same_dtype() -> None:
    x = pickle.loads(pickle.dumps(np.ones((2, 3), np.float32)))
    assert ops.linear_forward(x, np.ones((4, 3), np.float32))[0].dtype == np.float32
