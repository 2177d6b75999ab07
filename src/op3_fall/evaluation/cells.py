# SPDX-License-Identifier: Apache-2.0
"""What an evaluation keeps of falls: scores, shares of the tolerances, torque loads over time."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from op3_fall.damage import Tolerances, damage_shares
from op3_fall.evaluation.runs import WATCHED_S, Falls
from op3_fall.evaluation.scores import score_falls, worst_of
from op3_fall.simulation import CYCLE_S

__all__ = ["SINCE_S", "Cell", "first_falls", "join", "judge", "same"]

Array = NDArray[np.float64]

SINCE_S = np.arange(round(-0.1 / CYCLE_S), round(WATCHED_S / CYCLE_S)) * CYCLE_S
"""Torque loads are kept of the driver cycles so long after the one with the first contact, s."""


@dataclass(frozen=True)
class Cell:
    """One controller in one situation: n falls."""

    scores: dict[str, Array]
    """`score_falls`, (n,) each."""
    shares: dict[str, Array]
    """`damage_shares`, (n,) each."""
    worst: dict[str, NDArray[np.int64]]
    """`worst_of`, (n,) each."""
    diverged: NDArray[np.bool_]
    """Falls that are left out because the physics broke down, (n,)."""
    load_n_m: NDArray[np.float32]
    """Torque load at `SINCE_S`, N m, (n, times); NaN where there was no contact or no time."""

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it by name, such as `scores.damage_index`, (n, ...) each."""
        flat: dict[str, NDArray[Any]] = {}
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, dict):
                flat |= {f"{name}.{key}": array for key, array in value.items()}
            else:
                flat[name] = value
        return flat

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From what `arrays` gives.

        Raises:
            TypeError: a part is missing, or unknown.
        """
        parts: dict[str, Any] = {}
        for full, array in arrays.items():
            name, _, key = full.partition(".")
            if key:
                parts.setdefault(name, {})[key] = array
            else:
                parts[name] = array
        return cls(**parts)


def judge(falls: Falls, tolerances: Tolerances) -> Cell:
    """Score n falls under one controller in one situation."""
    return Cell(
        scores=score_falls(falls, tolerances),
        shares=dict(damage_shares(falls.truth, tolerances)),
        worst=worst_of(falls.truth, tolerances),
        diverged=falls.truth.diverged,
        load_n_m=_since_contact(falls),
    )


def _since_contact(falls: Falls) -> NDArray[np.float32]:
    """Loads at `SINCE_S`, (n, times)."""
    cycles, n = falls.load_n_m.shape
    usable = falls.truth.hit & ~falls.truth.diverged
    # The contact lies in the first cycle that ends at or after it, but for rounding.
    cycle = np.ceil(np.where(usable, falls.truth.impact_s, 0.0) / CYCLE_S - 1e-6)
    contact = cycle.astype(int) - 1
    at = contact[:, None] + np.rint(SINCE_S / CYCLE_S).astype(int)
    there = (at >= 0) & (at < cycles) & usable[:, None]
    load = falls.load_n_m[np.clip(at, 0, cycles - 1), np.arange(n)[:, None]]
    return np.where(there, load, np.nan).astype(np.float32)


def join(cells: list[Cell]) -> Cell:
    """All their falls, in this order."""
    names = cells[0].arrays
    return Cell.of({name: np.concatenate([cell.arrays[name] for cell in cells]) for name in names})


def first_falls(cell: Cell, falls: int) -> Cell:
    """The first so many, or all there are."""
    return Cell.of({name: values[:falls] for name, values in cell.arrays.items()})


def same(one: Cell, other: Cell) -> bool:
    """Whether they agree bit for bit."""
    a, b = one.arrays, other.arrays
    return a.keys() == b.keys() and all(
        np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f") for name in a
    )
