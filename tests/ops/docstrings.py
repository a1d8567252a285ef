"""Read the formulas out of the docstrings, so that the tests run what the reader reads.

``scores[b,h,q,k] = scale sum_d q[b,h,q,d] k[b,h,k,d]`` becomes the einsum ``bhqd,bhkd->bhqk`` of ``q`` and ``k``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]

FACTOR = r"(\w+)\[([\w, ]+)\]"


def evaluate(function: Callable[..., Any], result: str, **operands: Array) -> Array:
    """The sum that the docstring of ``function`` gives for ``result``, of the given arrays.

    Factors without indices and what is added after the sum are left to the caller.
    """
    documentation = function.__doc__ or ""
    line = re.search(rf"\b{result}\[([\w, ]+)\]\s*=[^=]*?sum_(\w+) ((?:{FACTOR} ?)+)", documentation)
    if line is None:
        raise ValueError(f"the docstring of {function.__name__} has no formula {result}[...] = ... sum_...")
    free, summed, product = line.group(1), line.group(2), line.group(3)
    factors = re.findall(FACTOR, product)
    inputs = [letters(indices) for _, indices in factors]
    assert set("".join(inputs)) - set(letters(free)) == set(summed), f"{line.group(0)!r} sums over other indices"
    return np.asarray(np.einsum(",".join(inputs) + "->" + letters(free), *(operands[name] for name, _ in factors)))


def letters(indices: str) -> str:
    return re.sub(r"[,\s]", "", indices)
