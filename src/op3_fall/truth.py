# SPDX-License-Identifier: Apache-2.0
"""Ground truth at physics rate: loads, floor forces, the head, and their peaks.

The motor's torque is what its current makes: drive (P and D within the duty cap) minus back-EMF.
The gear load is what goes through the gear train: motor torque minus what the rotor itself takes,
armature * acceleration. Metrics and rewards use these; observations never do.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot

__all__ = ["Measurement", "Peaks", "PhysicsFrame", "over_joints"]

Array = NDArray[np.float64]
_PARTS = len(robot.PARTS)
_JOINTS = robot.NUM_JOINTS


def over_joints(values: Array) -> Array:
    """Sum of (n, 20) over the joints, (n,).

    Joint after joint: ndarray.sum takes another order for one simulation than for many.
    """
    return sum(values.T, start=np.zeros(len(values)))


@dataclass(frozen=True)
class PhysicsFrame:
    """One physics step of n simulations."""

    torque: Array
    """Torque that the motor currents make, N m, (n, 20)."""
    gear_load: Array
    """Torque through the gear trains, N m, (n, 20)."""
    velocity: Array
    """Of the joints, rad/s, (n, 20)."""
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
        # Fortran order is that of the frames, which are gathered by column.
        return cls(*(np.zeros(s, order="F") for s in (joints, (n,), joints, parts, (n,))))

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

    def add(self, frame: PhysicsFrame) -> None:
        """Take one physics step in."""
        torque = np.abs(frame.torque)
        np.maximum(self.torque, torque, out=self.torque)
        np.maximum(self.torque_load, over_joints(torque), out=self.torque_load)
        np.maximum(self.gear_load, np.abs(frame.gear_load), out=self.gear_load)
        np.maximum(self.floor_force, frame.floor_force, out=self.floor_force)
        np.maximum(self.head_acceleration, frame.head_acceleration, out=self.head_acceleration)


_FEET = [robot.PARTS.index(p) for p in ("l_foot", "r_foot")]
_HEAD = robot.PARTS.index("head")


@dataclass
class Measurement:
    """Ground truth since the last reset, (n, ...).

    "Impact" means from the first contact of a part other than the feet on: what comes before is
    the motion into the pose, which saturates servos whatever happens later.
    """

    time_s: Array
    """Simulated time, (n,)."""
    peak: Peaks
    """Largest values so far."""
    impact_peak: Peaks
    """Largest values from the driver cycle of the impact on."""
    impact_impulse: Array
    """Integral of |motor torque| over time from the impact on, N m s, (n, 20)."""
    impact_energy: Array
    """Work that the fall does on each servo from the impact on: integral of the power with which
    its motor brakes, -torque * velocity where that is positive, J, (n, 20)."""
    impact_saturated_s: Array
    """Time that at least one drive spent at its duty cap from the impact on, s, (n,)."""
    first_contact_s: Array
    """When each part first touched the floor, s, NaN if it has not, (n, 14)."""
    head_contact_speed: Array
    """Speed of the head when it first touched the floor, m/s, NaN if it has not, (n,)."""
    com: Array
    """Centre of mass in the world, m, (n, 3)."""
    head_speed: Array
    """Speed of the head now, m/s, (n,)."""
    hit: NDArray[np.bool_]
    """A part other than the feet has touched the floor, (n,)."""
    diverged: NDArray[np.bool_]
    """The physics broke down; nothing of this simulation may be used, (n,)."""

    @classmethod
    def start(cls, n: int) -> Self:
        """Nothing measured yet."""
        impulse, energy = (np.zeros((n, _JOINTS), order="F") for _ in range(2))
        return cls(
            time_s=np.zeros(n), peak=Peaks.zeros(n), impact_peak=Peaks.zeros(n),
            impact_impulse=impulse, impact_energy=energy, impact_saturated_s=np.zeros(n),
            first_contact_s=np.full((n, _PARTS), np.nan), head_contact_speed=np.full(n, np.nan),
            com=np.zeros((n, 3)), head_speed=np.zeros(n), hit=np.zeros(n, dtype=bool),
            diverged=np.zeros(n, dtype=bool),
        )  # fmt: skip

    @property
    def impact_s(self) -> Array:
        """First contact of a part other than the feet, s, NaN if there was none, (n,)."""
        others = np.delete(self.first_contact_s, _FEET, axis=-1)
        return np.fmin.reduce(others, axis=-1)

    def clear(self, rows: NDArray[np.intp]) -> None:
        """Start over at `rows`."""
        fresh = Measurement.start(len(rows))
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Peaks):
                value.clear(rows)
            else:
                value[rows] = getattr(fresh, f.name)

    def copy(self) -> Self:
        """A snapshot."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        copies: dict[str, Any] = {
            name: value.rows(slice(None)) if isinstance(value, Peaks) else value.copy()
            for name, value in values.items()
        }
        return type(self)(**copies)

    def assign(self, other: "Measurement", rows: NDArray[np.intp]) -> None:
        """Take what `other` has at `rows`."""
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if isinstance(mine, Peaks):
                mine.clear(rows)
                mine.raise_to(theirs, rows)
            else:
                mine[rows] = theirs[rows]

    def add(self, frame: PhysicsFrame, time_s: Array, dt_s: float) -> None:
        """Take in the step that began at `time_s` (n,); peaks come by `fold`."""
        touched = (frame.floor_force > 0) & np.isnan(self.first_contact_s)
        if touched.any():
            where = np.nonzero(touched)
            self.first_contact_s[where] = time_s[where[0]]
            head = touched[:, _HEAD]
            self.head_contact_speed[head] = frame.head_speed[head]
            self.hit |= np.delete(touched, _FEET, axis=-1).any(axis=-1)
        since = self.hit * dt_s
        each = since[:, None]
        self.impact_impulse += np.abs(frame.torque) * each
        self.impact_energy += np.maximum(-frame.torque * frame.velocity, 0.0) * each
        self.impact_saturated_s += frame.saturated.any(axis=-1) * since
        self.head_speed[:] = frame.head_speed
        self.time_s[:] = time_s + dt_s

    def fold(self, cycle: Peaks, rows: NDArray[np.intp]) -> None:
        """Take in the peaks of a driver cycle, or of its part so far, at `rows`."""
        self.peak.raise_to(cycle, slice(None) if len(rows) == len(self.hit) else rows)
        self.impact_peak.raise_to(cycle, rows[self.hit[rows]])
