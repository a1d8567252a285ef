"""How a kernel is registered: one line above its wrapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

C = TypeVar("C", bound=Callable[..., Any])


class Kernel(NamedTuple):
    """A function that computes an operation, and the arrays that it serves.

    Attributes
    ----------
    function : callable
        With the signature of the operation.
    dtype : dtype or None
        Of the arrays that it serves; None: of any.
    array : callable or None
        The array whose dtype counts, from the arguments of a call; None: the first argument.
    """

    function: Callable[..., Any]
    dtype: np.dtype[Any] | None = None
    array: Callable[..., npt.NDArray[Any]] | None = None


kernels: dict[str, Kernel] = {}
"""All kernels of the native backend, by the name of the operation."""


def kernel(
    operation: Callable[..., Any],
    *,
    dtype: npt.DTypeLike = np.float32,
    array: Callable[..., npt.NDArray[Any]] | None = None,
) -> Callable[[C], C]:
    """Register the decorated function as the kernel of an operation."""

    def register(function: C) -> C:
        kernels[operation.__name__] = Kernel(function, np.dtype(dtype), array)
        return function

    return register
