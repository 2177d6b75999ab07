# SPDX-License-Identifier: Apache-2.0
"""Brace for simulated falls: the protective pose, for every other robot with compliance."""

from collections.abc import Callable

import numpy as np

from op3_fall import robot
from op3_fall.compliance import ComplianceSchedule
from op3_fall.controller import ReflexController
from op3_fall.episodes import KINDS, Episodes
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

__all__ = ["Brace"]

Estimates = Callable[[], tuple[FallEstimate, ImpactEstimate] | None]


class Brace:
    """Takes over from what an episode has its robot do once a fall is noticed."""

    def __init__(self, episodes: Episodes, servo: robot.Servo, estimates: Estimates) -> None:
        """`estimates` gives what the detectors say of the latest reading."""
        n = len(episodes)
        self._estimates = estimates
        self._controller = ReflexController(
            episodes.motion.base, robot.POSES["protect_front"], ComplianceSchedule(servo, (n,)),
            servo, compliant=episodes.seed // len(KINDS) % 2 == 1,
        )  # fmt: skip

    def __call__(self, reading: SensorReading, command: JointCommand) -> JointCommand:
        """The command for the servos; the drive of a limp leg stays off."""
        estimates = self._estimates()
        if estimates is None:
            return command
        fall, impact = estimates
        wanted, falling = self._controller.step(reading, fall, impact), fall.falling[:, None]
        return JointCommand(
            position=np.where(falling, wanted.position, command.position),
            p_gain=np.where(falling, wanted.p_gain, command.p_gain),
            d_gain=np.where(falling, wanted.d_gain, command.d_gain),
            goal_pwm=command.goal_pwm,
        )
