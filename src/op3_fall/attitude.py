# SPDX-License-Identifier: Apache-2.0
"""Gravity direction from gyro and accelerometer: the driver's orientation is useless in a fall."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall.sensors import GRAVITY
from op3_fall.settings import Settings, setting
from op3_fall.signals import SensorReading

__all__ = ["Attitude", "AttitudeConfig"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AttitudeConfig(Settings):
    """A complementary filter."""

    accelerometer_gain_per_s: float = setting(1.0, 0.0, 100.0, unit="1/s")
    """How fast the estimate follows a trusted accelerometer, 1/s."""
    trust_band_g: float = setting(0.1, 0.0, 1.0, unit="g")
    """The accelerometer counts only while its norm is this close to 1 g."""


@dataclass(frozen=True)
class Attitude:
    """The filter's state after a reading."""

    time_s: Array
    """(...)."""
    gravity: Array
    """Unit vector pointing down, in the body frame, (..., 3)."""

    @classmethod
    def start(cls, reading: SensorReading) -> "Attitude":
        """From a robot at rest: down is where the accelerometer does not point."""
        return cls(reading.time_s, -_unit(reading.linear_acceleration))

    def step(
        self, reading: SensorReading, config: AttitudeConfig, boost: Array | float = 1.0
    ) -> "Attitude":
        """Turn with the gyro, then lean on the accelerometer where it can be trusted.

        `boost` (...) multiplies the accelerometer's gain.
        """
        dt = (reading.time_s - self.time_s)[..., None]
        # A vector fixed in the world turns backwards in the body: dg/dt = -omega x g.
        gravity = self.gravity + dt * _cross(self.gravity, reading.angular_velocity)
        norm = np.sqrt((reading.linear_acceleration**2).sum(axis=-1, keepdims=True))
        trusted = np.abs(norm / GRAVITY - 1) < config.trust_band_g
        gain = config.accelerometer_gain_per_s * np.asarray(boost)[..., None]
        pull = np.where(trusted, np.minimum(dt * gain, 1.0), 0.0)
        gravity = gravity + pull * (-_unit(reading.linear_acceleration) - gravity)
        return Attitude(reading.time_s, _unit(gravity))

    @property
    def tilt(self) -> Array:
        """Angle of the body's up axis to the vertical, rad in [0, pi], (...)."""
        return np.arccos(np.clip(-self.gravity[..., 2], -1.0, 1.0))

    @property
    def fall_angle(self) -> Array:
        """Where the robot leans to, rad: 0 front, right positive, left negative, (...)."""
        return np.arctan2(-self.gravity[..., 1], self.gravity[..., 0])


def _cross(a: Array, b: Array) -> Array:
    """Cross product (..., 3); numpy's own takes three times longer for one vector."""
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _unit(vector: Array) -> Array:
    norm = np.sqrt((vector * vector).sum(axis=-1, keepdims=True))
    return vector / np.maximum(norm, 1e-9)
