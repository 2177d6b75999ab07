# SPDX-License-Identifier: Apache-2.0
"""Notice a fall: the tilt beyond a threshold on consecutive readings."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from op3_fall.attitude import Attitude, AttitudeConfig
from op3_fall.signals import FallEstimate, SensorReading

__all__ = ["FallDetector", "TiltRule"]


@dataclass(frozen=True)
class TiltRule:
    """When a tilt is a fall."""

    threshold_rad: float = math.radians(15)
    """Tilt at which the robot does not come back, rad."""
    readings: int = 2
    """Consecutive readings beyond it."""
    attitude: AttitudeConfig = field(default_factory=AttitudeConfig)
    """Where the tilt comes from."""


class FallDetector:
    """Runs the rule on a stream of readings; the alarm stays until the detector is replaced."""

    def __init__(self, first: SensorReading, rule: TiltRule | None = None) -> None:
        """Start from a reading (...) of a robot at rest."""
        self.rule = rule or TiltRule()
        self.attitude = Attitude.start(first)
        self._beyond: NDArray[np.int64] = np.zeros(np.shape(first.time_s), dtype=np.int64)
        self._falling: NDArray[np.bool_] = np.zeros(np.shape(first.time_s), dtype=bool)

    def step(self, reading: SensorReading) -> FallEstimate:
        """Take one reading (...) in."""
        self.attitude = self.attitude.step(reading, self.rule.attitude)
        tilt = self.attitude.tilt
        self._beyond = np.where(tilt > self.rule.threshold_rad, self._beyond + 1, 0)
        self._falling = self._falling | (self._beyond >= self.rule.readings)
        return FallEstimate(self._falling, tilt, self.attitude.fall_angle)
