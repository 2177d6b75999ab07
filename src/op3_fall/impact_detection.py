# SPDX-License-Identifier: Apache-2.0
"""Feel an impact: torques that change suddenly without a command that explains it.

The sum of |torque| alone hardly moves when an impact turns some joints' torque around while others
rise, so the spike is the change of each joint's torque from one reading to the next, summed up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.settings import Settings, setting
from op3_fall.signals import ImpactEstimate, JointCommand, SensorReading

__all__ = ["ImpactDetector", "SpikeRule"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SpikeRule(Settings):
    """When a spike in the torque load is an impact."""

    spike_n_m: float = setting(4.5, 0.0, 100.0, unit="N m")
    """Sum of |change of torque| from one reading to the next, N m."""
    deaf_after_command_s: float = setting(0.15, 0.0, 2.0, unit="s")
    """A step of the goal makes a spike of its own; not heard for this long, s."""
    deaf_after_gains_s: float = setting(0.04, 0.0, 2.0, unit="s")
    """So does a step of the gains while the joints move, but it is over sooner, s."""
    gain_step: float = setting(0.2, 0.0, 10.0)
    """A P gain that changes by more than this share is such a step; the slow ramp back is not."""
    goal_step_rad: float = setting(0.1, 0.0, 60.0, unit="rad")
    """Goals that jump by more than this, summed over the joints, are such a step: 1.9 N m."""
    refractory_s: float = setting(0.06, 0.0, 2.0, unit="s")
    """Spikes closer than this to an onset belong to the same impact."""


class ImpactDetector:
    """Runs the rule on a stream of readings and of the commands that were sent."""

    def __init__(
        self, first: SensorReading, servo: robot.Servo, rule: SpikeRule | None = None
    ) -> None:
        """Start from a reading (...) of a robot at rest."""
        self.rule = rule or SpikeRule()
        self._servo = servo
        self._torque = self._torques(first)
        self._goal = first.position
        self._p_gain = np.full(np.shape(first.position), servo.NOMINAL_P)
        shape = np.shape(first.time_s)
        self._deaf_until = np.zeros(shape)
        self._count = np.zeros(shape, dtype=np.int64)

    def _torques(self, reading: SensorReading) -> Array:
        return reading.effort / self._servo.effort_per_n_m

    def expect(self, command: JointCommand, time_s: Array) -> None:
        """Tell which command goes out at `time_s` (...), so that its own spike is not heard."""
        goal = np.abs(command.position - self._goal).sum(axis=-1) > self.rule.goal_step_rad
        gains = (np.abs(command.p_gain / self._p_gain - 1) > self.rule.gain_step).any(axis=-1)
        deaf_s = np.where(gains, self.rule.deaf_after_gains_s, 0.0)
        deaf_s = np.where(goal, self.rule.deaf_after_command_s, deaf_s)
        self._deaf_until = np.maximum(self._deaf_until, time_s + deaf_s)
        self._goal, self._p_gain = command.position, np.maximum(command.p_gain, 1)

    def step(self, reading: SensorReading) -> ImpactEstimate:
        """Take one reading (...) in."""
        torque = self._torques(reading)
        spike = np.abs(torque - self._torque).sum(axis=-1)
        onset = (spike > self.rule.spike_n_m) & (reading.time_s > self._deaf_until)
        until = reading.time_s + self.rule.refractory_s
        self._deaf_until = np.where(onset, until, self._deaf_until)
        self._count = self._count + onset
        self._torque = torque
        return ImpactEstimate(np.abs(torque).sum(axis=-1), spike, onset, self._count)
