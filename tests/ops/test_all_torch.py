"""Every operation beside PyTorch and its autograd, forward and every gradient, over random sizes.

PyTorch is imported like any other module on purpose: where it is missing, these tests fail rather than pass by absence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.case import OpCase, assert_same, upstream
from tests.ops.registry import CASES

LIMITS = {np.float64: 1e-10, np.float32: 1e-5}
# Inputs and upstream are of order one. Double precision has digits to spare for terms that cancel, single has none.
FLOORS = {np.float64: 1e-2, np.float32: 1.0}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", LIMITS, ids=["float64", "float32"])
@settings(max_examples=20)
@given(data=st.data())
def test_agrees_with_autograd(case: OpCase, dtype: type[np.floating[Any]], data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 999), label="seed")
    example = case.example(seed, dtype, data.draw(case.sizes, label="sizes"))
    y, saved = case.run(example)
    dy = upstream(y, seed)
    expected, expected_gradients = case.torch_gradients(dy, example)
    gradients = case.gradients(dy, saved, example)
    assert_same({"y": y, **gradients}, {"y": expected, **expected_gradients}, LIMITS[dtype], FLOORS[dtype])
