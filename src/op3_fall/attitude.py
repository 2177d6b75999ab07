# SPDX-License-Identifier: Apache-2.0
"""Gravity direction from gyro and accelerometer: the driver's orientation is useless in a fall.

The gyro turns the estimate, an accelerometer that feels about 1 g holds it, and the gyro's bias is
what it reads at rest. The driver's low-pass (10 Hz) is undone and the age of its readings made up
for, since together they would make the tilt several degrees late when the robot hits the floor.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.driver_events import CYCLE_S
from op3_fall.sensors import DRIVER_FILTER, GRAVITY
from op3_fall.settings import Settings, setting
from op3_fall.signals import SensorReading
from op3_fall.vectors import Vector, components, cross, dot, length, minus, plus, scaled, unit

__all__ = ["Attitude", "AttitudeConfig"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AttitudeConfig(Settings):
    """A complementary filter with proportional and integral feedback (Mahony et al. 2008)."""

    accelerometer_gain_per_s: float = setting(1.0, 0.0, 100.0, unit="1/s")
    """How fast the estimate follows a trusted accelerometer while the robot is at rest, 1/s."""
    trust_band_g: float = setting(0.15, 0.0, 1.0, unit="g")
    """The accelerometer counts only while its norm is this close to 1 g."""
    trust_rad_s: float = setting(0.5, 0.01, 35.0, unit="rad/s")
    """It counts half while the robot turns this fast: a body that tips feels no tilt, rad/s."""
    bias_gain_per_s2: float = setting(0.1, 0.0, 10.0, unit="1/s^2")
    """How fast a lasting correction by the accelerometer becomes bias of the gyro, 1/s^2."""
    still_rad_s: float = setting(0.05, 0.0, 0.5, unit="rad/s")
    """A gyro that reads less while the accelerometer is trusted is at rest, rad/s."""
    still_gain_per_s: float = setting(0.5, 0.0, 100.0, unit="1/s")
    """How fast the bias follows what the gyro reads at rest, 1/s."""
    driver_filter: float = setting(DRIVER_FILTER, 0.01, 1.0)
    """Weight of a new value in the driver's low-pass, which is undone; 1: it has none."""
    age_s: float = setting(0.016, 0.0, 0.1, unit="s")
    """Age of what a reading shows, s: a driver cycle and the chip's low-pass; fitted to falls."""


class Attitude(NamedTuple):
    """The filter's state after a reading; components have the shape of `time_s.T`."""

    time_s: Array
    gyro: Vector
    """What the driver published, rad/s."""
    rate: Vector
    """Angular velocity without the driver's low-pass and the bias, rad/s."""
    bias: Vector
    """Of the gyro, rad/s."""
    felt: Vector
    """Specific force that the driver published, m/s^2."""
    force: Vector
    """The same without the driver's low-pass."""
    seen: Vector
    """Unit vector pointing down, in the body frame, when the reading was sampled."""
    down: Vector
    """The same at the reading's stamp."""

    @classmethod
    def start(cls, reading: SensorReading) -> "Attitude":
        """From a robot at rest: down is where the accelerometer does not point."""
        felt = components(reading.linear_acceleration)
        gyro = components(reading.angular_velocity)
        down, still = unit(scaled(felt, -1.0)), scaled(felt, 0.0)
        return cls(reading.time_s.T[()], gyro, still, still, felt, felt, down, down)

    def step(
        self, reading: SensorReading, config: AttitudeConfig, boost: NDArray[Any] | float = 1.0
    ) -> "Attitude":
        """Turn with the gyro, then lean on the accelerometer where it can be trusted.

        `boost` multiplies the accelerometer's gain.
        """
        now = reading.time_s.T[()]
        felt = components(reading.linear_acceleration)
        gyro = components(reading.angular_velocity)
        dt = np.maximum(now - self.time_s, 1e-4)
        # The driver publishes y = (1 - keep) x + keep y_before, once a cycle.
        keep = np.exp(dt * _decay_per_s(config.driver_filter))
        fresh = 1 / (1 - keep)
        rate = minus(scaled(minus(gyro, scaled(self.gyro, keep)), fresh), self.bias)
        force = scaled(minus(felt, scaled(self.felt, keep)), fresh)
        # A vector fixed in the world turns backwards in the body: dg/dt = -omega x g.
        turned = plus(self.seen, cross(self.seen, scaled(plus(rate, self.rate), dt / 2)))
        norm = length(felt) + 1e-9
        trusted = abs(norm - GRAVITY) < config.trust_band_g * GRAVITY
        calm = 1 / (1 + dot(rate, rate) / config.trust_rad_s**2)
        gain = config.accelerometer_gain_per_s * boost * calm
        pull = trusted * np.minimum(dt * gain, 1.0)
        seen = unit(minus(scaled(turned, 1 - pull), scaled(felt, pull / norm)))
        # What has to be pulled back again and again is bias: omega x g drives g off its place.
        lasting = trusted * (dt * config.bias_gain_per_s2) / norm
        at_rest = trusted & (dot(gyro, gyro) < config.still_rad_s**2)
        learn = at_rest * (dt * config.still_gain_per_s)
        bias = plus(self.bias, scaled(minus(gyro, self.bias), learn))
        bias = plus(bias, scaled(cross(felt, seen), lasting))
        down = unit(plus(seen, scaled(cross(seen, rate), config.age_s)))
        return Attitude(now, gyro, rate, bias, felt, force, seen, down)

    @property
    def gravity(self) -> Array:
        """Unit vector pointing down, in the body frame, (..., 3)."""
        return np.array(self.down).T

    @property
    def tilt(self) -> Array:
        """Angle of the body's up axis to the vertical, rad in [0, pi], (...)."""
        x, y, z = self.down
        return np.arctan2((x * x + y * y) ** 0.5, -z).T


@cache
def _decay_per_s(weight: float) -> float:
    """Logarithm of what a low-pass keeps of its old value, per second; -inf if nothing."""
    return float(np.log1p(-weight)) / CYCLE_S if weight < 1 else -1e9
