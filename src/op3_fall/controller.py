# SPDX-License-Identifier: Apache-2.0
"""The scripted reflex: on the alarm drive to the protective pose, then follow the schedule."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.compliance import ComplianceSchedule
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["ReflexController", "pose_error"]


def pose_error(position: ArrayLike, goal: ArrayLike, posture: ArrayLike) -> NDArray[np.float64]:
    """Mean distance to `goal` over the joints that it moves away from `posture`, rad, (...).

    Angles are (..., 20); where the goal moves no joint it counts as reached: 0.
    """
    moved = np.abs(np.asarray(goal, dtype=float) - posture) > 0.1
    weight = moved / np.maximum(moved.sum(axis=-1, keepdims=True), 1)
    return (np.abs(np.asarray(goal) - position) * weight).sum(axis=-1)


class ReflexController:
    """Holds a posture, and when the robot falls drives it to a goal pose."""

    def __init__(
        self,
        posture: ArrayLike,
        goal: ArrayLike,
        schedule: ComplianceSchedule,
        servo: robot.Servo,
        *,
        compliant: NDArray[np.bool_],
    ) -> None:
        """Make the controller.

        Args:
            posture: angles (..., 20) held until the alarm, rad.
            goal: protective pose (..., 20), rad.
            schedule: scales once the pose is reached.
            servo: turns scales into registers.
            compliant: which robots (...) follow the schedule; the others stay stiff.
        """
        self._posture = np.array(posture, dtype=float)
        self._goal = np.broadcast_to(np.asarray(goal, dtype=float), self._posture.shape)
        self.schedule = schedule
        self._servo = servo
        self._compliant = compliant
        self.stiffness_scale = np.ones(self._posture.shape[:-1])
        self.damping_scale = np.ones(self._posture.shape[:-1])
        self.reached = np.zeros(self._posture.shape[:-1], dtype=bool)

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
    ) -> JointCommand:
        """The command (..., 20) for this control step."""
        error = pose_error(reading.position, self._goal, self._posture)
        error = np.where(fall.falling, error, np.inf)
        self.reached = self.reached | (error < self.schedule.config.reached_rad)
        stiffness, damping = self.schedule.step(reading.time_s, error, impact)
        self.stiffness_scale = np.where(self._compliant, stiffness, 1.0)
        self.damping_scale = np.where(self._compliant, damping, 1.0)
        position = np.where(fall.falling[..., None], self._goal, self._posture)
        ones = np.ones(position.shape)
        return JointCommand(
            position=position,
            p_gain=self._servo.p_register(self.stiffness_scale[..., None] * ones),
            d_gain=self._servo.d_register(self.damping_scale[..., None] * ones),
            goal_pwm=np.full(position.shape, self._servo.MAX_PWM),
        )
