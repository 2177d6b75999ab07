# SPDX-License-Identifier: Apache-2.0
"""Operating modes of n robots' servos: what a goal is, and the drive that it ends in.

The servo's law is drive = gain * goal - pull * angle - brake * velocity within the duty cap, and
the torque that the motor's current makes is the drive less back-EMF. For research in simulation:
the OP3's driver knows the position mode alone.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.rows import Rows

__all__ = ["DriveLaw", "Modes", "OperatingMode", "OperatingModes", "drive_law"]

Array = NDArray[np.float64]
Modes = NDArray[np.int64]

FULL_DUTY_ERROR_RAD_S = 1.0
"""Error of the velocity that takes the full duty; the gains of ROBOTIS' loop are in no SI unit."""


class OperatingMode(IntEnum):
    """Values of the XM430's register 11 (e-manual), of those that the simulator has."""

    CURRENT = 0
    """The goal is the torque that the motor's current makes, N m at the output: the current loop
    makes up for back-EMF, as far as the duty goes."""
    VELOCITY = 1
    """The goal is a velocity, rad/s: proportional control plus the duty that the goal takes
    without load, which stands for the integral part of the servo's loop."""
    POSITION = 3
    """The goal is an angle, rad."""


class DriveLaw(NamedTuple):
    """Numbers of the law above, (k, 20) or what broadcasts to it."""

    goal: Array
    gain: Array
    pull: Array
    brake: Array


def drive_law(
    modes: Modes, position: DriveLaw, goal: Array, strength: Array, servo: robot.Servo
) -> DriveLaw:
    """The law of each joint in its mode, (k, 20).

    Args:
        modes: (k, 20) of `OperatingMode`.
        position: the law of the position mode.
        goal: what the joints were told, (k, 20).
        strength: factor on the stall torque, (k, 1).
        servo: the servo of every joint.
    """
    current, velocity = modes == OperatingMode.CURRENT, modes == OperatingMode.VELOCITY
    which, back_emf = [current, velocity], servo.back_emf_damping
    stiff = np.broadcast_to(strength * servo.stall_torque_n_m / FULL_DUTY_ERROR_RAD_S, modes.shape)
    return DriveLaw(
        goal=np.where(current | velocity, goal, position.goal),
        gain=np.select(which, [np.ones_like(stiff), stiff + back_emf], position.gain),
        pull=np.where(current | velocity, 0.0, position.pull),
        brake=np.select(which, [np.full_like(stiff, -back_emf), stiff], position.brake),
    )


class OperatingModes:
    """Each joint's mode, and changes on their way; nothing is done while all are in POSITION."""

    def __init__(self, n: int, servo: robot.Servo) -> None:
        """All in POSITION."""
        shape = (n, robot.NUM_JOINTS)
        self._servo = servo
        self._now = np.full(shape, int(OperatingMode.POSITION), dtype=np.int64)
        self._asked = self._now.copy()
        self._due_cycle = np.zeros(n, dtype=np.int64)
        self._delay = np.zeros(n, dtype=np.int64)
        self._pending = np.zeros(n, dtype=bool)
        self.active = False
        """A joint is in another mode than POSITION, or is about to be."""

    def reset(self, rows: Rows, delay: NDArray[np.int64]) -> None:
        """Back to POSITION at `rows` (k,), whose commands are late by `delay` (k,) cycles."""
        self._delay[rows] = delay
        if self.active:
            self._now[rows] = self._asked[rows] = OperatingMode.POSITION
            self._pending[rows] = False
            self._tell()

    def ask(self, modes: ArrayLike, cycle: NDArray[np.int64]) -> None:
        """Take `modes` (n, 20) from driver cycle `cycle` (n,) on, as late as the commands come.

        Raises:
            BadInputError: another shape, or a number that is no `OperatingMode`.
        """
        asked = np.asarray(modes)
        if asked.shape != self._now.shape:
            raise BadInputError(
                f"operating modes have shape {asked.shape}; allowed is {self._now.shape}, one "
                "for each joint of each simulation; give as many"
            )
        known = [int(mode) for mode in OperatingMode]
        if not np.isin(asked, known).all():
            wrong = asked[~np.isin(asked, known)][0]
            names = ", ".join(f"{mode.value} ({mode.name})" for mode in OperatingMode)
            raise BadInputError(
                f"operating mode is {wrong}; allowed are {names}; choose one of them"
            )
        changed = (asked != self._asked).any(axis=-1)
        self._due_cycle = np.where(changed, cycle + self._delay, self._due_cycle)
        self._pending |= changed
        self._asked = asked.astype(np.int64)
        self._tell()

    def at(self, rows: Rows, cycle: NDArray[np.int64]) -> Modes:
        """Modes (k, 20) of `rows` (k,) in their driver cycle `cycle` (k,)."""
        due = rows[self._pending[rows] & (cycle >= self._due_cycle[rows])]
        if due.size:
            self._now[due], self._pending[due] = self._asked[due], False
            self._tell()
        return self._now[rows]

    def _tell(self) -> None:
        self.active = bool(self._pending.any() or (self._now != OperatingMode.POSITION).any())
