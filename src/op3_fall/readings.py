# SPDX-License-Identifier: Apache-2.0
"""The driver's two topics made one again: IMU and joint states of a cycle to one reading.

In each cycle the driver publishes the IMU, stamped when it is sent, then the joint states, stamped
with the start of the cycle. So of one cycle the IMU has the later stamp (or the same, in the
simulator), and of two cycles the later joint states have a later stamp than the earlier IMU. The
two topics may arrive in either order, and either message may be lost.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.signals import SensorReading

__all__ = ["JointOrder", "ReadingAssembler"]

Array = NDArray[np.float64]

MAX_APART_S = 0.024
"""Joint states and IMU make a reading if their stamps differ by three driver cycles at most."""


class _Imu(NamedTuple):
    time_s: float
    angular_velocity: Array
    linear_acceleration: Array
    orientation: Array


class _Joints(NamedTuple):
    time_s: float
    position: Array
    velocity: Array
    effort: Array


class JointOrder:
    """Sorts joint states into driver order; the mapping is found once for each list of names."""

    def __init__(self) -> None:
        """No names yet."""
        self._names: list[str] | None = None
        self._index: NDArray[np.intp] = np.arange(0)

    def columns(
        self, names: Sequence[str], position: ArrayLike, velocity: ArrayLike, effort: ArrayLike
    ) -> tuple[Array, Array, Array]:
        """Position, velocity and effort (20,) each; empty velocity and effort count as zeros.

        Raises:
            BadInputError: joints are missing, unknown or double, or lengths differ.
        """
        self._map(names)
        columns = {"positions": position, "velocities": velocity, "efforts": effort}
        first, second, third = (self._column(name, v) for name, v in columns.items())
        return first, second, third

    def _map(self, names: Sequence[str]) -> None:
        """Find the column of each joint, once for each new list of names."""
        names = list(names)
        if names == self._names:
            return
        unknown = [name for name in names if name not in robot.JOINT_INDEX]
        missing = [name for name in robot.JOINTS if name not in names]
        double = sorted({name for name in names if names.count(name) > 1})
        for problem, found in (("unknown", unknown), ("missing", missing), ("twice", double)):
            if found:
                raise BadInputError(
                    f"joint states: {', '.join(found)} {'are' if len(found) > 1 else 'is'} "
                    f"{problem}; allowed is each of the OP3's 20 joints once; check the driver's "
                    "robot file"
                )
        self._index = np.array([names.index(name) for name in robot.JOINTS])
        self._names = names

    def _column(self, what: str, values: ArrayLike) -> Array:
        array = np.array(values, dtype=float)
        if len(array) == 0 and what != "positions":
            return np.zeros(robot.NUM_JOINTS)
        if len(array) != robot.NUM_JOINTS:
            raise BadInputError(
                f"joint states have {len(array)} {what} for {robot.NUM_JOINTS} names; allowed is "
                "one a name; check what publishes them"
            )
        return array[self._index]


class ReadingAssembler:
    """Pairs the messages of one robot; a reading has the stamp of its joint states."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._imu: _Imu | None = None
        self._waiting: _Joints | None = None
        self._joints_s: float | None = None
        self._order = JointOrder()

    def imu(
        self, time_s: float, angular_velocity: ArrayLike, linear_acceleration: ArrayLike,
        orientation: ArrayLike,
    ) -> SensorReading | None:  # fmt: skip
        """An IMU message; the reading if its joint states came before it.

        Args:
            time_s: stamp.
            angular_velocity: (3,), rad/s.
            linear_acceleration: (3,), m/s^2.
            orientation: quaternion wxyz (4,).
        """
        vectors = (angular_velocity, linear_acceleration, orientation)
        self._imu = _Imu(time_s, *(np.array(v, dtype=float) for v in vectors))
        waiting = self._waiting
        if waiting is None or not 0.0 <= time_s - waiting.time_s <= MAX_APART_S:
            return None
        self._waiting = None
        return self._reading(waiting)

    def joints(
        self,
        time_s: float,
        names: Sequence[str],
        position: ArrayLike,
        velocity: ArrayLike,
        effort: ArrayLike,
    ) -> SensorReading | None:
        """A joint state message; the reading that it completes.

        That is its own if the IMU was faster, else the one before if its IMU never came: that one
        then takes the latest IMU there was. A repeated stamp is dropped. A stamp that goes back
        is a restart of the driver: joint states that wait are dropped.

        Args:
            time_s: stamp.
            names: all 20 joints in any order.
            position: rad, one a name.
            velocity: rad/s, one a name; empty counts as zeros.
            effort: N m, one a name; empty counts as zeros.

        Raises:
            BadInputError: joints are missing, unknown or double, or lengths differ.
        """
        new = _Joints(time_s, *self._order.columns(names, position, velocity, effort))
        last_s, self._joints_s = self._joints_s, time_s
        if time_s == last_s:
            return None
        before, self._waiting = self._waiting, None
        imu = self._imu
        if imu is not None and 0.0 <= imu.time_s - time_s <= MAX_APART_S:
            return self._reading(new)
        self._waiting = new
        went_back = last_s is not None and time_s < last_s
        if before is None or imu is None or went_back:
            return None
        return self._reading(before) if abs(imu.time_s - before.time_s) <= MAX_APART_S else None

    def _reading(self, joints: _Joints) -> SensorReading:
        assert self._imu is not None
        return SensorReading(
            time_s=np.array(joints.time_s),
            position=joints.position, velocity=joints.velocity, effort=joints.effort,
            angular_velocity=self._imu.angular_velocity,
            linear_acceleration=self._imu.linear_acceleration,
            orientation=self._imu.orientation,
        )  # fmt: skip
