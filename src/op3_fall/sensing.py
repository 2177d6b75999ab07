# SPDX-License-Identifier: Apache-2.0
"""The sensing of n simulated robots: chips that watch at physics rate, drivers that sample."""

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot, sensors
from op3_fall.imu_errors import ImuErrors
from op3_fall.physics import Physics
from op3_fall.rotations import gravity_in_body
from op3_fall.rows import Rows, faster
from op3_fall.scenarios import Scenario
from op3_fall.signals import SensorReading

__all__ = ["Sensing"]

Array = NDArray[np.float64]


class Sensing:
    """State of the sensing chain of `sensors`, for every simulation of a batch."""

    def __init__(self, physics: Physics, profile: sensors.Profile, n: int) -> None:
        """Watch `physics`, of `n` robots."""
        self._physics, self._profile = physics, profile
        self._errors = ImuErrors(n)
        self._chip, self._filtered = np.zeros((n, 6)), np.zeros((n, 6))
        joints = (n, robot.NUM_JOINTS)
        self._sample = sensors.Sample(
            *(np.zeros(s) for s in (joints, joints, joints, (n, 6), (n, 4)))
        )

    def reset(self, scenario: Scenario, rows: Rows) -> None:
        """Start `rows` (k,) over: the sensors have been watching a robot at rest for long."""
        self._errors.reset(scenario, rows)
        rest = np.zeros_like(self._chip)
        down = self._physics.variation.down[rows]
        rest[rows, :3] = -sensors.GRAVITY * gravity_in_body(scenario.orientation, down)
        self._chip[rows] = self._errors.turn(rest)[rows]
        self._filtered[rows] = self._errors.bias(self._chip[rows], rows)
        first = np.zeros(len(rows), dtype=np.int64)
        self.sample(rows, first)
        if not self._profile.defects:
            # Exact sensors would see the first instant, in which a robot that is put down falls.
            self._sample.imu[rows] = self._errors.disturb(self._chip[rows], rows, first)

    def step(self) -> None:
        """The chips take in a physics step."""
        imu = self._errors.turn(self._physics.inertial)
        self._chip = sensors.chip_filter(self._chip, imu, self._physics.dt_s)

    def sample(self, due: Rows, cycle: NDArray[np.int64]) -> None:
        """The drivers of `due` (k,) ask for a sample, in their driver cycle `cycle` (k,)."""
        physics, rows = self._physics, faster(due, len(self._chip))
        position, velocity = physics.joints
        chip = self._chip if self._profile.defects else self._errors.turn(physics.inertial)
        fresh = sensors.Sample(
            position=physics.joint_errors.measure(position[rows], due, cycle),
            velocity=velocity[rows],
            torque=physics.torque[rows],
            imu=self._errors.disturb(chip[rows], due, cycle),
            orientation=physics.variation.level(physics.qpos[rows, 3:7], rows),
        )
        for mine, new in zip(self._sample, fresh, strict=True):
            mine[rows] = new

    def publish(self, due: Rows, time_s: Array) -> SensorReading:
        """What the drivers of `due` (k,) make of their last sample at `time_s` (k,)."""
        rows = faster(due, len(self._chip))
        sample = sensors.Sample(*(value[rows] for value in self._sample))
        reading, self._filtered[rows] = sensors.publish(
            self._profile, self._physics.servo, time_s, sample, self._filtered[rows]
        )
        return reading
