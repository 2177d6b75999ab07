# SPDX-License-Identifier: Apache-2.0
"""Three known fall rules, to compare ours with on the same readings.

Each gives a score that is above 1 exactly where the published rule's condition holds; comparing
the score with another threshold makes the rule more or less careful. The alarm is the condition
in every reading of the last `hold_s` (`detection_scores.first_alarm`).
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from op3_fall.rotations import gravity_in_body
from op3_fall.signals import SensorReading

__all__ = ["KNOWN_RULES", "GravityLookAhead", "KnownRule", "StockDemo", "TiltScaledRate"]

Array = NDArray[np.float64]


class KnownRule(Protocol):
    """A rule on one stream of readings of any leading shape; a new stream needs a new rule."""

    name: str
    """For files."""
    label: str
    """For tables and legends."""
    hold_s: float
    """The condition must hold in every reading for that long."""

    def step(self, reading: SensorReading, gravity: Array) -> Array:
        """The score (...) of a reading (...).

        Args:
            reading: the latest.
            gravity: estimated unit vector pointing down, in the body frame, (..., 3).
        """
        ...


class StockDemo:
    """Pitch beyond 60 degrees, as ROBOTIS' soccer demo decides that the robot has fallen.

    ROBOTIS-OP3-Demo, op3_demo/src/soccer/soccer_demo.cpp: the pitch of the published orientation,
    low-passed once more with each message, looked at 30 times a second. Roll does not count.
    """

    name = "stock_demo"
    label = "stock demo, pitch 60°"
    hold_s = 0.0
    LIMIT_RAD = math.radians(60)
    FILTER = 0.4  # weight of the new message
    LOOKS_HZ = 30.0

    def __init__(self) -> None:
        """Start with the first reading."""
        self._pitch = self._start_s = self._look = self._score = np.array(np.nan)

    def step(self, reading: SensorReading, gravity: Array) -> Array:
        """|pitch| / 60 degrees, (...), kept from one look to the next; `gravity` is not used."""
        x, y, z = np.moveaxis(gravity_in_body(reading.orientation), -1, 0)
        pitch = np.arctan2(x, np.hypot(y, z))
        first = np.isnan(self._start_s)
        self._start_s = np.where(first, reading.time_s, self._start_s)
        self._pitch = np.where(first, pitch, self._pitch + self.FILTER * (pitch - self._pitch))
        # A look that is due at a reading's own time must not wait for the next by rounding.
        look = np.floor((reading.time_s - self._start_s) * self.LOOKS_HZ + 1e-6)
        self._score = np.where(
            look != self._look, np.abs(self._pitch) / self.LIMIT_RAD, self._score
        )
        self._look = look
        return self._score


class TiltScaledRate:
    """A rate away from upright beyond 4.0 rad/s x (1 - tilt / 40 degrees), or a tilt beyond 40.

    bit-bots/bitbots_main, bitbots_hcm, decisions/falling.py and hcm_piplus.yaml: by axis, on the
    fused roll and pitch and the gyro's x and y as they are; all results within 40 ms must agree.
    """

    name = "tilt_scaled_rate"
    label = "tilt-scaled rate, 4 rad/s, 40°"
    hold_s = 0.04
    RATE_RAD_S = 4.0
    TILT_RAD = math.radians(40)

    def step(self, reading: SensorReading, gravity: Array) -> Array:
        """Tilt / 40 degrees + rate away / 4.0 rad/s of the worse axis, (...).

        That is the published condition solved for the scale of both limits; the quotient of rate
        and limit would be infinite at 40 degrees at any rate.
        """
        roll_pitch = np.stack([-gravity[..., 1], gravity[..., 0]], axis=-1)
        fused = np.arcsin(np.clip(roll_pitch, -1.0, 1.0))
        away = np.maximum(reading.angular_velocity[..., :2] * np.sign(fused), 0.0)
        return (np.abs(fused) / self.TILT_RAD + away / self.RATE_RAD_S).max(axis=-1)


class GravityLookAhead:
    """Tilt past 26 degrees, growing, and about to pass 60 degrees within 300 ms.

    pollen-robotics/microduck, limp_fall: gravity's z component beyond -0.90, and beyond -0.5 if
    its rate -(w x g) goes on for 300 ms; held for 60 ms.
    """

    name = "gravity_look_ahead"
    label = "look-ahead 300 ms, 26°"
    hold_s = 0.06
    NOW_Z = -0.90
    AHEAD_Z = -0.5
    LOOK_AHEAD_S = 0.3

    def step(self, reading: SensorReading, gravity: Array) -> Array:
        """The smaller of gravity z's ways from upright, now and ahead, in their limits, (...)."""
        (gx, gy, gz), (wx, wy, _) = (
            np.moveaxis(v, -1, 0) for v in (gravity, reading.angular_velocity)
        )
        rate = gx * wy - gy * wx
        ahead = gz + self.LOOK_AHEAD_S * rate
        score = np.minimum((gz + 1) / (self.NOW_Z + 1), (ahead + 1) / (self.AHEAD_Z + 1))
        return np.where(rate > 0, score, 0.0)


KNOWN_RULES: tuple[type[KnownRule], ...] = (StockDemo, TiltScaledRate, GravityLookAhead)
"""Make a new one of each for every stream."""
