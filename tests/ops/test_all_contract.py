"""The contract of every operation: pure, any floating dtype in and the same out, any memory layout, repeatable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from levit_ref import ops
from tests.ops.case import Example, OpCase, arrays_in, assert_same, relative_error, upstream
from tests.ops.registry import CASES

all_cases = pytest.mark.parametrize("case", CASES, ids=str)


def dtypes(results: Mapping[str, Any]) -> dict[str, np.dtype[Any]]:
    return {name: value.dtype for name, value in results.items()}


def results(case: OpCase, example: Example, dy: Any) -> dict[str, Any]:
    """The result and every gradient, by name."""
    y, saved = case.run(example)
    return {"y": y, **case.gradients(dy, saved, example)}


@pytest.mark.parametrize("suffix", ["_forward", "_backward"])
def test_every_operation_is_in_the_registry(suffix: str) -> None:
    by_name = {"activation_forward", "activation_backward"}  # of the activations, each of which has a case
    in_two = {"batch_norm_backward_sums"}
    public = {name for name in ops.__all__ if name.endswith(suffix)} - by_name - in_two
    covered = {case.forward.__name__ if suffix == "_forward" else case.backward.__name__ for case in CASES}
    assert covered == public
    assert len({case.name for case in CASES}) == len(CASES)


def test_forward_and_backward_come_in_pairs() -> None:
    for case in CASES:
        assert case.forward.__name__.removesuffix("_forward") == case.backward.__name__.removesuffix("_backward")


@all_cases
def test_shapes_of_the_gradients(case: OpCase) -> None:
    example = case.example()
    y, saved = case.run(example)
    gradients = case.gradients(upstream(y), saved, example)
    assert {name: g.shape for name, g in gradients.items()} == {name: a.shape for name, a in example.arrays.items()}


@all_cases
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_that_goes_in_comes_out(case: OpCase, dtype: type[np.floating[Any]]) -> None:
    example = case.example(dtype=dtype)
    y, saved = case.run(example)
    gradients = case.gradients(upstream(y), saved, example)
    assert dtypes({"y": y, **gradients}) == dict.fromkeys(["y", *example.arrays], dtype)
    # Half precision is nobody's training dtype here, but it has to be the same function.
    tolerance = {np.float16: 3e-2, np.float32: 1e-5, np.float64: 1e-12}[dtype]
    exact = case.example()
    assert_same({"y": y, **gradients}, results(case, exact, upstream(y).astype(np.float64)), tolerance)


@all_cases
def test_options_given_as_numpy_scalars_do_not_promote(case: OpCase) -> None:
    """A schedule computes its options with NumPy, and a float64 scalar turns float32 arrays into float64 ones."""
    example = case.example(dtype=np.float32)
    options = {name: np.float64(c) if isinstance(c, float) else c for name, c in example.constants.items()}
    y, saved = case.run(Example(example.arrays, options))
    gradients = case.gradients(upstream(y), saved, example)
    assert dtypes({"y": y, **gradients}) == dict.fromkeys(["y", *example.arrays], np.float32)


@all_cases
def test_no_argument_is_changed(case: OpCase) -> None:
    """Arguments are compared with copies, then set read-only, which makes NumPy raise on any write."""
    example = case.example()
    copies = example.map(np.copy)
    y, saved = case.run(example)
    dy = upstream(y)
    expected = case.gradients(dy, saved, example)
    for name, array in {**example.arrays, **example.constants}.items():
        np.testing.assert_array_equal(array, {**copies.arrays, **copies.constants}[name], err_msg=name)

    for array in [*example.arrays.values(), *arrays_in(tuple(example.constants.values()))]:
        array.flags.writeable = False
    y_again, saved = case.run(example)
    for array in [*arrays_in(saved), *arrays_in(y_again), *arrays_in(dy)]:
        array.flags.writeable = False
    gradients = case.gradients(dy, saved, example)
    np.testing.assert_array_equal(y_again, y)
    for name in gradients:
        np.testing.assert_array_equal(gradients[name], expected[name], err_msg=name)


@all_cases
def test_a_second_backward_gives_the_same_bits(case: OpCase) -> None:
    example = case.example()
    y, saved = case.run(example)
    first = case.gradients(upstream(y), saved, example)
    kept = {name: gradient.tobytes() for name, gradient in first.items()}
    case.gradients(upstream(y, seed=1), saved, example)  # another upstream in between leaves no trace
    second = case.gradients(upstream(y), saved, example)
    for name in kept:
        assert first[name].tobytes() == kept[name] == second[name].tobytes(), name


@all_cases
def test_gradients_are_fresh_arrays(case: OpCase) -> None:
    """A layer may add to a gradient in place: that must not reach what was saved, the inputs, or another gradient."""
    example = case.example()
    y, saved = case.run(example)
    dy = upstream(y)
    gradients = case.gradients(dy, saved, example)
    for name, gradient in gradients.items():
        assert np.shares_memory(gradient, dy) == (name in case.hands_dy_on), f"d{name} and dy"
        for array in [*arrays_in(saved), *example.arrays.values()]:
            assert not np.shares_memory(gradient, array), f"d{name} is a view of an input or of a saved array"
    owned = [gradient for name, gradient in gradients.items() if name not in case.hands_dy_on]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(owned) for b in owned[:i])


def transposed(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asfortranarray(a)


def strided(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Every second entry of every axis of a larger array, whose other entries are poison where the dtype has one."""
    larger = np.full([2 * n for n in a.shape], np.nan if np.issubdtype(a.dtype, np.floating) else 99, a.dtype)
    view = larger[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def reversed_view(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    backwards = (slice(None, None, -1),) * a.ndim
    return a[backwards].copy()[backwards]


@all_cases
@pytest.mark.parametrize("layout", [transposed, strided, reversed_view], ids=lambda layout: layout.__name__)
def test_any_memory_layout_gives_the_same_result(
    case: OpCase, layout: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> None:
    example = case.example()
    y, _ = case.run(example)
    dy = upstream(y)
    dy_view = layout(dy) if isinstance(dy, np.ndarray) else dy
    assert_same(results(case, example.map(layout), dy_view), results(case, example, dy), 1e-13)


@all_cases
def test_a_broadcast_upstream_gradient_gives_the_same_result(case: OpCase) -> None:
    """The gradient of a mean is often made by ``np.broadcast_to``: one number in memory, all strides zero."""
    example = case.example()
    y, saved = case.run(example)
    dy = np.full(y.shape, 0.7)
    broadcast = np.broadcast_to(0.7, y.shape)
    assert_same(case.gradients(broadcast, saved, example), case.gradients(dy, saved, example), 1e-13)


@all_cases
def test_backward_is_linear_in_the_upstream_gradient(case: OpCase) -> None:
    example = case.example()
    y, saved = case.run(example)
    a, b = upstream(y, seed=0), upstream(y, seed=1)
    of_a, of_b = case.gradients(a, saved, example), case.gradients(b, saved, example)
    of_sum = case.gradients(2 * a - 3 * b, saved, example)
    for name in of_sum:
        assert relative_error(of_sum[name], 2 * of_a[name] - 3 * of_b[name]) < 1e-12, name
