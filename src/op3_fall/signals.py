# SPDX-License-Identifier: Apache-2.0
"""The nouns that travel between parts: readings, estimates, commands.

Every array may have leading axes: `()` for one robot, `(n,)` for a batch. Joints are in driver
order (`robot.JOINTS`).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot

__all__ = ["FallEstimate", "ImpactEstimate", "ImpactSense", "JointCommand", "ReadingUse",
           "SensorReading"]  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SensorReading:
    """What the driver publishes in one cycle."""

    time_s: Array
    """Stamp of the driver cycle that published it, (...)."""
    position: Array
    """Joint angles in rad, (..., 20)."""
    velocity: Array
    """Joint velocities in rad/s, (..., 20); all zero in the stock bulk read."""
    effort: Array
    """Present current as the driver scales it, N m, (..., 20); all zero in the stock bulk read."""
    angular_velocity: Array
    """Gyro in the body frame, rad/s, (..., 3)."""
    linear_acceleration: Array
    """Specific force in the body frame, m/s^2, (..., 3)."""
    orientation: Array
    """The driver's quaternion wxyz, from the accelerometer alone, (..., 4)."""


class ReadingUse(IntEnum):
    """What a detector made of a reading."""

    USED = 0
    REPEATED = 1
    """Its stamp was that of the reading before: nothing changed."""
    JUMP = 2
    """Its stamp jumped, back or too far ahead: the estimate started anew."""
    NOT_FINITE = 3
    """It held numbers that are none: nothing changed."""


@dataclass(frozen=True)
class FallEstimate:
    """What a fall detector says of the latest reading."""

    phase: NDArray[np.int64]
    """`fall_detection.FallPhase`: 0 normal, 1 falling, 2 impact, 3 down, (...)."""
    tilt: Array
    """Angle between the body's up axis and the vertical, rad in [0, pi], (...)."""
    margin: Array
    """How far the capture point is outside of what the soles span, m; negative inside, (...)."""
    fall_angle: Array
    """Side of the body that will be down at the contact, rad: 0 front, right positive, (...)."""
    fall_velocity: Array
    """Rate at which the tilt grows, rad/s, (...)."""
    fast: NDArray[np.bool_]
    """The fall velocity is of class FAST, (...)."""
    time_to_impact: Array
    """Predicted time to the first contact, s; NaN while not falling, (...)."""
    clearance: Array
    """Of the lowest part other than the feet above the floor, m; NaN while normal, (...)."""
    gravity: Array
    """Unit vector pointing down, in the body frame, (..., 3)."""
    angular_velocity: Array
    """Without the driver's low-pass and the gyro's bias, body frame, rad/s, (..., 3)."""
    specific_force: Array
    """Without the driver's low-pass, body frame, m/s^2, (..., 3)."""
    use: NDArray[np.int64]
    """`ReadingUse` of the reading, (...)."""

    @property
    def falling(self) -> NDArray[np.bool_]:
        """True from the alarm until the robot stands again, (...)."""
        return np.asarray(self.phase != 0)

    @property
    def direction(self) -> NDArray[np.int64]:
        """`fall_angle` in 8 sectors: 1 front, then clockwise from above; 0 while normal, (...)."""
        return self._sector(8)

    @property
    def quadrant(self) -> NDArray[np.int64]:
        """`fall_angle` in 4 sectors: 1 front, 2 right, 3 back, 4 left; 0 while normal, (...)."""
        return self._sector(4)

    def _sector(self, sectors: int) -> NDArray[np.int64]:
        sector = np.rint(self.fall_angle * sectors / (2 * np.pi)).astype(np.int64) % sectors + 1
        return np.where(self.falling, sector, 0)


class ImpactSense(IntEnum):
    """What felt an impact."""

    NONE = 0
    TORQUE = 1
    """The joints: a torque through the gears that no command explains."""
    INERTIAL = 2
    """Gyro and accelerometer."""


@dataclass(frozen=True)
class ImpactEstimate:
    """What the impact detector says of the latest reading."""

    torque_load: Array
    """Sum over the joints of |torque|, N m; NaN where there is no effort, (...)."""
    spike: Array
    """Change of the torque through the gears of arms and head since the last reading, N m; NaN
    where there is no effort, (...)."""
    onset: NDArray[np.bool_]
    """True at the reading in which an impact is first felt, (...)."""
    count: NDArray[np.int64]
    """Impacts felt since the start, (...)."""
    sense: NDArray[np.int64]
    """`ImpactSense` that felt the latest impact, (...)."""
    peak: Array
    """Largest torque load since the latest impact, N m; NaN before or without effort, (...)."""
    subsided: NDArray[np.bool_]
    """The load of this fall's impact has subsided; False until it was felt or it lies, (...)."""


@dataclass(frozen=True)
class JointCommand:
    """What is written to the servos."""

    position: Array
    """Goal angles in rad, (..., 20)."""
    p_gain: NDArray[np.int64]
    """position_p_gain register, (..., 20)."""
    d_gain: NDArray[np.int64]
    """position_d_gain register, (..., 20)."""
    goal_pwm: NDArray[np.int64]
    """goal_pwm register, the cap on |duty|, 0 to 885, (..., 20)."""

    @classmethod
    def hold(cls, position: ArrayLike) -> Self:
        """Goal angles (..., 20) with the gains that the driver starts with."""
        position = np.array(position, dtype=float)
        return cls(
            position=position,
            p_gain=np.full(position.shape, robot.Servo.NOMINAL_P),
            d_gain=np.full(position.shape, robot.Servo.NOMINAL_D),
            goal_pwm=np.full(position.shape, robot.Servo.MAX_PWM),
        )
