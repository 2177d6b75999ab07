# SPDX-License-Identifier: Apache-2.0
"""Some robots of a batch that is a dataclass of arrays."""

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["Index", "Rows", "assign", "choose", "faster", "replaced", "take"]

T = TypeVar("T", SensorReading, JointCommand, FallEstimate, ImpactEstimate)
Rows = NDArray[np.intp]
Index = Rows | NDArray[np.bool_] | slice | tuple[NDArray[np.int64] | slice, Rows]


def take(batch: T, index: Index) -> T:
    """A copy of what lies at `index` of each array."""
    values = {f.name: getattr(batch, f.name)[index].copy() for f in fields(batch)}
    return replace(batch, **values)


def assign(batch: T, index: Index, new: T) -> None:
    """Overwrite what lies at `index` of each array."""
    for f in fields(batch):
        getattr(batch, f.name)[index] = getattr(new, f.name)


def choose(which: NDArray[np.bool_], yes: Any, no: Any) -> Any:
    """Robot by robot; tuples of arrays (..., n), named and nested too, with `which` (n,)."""
    if isinstance(yes, tuple):
        parts = [choose(which, a, b) for a, b in zip(yes, no, strict=True)]
        return type(yes)(*parts) if hasattr(yes, "_fields") else tuple(parts)
    return np.where(which, yes, no)[()]


def replaced(state: Any, rows: Rows, new: Any) -> Any:
    """Tuples of arrays (..., n), named and nested too, with `new` (..., k) at `rows` (k,)."""
    if isinstance(state, tuple):
        parts = [replaced(a, rows, b) for a, b in zip(state, new, strict=True)]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    values = np.array(state)
    values[..., rows] = new
    return values


def faster(rows: Rows, n: int) -> Rows | slice:
    """The same sorted rows (k,) of `n`; a slice if that is all of them."""
    return slice(None) if len(rows) == n else rows
