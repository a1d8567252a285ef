"""What no operation may accept: every refusal names the argument, what came and what was expected."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.ops.case import OpCase, arrays_in, upstream
from tests.ops.registry import CASES

all_cases = pytest.mark.parametrize("case", CASES, ids=str)
with_tensor_result = pytest.mark.parametrize(
    "case", [case for case in CASES if case.run(case.example())[0].shape], ids=str
)


def names(argument: str, *details: Any) -> str:
    """A pattern of a message that names the operation, then the argument, then each detail, in this order."""
    return rf"^\w+: (.*\W)?{argument}\b" + "".join(".*" + re.escape(str(detail)) for detail in details)


@all_cases
def test_an_empty_batch(case: OpCase) -> None:
    example = case.example()
    first = next(iter(example.arrays))
    empty = example.map(lambda array: array[:0])
    with pytest.raises(ValueError, match=names(first, "empty", empty.arrays[first].shape, "at least one")):
        case.run(empty)


@all_cases
def test_a_list(case: OpCase) -> None:
    example = case.example()
    for name, array in example.arrays.items():
        with pytest.raises(TypeError, match=names(name, "numpy array", "list")):
            case.run(example.replace(name, array.tolist()))


@all_cases
def test_integers(case: OpCase) -> None:
    example = case.example()
    for name, array in example.arrays.items():
        with pytest.raises(TypeError, match=names(name, "floating", "int64")):
            case.run(example.replace(name, array.astype(np.int64)))


@all_cases
def test_mixed_dtypes(case: OpCase) -> None:
    example = case.example(dtype=np.float32)
    first, *others = example.arrays
    for name in others:
        with pytest.raises(TypeError, match=names(name, "float64", first, "float32", "one dtype")):
            case.run(example.replace(name, example.arrays[name].astype(np.float64)))


@all_cases
def test_a_scalar_array(case: OpCase) -> None:
    example = case.example()
    for name, array in example.arrays.items():
        with pytest.raises(ValueError, match=r"^\w+: .*\bshape \(\)"):
            case.run(example.replace(name, array.ravel()[0:1].reshape(())))


@all_cases
def test_one_axis_too_many(case: OpCase) -> None:
    example = case.example()
    fixed = list(example.arrays)[1 if case.any_shape else 0 :]
    for name, array in example.arrays.items():
        if name not in fixed:
            continue
        with pytest.raises(ValueError, match=r"^\w+: .*(shape|channels).*\(.*"):
            case.run(example.replace(name, array[None, ..., None]))


@all_cases
def test_one_entry_too_many(case: OpCase) -> None:
    """Where another argument fixes the length of an axis, one more is refused and not broadcast or cut."""
    example = case.example()
    for name in list(example.arrays)[1:]:
        if name == "weight" and case.name in ("conv2d", "linear_without_bias"):
            continue  # nothing fixes the number of output channels
        longer = np.concatenate([example.arrays[name], example.arrays[name][-1:]])
        with pytest.raises(ValueError, match=rf"^\w+: .*\b{len(longer)}\b"):
            case.run(example.replace(name, longer))


@with_tensor_result
def test_an_upstream_gradient_of_the_wrong_shape(case: OpCase) -> None:
    y, saved = case.run(case.example())
    dy = upstream(y)
    for wrong in (dy[:-1], dy[..., :-1], dy[None], dy.sum(axis=0), dy[..., :1]):
        message = rf"^{case.backward.__name__}: d\w+ .*{re.escape(str(wrong.shape))}.*expected"
        with pytest.raises(ValueError, match=message):
            case.backward(wrong, saved)


@with_tensor_result
def test_an_upstream_gradient_of_the_wrong_dtype(case: OpCase) -> None:
    y, saved = case.run(case.example(dtype=np.float32))
    with pytest.raises(TypeError, match=rf"^{case.backward.__name__}: d\w+ must have a floating dtype, got int64"):
        case.backward(np.ones(y.shape, np.int64), saved)
    if any(array.dtype == np.float32 for array in arrays_in(saved)):
        with pytest.raises(TypeError, match=rf"^{case.backward.__name__}: \w+ is float32 but d\w+ is float64"):
            case.backward(np.ones(y.shape, np.float64), saved)
