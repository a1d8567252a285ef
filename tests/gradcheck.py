"""Compare a backward pass with finite differences of its forward pass, in float64, to nine digits or so.

For ``y = f(x)`` and an upstream gradient ``dy``, a right ``dx`` satisfies ``<dx, u> = <dy, df/dt(x + t u)>`` for every
direction ``u``. Two evaluations of ``f`` and a random ``u`` test all entries of ``dx`` at once, whatever their number;
the elementwise check takes the unit vectors for ``u`` and so says which entry is wrong.

Central differences at one step reach seven digits at best: a large step has a truncation error that grows as its
square, a small one loses digits to cancellation. Ridders' method (1982) takes a sequence of steps, extrapolates
to step zero, and keeps the estimate that its neighbours in the table confirm best. It never sees ``dx``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Function: TypeAlias = Callable[..., Any]

LARGEST_STEP = 2.0**-5
"""How far around a point the checks reach, in units of the direction's largest entry: kinks must stay farther away."""

LEVELS = 8
"""Steps in the sequence, each half of the one before."""


def differentiate(curve: Callable[[float], Array], dy: Array) -> float:
    """``<dy, d curve/dt>`` at ``t = 0``, by central differences extrapolated to step zero."""
    best, best_error = np.nan, np.inf
    coarser_row: list[float] = []
    for step in LARGEST_STEP * 0.5 ** np.arange(LEVELS):
        # The difference comes before the product with dy: what y has in common on both sides cancels exactly.
        row = [float(np.vdot(dy, curve(step) - curve(-step))) / (2 * step)]
        for order, coarser in enumerate(coarser_row, start=1):
            # The error is a series in step^2; each column of the table removes one more of its terms.
            finer = row[-1]
            row.append((4**order * finer - coarser) / (4**order - 1))
            error = max(abs(row[-1] - finer), abs(row[-1] - coarser))
            if error < best_error:
                best, best_error = row[-1], error
        coarser_row = row
    return best


def directional_error(
    function: Function, inputs: Mapping[str, Array], name: str, gradient: Array, dy: Array, rng: np.random.Generator
) -> float:
    """Relative error of ``gradient`` along one random direction of the input ``name``.

    Relative to the gradient's own norm when it and the direction happen to be nearly orthogonal.
    """
    direction = rng.uniform(-1, 1, inputs[name].shape)
    numeric = differentiate(_along(function, inputs, name, direction), dy)
    analytic = float(np.vdot(gradient, direction))
    return _ratio(abs(numeric - analytic), max(abs(numeric), float(np.linalg.norm(gradient))))


def elementwise_error(function: Function, inputs: Mapping[str, Array], name: str, gradient: Array, dy: Array) -> float:
    """Largest error of any entry of ``gradient``, relative to its largest entry."""
    numeric = np.zeros(inputs[name].shape)
    for index in np.ndindex(numeric.shape):
        direction = np.zeros(numeric.shape)
        direction[index] = 1
        numeric[index] = differentiate(_along(function, inputs, name, direction), dy)
    return _ratio(np.abs(numeric - gradient).max(), max(np.abs(numeric).max(), np.abs(gradient).max()))


def check_gradients(
    function: Function,
    inputs: Mapping[str, Array],
    gradients: Mapping[str, Array],
    dy: Array,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-7,
    elementwise: bool = False,
) -> None:
    """Raise AssertionError unless every gradient agrees with finite differences of ``function``.

    Parameters
    ----------
    function : callable
        ``y = function(**inputs)``, without state and without randomness.
    inputs : mapping of float64 ndarrays
        The point. It must keep ``LARGEST_STEP`` away from kinks of the function.
    gradients : mapping of float64 ndarrays
        What the backward pass says, under the names of the inputs; inputs without an entry are held fixed.
    dy : ndarray, the shape of y
        Upstream gradient. Make it random: under a constant one, wrong terms cancel in every normalisation.
    rng : numpy.random.Generator
        Draws the directions.
    tolerance : float
        Largest relative error.
    elementwise : bool
        Check every entry by itself as well: two times 8 evaluations an entry, for tiny shapes.
    """
    for name in gradients:
        if name not in inputs:
            raise ValueError(f"gradient {name!r} has no input; the inputs are {', '.join(inputs)}")
        if inputs[name].dtype != np.float64:
            raise TypeError(f"input {name!r} is {inputs[name].dtype}; finite differences need float64")
    for name, gradient in gradients.items():
        shape = inputs[name].shape
        assert gradient.shape == shape, f"d{name} has shape {gradient.shape}, {name} has {shape}"
        error = directional_error(function, inputs, name, gradient, dy, rng)
        assert error < tolerance, f"d{name}: relative error {error:.1e} in a random direction (limit {tolerance:.0e})"
        if elementwise:
            error = elementwise_error(function, inputs, name, gradient, dy)
            assert error < tolerance, f"d{name}: relative error {error:.1e} in the worst entry (limit {tolerance:.0e})"


def _along(function: Function, inputs: Mapping[str, Array], name: str, direction: Array) -> Callable[[float], Array]:
    return lambda t: np.asarray(function(**{**inputs, name: inputs[name] + t * direction}))


def _ratio(error: float, scale: float) -> float:
    """``error / scale``, 0 where both sides are exactly zero. NaN stays NaN, and fails every limit."""
    return 0.0 if error == 0 else float(error / scale)
