# SPDX-License-Identifier: Apache-2.0
"""Runs protective motions: hold a posture, move on the alarm, rest once the robot lies."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from op3_fall.action import CORRECTION_STEP_RAD
from op3_fall.fall_detection import FallPhase
from op3_fall.robot import Servo
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["MotionController"]

Array = NDArray[np.float64]


class MotionController:
    """Of n robots."""

    def __init__(
        self, targets: Callable[[FallEstimate], tuple[Array, Array]], posture: Array, servo: Servo
    ) -> None:
        """Hold the posture until the alarm.

        Args:
            targets: goal angles, rad, and stiffness scales, (n, 20) each, such as
                `ProtectiveMotions.targets`.
            posture: (n, 20), rad.
            servo: turns scales into registers.
        """
        self._targets, self._posture, self._servo = targets, posture, servo
        self._last = posture, np.ones(posture.shape)

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
    ) -> JointCommand:
        """The command (n, 20) for this control step."""
        before, scale = self._last
        position, stiffness = self._targets(fall)
        # As fast as a policy may move its goals.
        position = np.clip(position, before - CORRECTION_STEP_RAD, before + CORRECTION_STEP_RAD)
        down, falling = (fall.phase == FallPhase.DOWN)[:, None], fall.falling[:, None]
        position = np.where(falling, np.where(down, before, position), self._posture)
        stiffness = np.where(falling, np.where(down, scale, stiffness), 1.0)
        self._last = position, stiffness
        held = JointCommand.hold(position)
        return JointCommand(
            position, self._servo.p_register(stiffness), held.d_gain, held.goal_pwm
        )
