# SPDX-License-Identifier: Apache-2.0
"""Ground truth at physics rate: loads, floor forces, the head, and their peaks.

The motor's torque is what its current makes: drive (P and D within the duty cap) minus back-EMF.
The gear load is what goes through the gear train: motor torque minus what the rotor itself takes,
armature * acceleration. Metrics and rewards use these; observations never do.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot

__all__ = ["Measurement", "Peaks", "PhysicsFrame"]

Array = NDArray[np.float64]
_PARTS = len(robot.PARTS)
_JOINTS = robot.NUM_JOINTS


@dataclass(frozen=True)
class PhysicsFrame:
    """One physics step of n simulations."""

    torque: Array
    """Torque that the motor currents make, N m, (n, 20)."""
    gear_load: Array
    """Torque through the gear trains, N m, (n, 20)."""
    saturated: NDArray[np.bool_]
    """The drive is at its duty cap, (n, 20)."""
    floor_force: Array
    """Size of the floor's force on each part, N, (n, 14)."""
    head_speed: Array
    """Speed of the head's centre of mass, m/s, (n,)."""
    head_acceleration: Array
    """Specific force at the head's centre of mass, m/s^2 (9.81 at rest), (n,)."""


@dataclass
class Peaks:
    """Largest values over a stretch of physics steps, (n, ...)."""

    torque: Array
    """Motor torque, N m, (n, 20)."""
    torque_load: Array
    """Sum over the joints of |motor torque|, N m, (n,)."""
    gear_load: Array
    """N m, (n, 20)."""
    floor_force: Array
    """N, (n, 14)."""
    head_acceleration: Array
    """m/s^2, (n,)."""

    @classmethod
    def zeros(cls, n: int) -> Self:
        """No peak yet."""
        joints, parts = (n, _JOINTS), (n, _PARTS)
        return cls(*(np.zeros(s) for s in (joints, (n,), joints, parts, (n,))))

    def raise_to(self, other: "Peaks", rows: NDArray[np.intp] | slice = slice(None)) -> None:
        """Take the larger of both at `rows`."""
        for f in fields(self):
            mine = getattr(self, f.name)
            mine[rows] = np.maximum(mine[rows], getattr(other, f.name)[rows])

    def rows(self, rows: NDArray[np.intp] | slice) -> Self:
        """A copy of those simulations."""
        return type(self)(**{f.name: getattr(self, f.name)[rows].copy() for f in fields(self)})

    def clear(self, rows: NDArray[np.intp] | slice) -> None:
        """Start over at `rows`."""
        for f in fields(self):
            getattr(self, f.name)[rows] = 0.0

    def add(self, frame: PhysicsFrame) -> Array:
        """Take one physics step in; returns its torque load, N m, (n,)."""
        torque = np.abs(frame.torque)
        load = torque.sum(axis=-1)
        np.maximum(self.torque, torque, out=self.torque)
        np.maximum(self.torque_load, load, out=self.torque_load)
        np.maximum(self.gear_load, np.abs(frame.gear_load), out=self.gear_load)
        np.maximum(self.floor_force, frame.floor_force, out=self.floor_force)
        np.maximum(
            self.head_acceleration, frame.head_acceleration, out=self.head_acceleration
        )
        return load


@dataclass
class Measurement:
    """Ground truth since the last reset, (n, ...)."""

    time_s: Array
    """Simulated time, (n,)."""
    peak: Peaks
    """Largest values so far."""
    torque_impulse: Array
    """Integral of the torque load over time, N m s, (n,)."""
    saturated_s: Array
    """Time that each drive spent at its duty cap, s, (n, 20)."""
    any_saturated_s: Array
    """Time that at least one drive did, s, (n,)."""
    first_contact_s: Array
    """When each part first touched the floor, s, NaN if it has not, (n, 14)."""
    head_contact_speed: Array
    """Speed of the head when it first touched the floor, m/s, NaN if it has not, (n,)."""
    com: Array
    """Centre of mass in the world, m, (n, 3)."""
    head_speed: Array
    """Speed of the head now, m/s, (n,)."""
    diverged: NDArray[np.bool_]
    """The physics broke down; nothing of this simulation may be used, (n,)."""

    @classmethod
    def start(cls, n: int) -> Self:
        """Nothing measured yet."""
        nan = np.nan
        return cls(
            time_s=np.zeros(n), peak=Peaks.zeros(n), torque_impulse=np.zeros(n),
            saturated_s=np.zeros((n, _JOINTS)), any_saturated_s=np.zeros(n),
            first_contact_s=np.full((n, _PARTS), nan), head_contact_speed=np.full(n, nan),
            com=np.zeros((n, 3)), head_speed=np.zeros(n), diverged=np.zeros(n, dtype=bool),
        )  # fmt: skip

    def clear(self, rows: NDArray[np.intp]) -> None:
        """Start over at `rows`."""
        fresh = Measurement.start(len(rows))
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                value[rows] = getattr(fresh, f.name)
        self.peak.clear(rows)

    def add(self, frame: PhysicsFrame, load: Array, time_s: Array, dt_s: float) -> None:
        """Take the step that began at `time_s` (n,) in (the peaks are folded in by the caller, cycle by cycle)."""
        self.torque_impulse += load * dt_s
        self.saturated_s += frame.saturated * dt_s
        self.any_saturated_s += frame.saturated.any(axis=-1) * dt_s
        touched = (frame.floor_force > 0) & np.isnan(self.first_contact_s)
        if touched.any():
            where = np.nonzero(touched)
            self.first_contact_s[where] = time_s[where[0]]
            hit = touched[:, robot.PARTS.index("head")]
            self.head_contact_speed[hit] = frame.head_speed[hit]
        self.head_speed[:] = frame.head_speed
        self.time_s[:] = time_s + dt_s
