"""The ten outlines of the ``shapes`` dataset, as functions that are negative inside and positive outside.

Each takes the coordinates (u, v) of points, u to the right and v downwards, in units of the shape's size. Near the
border its value is the distance from it, so that a picture can be drawn with soft edges from one look at each pixel.
Every outline is its own mirror image under u -> -u: a flipped picture shows the same shape, turned.

Only + - * /, square root, absolute value, minimum and maximum are used. IEEE 754 fixes every bit of their results, but
not those of sine and cosine, which is why the corners below are written with square roots.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.floating[Any]]  # float32, in fact
Outline: TypeAlias = Callable[[Field, Field], Field]

# Cosine and sine of 36 and 72 degrees, and the normals of a pentagram's five lines
_COS36, _COS72 = (sqrt(5) + 1) / 4, (sqrt(5) - 1) / 4
_SIN36, _SIN72 = sqrt(1 - _COS36**2), sqrt(1 - _COS72**2)
_FIVE_NORMALS = ((0.0, 1.0), (_SIN72, _COS72), (-_SIN72, _COS72), (_SIN36, -_COS36), (-_SIN36, -_COS36))


def _disc(u: Field, v: Field, radius: float) -> Field:
    return np.sqrt(u * u + v * v) - radius


def _box(u: Field, v: Field, half_width: float, half_height: float) -> Field:
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def circle(u: Field, v: Field) -> Field:
    """A disc."""
    return _disc(u, v, 0.86)


def square(u: Field, v: Field) -> Field:
    """A square."""
    return _box(u, v, 0.74, 0.74)


def triangle(u: Field, v: Field) -> Field:
    """An equilateral triangle that points upwards."""
    slope = np.abs(u) * (sqrt(3) / 2) - v / 2  # the two upper sides at once
    return np.maximum(slope, v) - 0.5


def star(u: Field, v: Field) -> Field:
    """A pentagram: the points that are outside at most one of its five lines."""
    largest = second = np.full_like(u, -np.inf)
    for nx, ny in _FIVE_NORMALS:
        distance = nx * u + ny * v - _COS72
        second = np.maximum(second, np.minimum(largest, distance))
        largest = np.maximum(largest, distance)
    return second


def hourglass(u: Field, v: Field) -> Field:
    """Two triangles, tip on tip."""
    sides = (np.abs(u) - 0.1 - 0.7 * np.abs(v)) * (1 / sqrt(1 + 0.7**2))
    return np.maximum(sides, np.abs(v) - 0.82)


def cross(u: Field, v: Field) -> Field:
    """A plus sign."""
    return np.minimum(_box(u, v, 0.3, 0.95), _box(u, v, 0.95, 0.3))


def ring(u: Field, v: Field) -> Field:
    """A disc with a wide hole."""
    return np.abs(_disc(u, v, 0.69)) - 0.21


def crescent(u: Field, v: Field) -> Field:
    """A moon, its horns upwards: a disc less a smaller one."""
    return np.maximum(_disc(u, v - 0.1, 0.9), -_disc(u, v + 0.4, 0.78))


def heart(u: Field, v: Field) -> Field:
    """Two discs, side by side, and the wedge that touches both from below."""
    lobe = _disc(np.abs(u) - 0.45, v + 0.36, 0.44)
    nx, ny = 0.807, sqrt(1 - 0.807**2)  # normal of the wedge's right side, through (0, 1)
    wedge = np.maximum(nx * np.abs(u) + ny * (v - 1), -0.1 - v)
    bridge = _box(u, v + 0.15, 0.7, 0.15)  # fills the gap between discs and wedge
    return np.minimum(np.minimum(lobe, wedge), bridge)


def arrow(u: Field, v: Field) -> Field:
    """An arrow that points upwards."""
    shaft = _box(u, v - 0.4, 0.2, 0.55)
    head = np.maximum((np.abs(u) * 1.15 - (v + 0.95)) * (1 / sqrt(1 + 1.15**2)), v + 0.05)
    return np.minimum(shaft, head)


OUTLINES: dict[str, Outline] = {
    outline.__name__: outline
    for outline in (circle, square, triangle, hourglass, star, cross, ring, crescent, heart, arrow)
}
