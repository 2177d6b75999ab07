# SPDX-License-Identifier: Apache-2.0
"""Vectors as tuples of components, for the inner loops of the detectors.

For one robot the components are plain numbers, which are twenty times faster than arrays of three;
for thousands they are contiguous arrays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Vector", "across", "components", "cross", "dot", "larger", "length", "light", "minus",
           "plus", "scaled", "unit"]  # fmt: skip

Array = NDArray[np.float64]
Vector = tuple[Array, Array, Array]
"""Components x, y, z, of one shape."""


def components(a: Array) -> Vector:
    """Of vectors (..., 3): arrays of the shape of `a.T[0]`, for one vector plain numbers."""
    x, y, z = a.tolist() if a.ndim == 1 else np.ascontiguousarray(a.T)
    return x, y, z


def light(a: Vector) -> Vector:
    """As plain numbers for one, in single precision for many: mixing precisions costs more."""
    x, y, z = a
    if np.ndim(x) == 0:
        return float(x), float(y), float(z)  # type: ignore[return-value]
    return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)  # type: ignore


def larger(a: Array, b: Array | float) -> Array:
    """Element by element."""
    return np.float64(max(a, b)) if isinstance(a, float) else np.maximum(a, b)  # type: ignore


def dot(a: Vector, b: Vector) -> Array:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Vector product."""
    ax, ay, az = a
    bx, by, bz = b
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def plus(a: Vector, b: Vector) -> Vector:
    """Sum."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def minus(a: Vector, b: Vector) -> Vector:
    """Difference."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def scaled(a: Vector, by: NDArray[Any] | float) -> Vector:
    """Product with a number or a truth value."""
    return a[0] * by, a[1] * by, a[2] * by


def length(a: Vector) -> Array:
    """Euclidean norm."""
    return (a[0] * a[0] + a[1] * a[1] + a[2] * a[2]) ** 0.5


def unit(a: Vector) -> Vector:
    """The same direction with length 1; zero stays zero."""
    return scaled(a, 1 / (length(a) + 1e-12))


def across(a: Vector, axis: Vector) -> Vector:
    """What is left of `a` without its component along the unit vector `axis`."""
    return minus(a, scaled(axis, dot(a, axis)))
