# SPDX-License-Identifier: Apache-2.0
"""The driver's goals: angles, calibration offsets, and the registers that it re-sends."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.control_table import from_register, to_register

__all__ = ["Goals"]

Array = NDArray[np.float64]
_RAMP = 0.01  # of the offset, a cycle


class Goals:
    """Goals of the 20 joints in driver order.

    A register is computed when its goal is set; the ramp of the offsets moves only joints that a
    module sets anew in every cycle.
    """

    def __init__(self, position: ArrayLike) -> None:
        """Hold `position` (20,), rad, as the encoders give it."""
        self._offset, self._ratio, self._offset_on = np.zeros(robot.NUM_JOINTS), 1.0, True
        self.position: Array = np.zeros(robot.NUM_JOINTS)
        """Rad, (20,)."""
        self.register: NDArray[np.int64] = np.zeros(robot.NUM_JOINTS, dtype=np.int64)
        """goal_position, (20,); may be out of the servos' range."""
        self.hold(from_register(to_register(position)))

    @property
    def offset(self) -> Array:
        """What is added to goals and taken off encoder angles now, rad, (20,)."""
        return self._offset * self._ratio

    def set_offset(self, joint: int, offset_rad: float) -> None:
        """A calibration offset."""
        self._offset[joint] = offset_rad

    def enable_offset(self, on: bool) -> None:
        """Bring the offsets in from 0, or out from 1."""
        self._offset_on, self._ratio = on, 0.0 if on else 1.0

    def ramp_offset(self) -> None:
        """One cycle of the ramp."""
        step = _RAMP if self._offset_on else -_RAMP
        self._ratio = min(max(self._ratio + step, 0.0), 1.0)

    def set(self, joint: int, angle_rad: float) -> None:
        """One joint's goal."""
        self.position[joint] = angle_rad
        self.register[joint] = to_register(angle_rad + self.offset[joint])

    def set_where(self, joints: NDArray[np.bool_], angles_rad: Array) -> None:
        """The goals of `joints` (20,) from `angles_rad` (20,)."""
        self.position = np.where(joints, angles_rad, self.position)
        self.register = np.where(joints, to_register(self.position + self.offset), self.register)

    def hold(self, angles_rad: Array) -> None:
        """All goals, (20,)."""
        self.set_where(np.ones(robot.NUM_JOINTS, dtype=bool), angles_rad)
