"""The types that all operations share, and the tap that looks at nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
Scalar: TypeAlias = "np.floating[Any]"

Tap: TypeAlias = Callable[[str, Array], Array]
"""Called as ``value = tap(name, value)`` wherever a value has a name; what it returns is what flows on."""


class _Untapped:
    """Looks at nothing, keeps nothing, costs one call."""

    def __call__(self, name: str, value: Array) -> Array:
        return value

    def scope(self, name: str) -> _Untapped:
        """The tap of a component: the same."""
        return self


untapped = _Untapped()
"""The tap that looks at nothing. There is one only: ``tap is untapped``."""
