# SPDX-License-Identifier: Apache-2.0
"""Whether the sensors can be trusted: age, jumps in time, repeats, numbers that are none.

Nothing here reads a clock; times come as arguments, in s. Tilt is no fault: falling is the job.
"""

import math
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from op3_fall import sensors
from op3_fall.safety_config import SafetyConfig
from op3_fall.signals import SensorReading

__all__ = ["Health", "Level", "SensorGuard"]

Array = NDArray[np.float64]

REST_RAD_S = 0.02
"""A gyro below may repeat itself in the simulator, which has no noise: at rest it does so for
ever. In simulated falls no two readings in a row were equal above 0.01 rad/s."""
_IMU_LSB = np.array([sensors.GYRO_LSB] * 3 + [sensors.ACCELEROMETER_LSB] * 3)


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    FAULT = 2


@dataclass(frozen=True)
class Health:
    """Whether the sensors can be trusted."""

    level: Level
    reason: str = ""
    """One line for people, empty while OK."""
    usable: bool = False
    """The reading is new and finite; only then may an estimator step on it."""
    restart: bool = False
    """The reading does not continue the ones before: estimators start afresh with it."""


class SensorGuard:
    """Watches the readings of one robot for age, jumps in time, repeats and bad numbers."""

    def __init__(self, config: SafetyConfig) -> None:
        """No reading has come yet."""
        self.config = config
        self._last: SensorReading | None = None
        self._arrived_s = self._now_s = -math.inf
        self._registers = np.zeros(6)
        self._changed_s = -math.inf
        self._fault, self._fault_s = "", -math.inf

    def step(self, now_s: float, reading: SensorReading) -> Health:
        """Take a reading in, shape (); `now_s` is the clock that the stamps are taken from."""
        self._notice_clock(now_s)
        problem = _bad_values(reading)
        if problem:
            self._raise(now_s, problem)
            return self.check(now_s)
        last, self._last = self._last, reading
        gap = float(reading.time_s - last.time_s) if last is not None else 0.0
        if last is not None and gap == 0.0:
            return self.check(now_s)
        longest = self.config.max_time_step_s
        if not 0.0 <= gap <= longest:
            self._raise(
                now_s,
                f"stamp of the sensor reading jumps by {gap:.3f} s; allowed is 0 to {longest:g} "
                "s; check for two drivers or a clock that was set",
            )
            last = None
        self._arrived_s = now_s
        self._watch_imu(now_s, reading, last)
        return replace(self.check(now_s), usable=True, restart=last is None)

    def check(self, now_s: float) -> Health:
        """The state at `now_s`; call it on a timer too, for readings that no longer come."""
        self._notice_clock(now_s)
        c = self.config
        if self._last is None:
            return Health(Level.FAULT, self._fault or "no sensor reading has come; needed are "
                          "IMU and joint states; start the driver")  # fmt: skip
        age_s = now_s - min(self._arrived_s, float(self._last.time_s))
        text = (f"latest sensor reading is {age_s:.3f} s old; allowed is {{:g}} s; check that the "
                "driver runs, and on this clock")  # fmt: skip
        if age_s > c.fault_after_s and self._fault_s < now_s:
            self._raise(now_s, text.format(c.fault_after_s))
        if now_s - self._fault_s < c.recover_after_s or now_s == self._fault_s:
            return Health(Level.FAULT, self._fault)
        if age_s > c.warn_after_s:
            return Health(Level.WARN, text.format(c.warn_after_s))
        return Health(Level.OK)

    def _raise(self, now_s: float, reason: str) -> None:
        self._fault, self._fault_s = reason, now_s

    def _notice_clock(self, now_s: float) -> None:
        if now_s < self._now_s:
            self._last = None
            self._raise(
                now_s,
                f"clock goes back by {self._now_s - now_s:.3f} s; allowed is forward only; wait "
                "until the readings have settled",
            )
        self._now_s = now_s

    def _watch_imu(self, now_s: float, reading: SensorReading, last: SensorReading | None) -> None:
        """Find out whether the board's registers repeat themselves.

        The driver goes on filtering values that it no longer gets: what it publishes moves for
        another 0.6 s. The registers behind the filter show a freeze at once.
        """
        stamp, values = float(reading.time_s), _imu(reading)
        if last is not None:
            kept = 1 - sensors.DRIVER_FILTER
            values = (values - kept * _imu(last)) / sensors.DRIVER_FILTER
        registers = np.rint(values / _IMU_LSB)
        if last is None or (registers != self._registers).any():
            self._changed_s = stamp
        self._registers = registers
        frozen_s = stamp - self._changed_s
        turns = np.abs(registers[:3]).max() * sensors.GYRO_LSB > REST_RAD_S
        if frozen_s > self.config.frozen_after_s and (turns or self.config.noisy_imu):
            self._raise(
                now_s,
                f"IMU has repeated itself for {frozen_s:.3f} s; allowed is "
                f"{self.config.frozen_after_s:g} s; check the bus and that the driver is not in "
                "DirectControlMode",
            )


def _imu(reading: SensorReading) -> Array:
    return np.concatenate([reading.angular_velocity, reading.linear_acceleration])


def _bad_values(reading: SensorReading) -> str:
    for name, value in vars(reading).items():
        if not np.isfinite(value).all():
            return (f"{name.replace('_', ' ')} of the sensor reading is not finite; allowed are "
                    "finite numbers; check the driver")  # fmt: skip
    if not _imu(reading).any():
        return ("IMU reads nothing but zeros; needed is at least gravity; check that the OpenCR "
                "board answers and that the driver is not in gazebo mode")  # fmt: skip
    return ""
