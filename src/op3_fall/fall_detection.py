# SPDX-License-Identifier: Apache-2.0
"""Notice a fall: the tilt beyond a threshold on consecutive readings; then follow it to its end.

NORMAL -- tilt --> FALLING -- blow --> IMPACT -- at rest --> DOWN -- upright again --> NORMAL
"""

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from op3_fall.attitude import Attitude, AttitudeConfig
from op3_fall.sensors import GRAVITY
from op3_fall.settings import Settings, setting
from op3_fall.signals import FallEstimate, SensorReading

__all__ = ["FallDetector", "FallPhase", "TiltRule", "time_to_impact"]

Array = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class FallPhase(IntEnum):
    """Where a fall stands."""

    NORMAL = 0
    FALLING = 1
    IMPACT = 2
    DOWN = 3


@dataclass(frozen=True)
class TiltRule(Settings):
    """When a tilt is a fall, and when it is over."""

    threshold_rad: float = setting(math.radians(15), 0.05, 1.5, unit="rad")
    """Tilt at which the robot does not come back, rad."""
    readings: int = setting(2, 1, 100)
    """Consecutive readings beyond it."""
    fast_rad_s: float = setting(2.0, 0.0, 20.0, unit="rad/s")
    """A fall velocity above this is of class FAST, rad/s."""
    blow_g: float = setting(1.8, 1.1, 2.0, unit="g")
    """Specific force that is an impact even if none was felt in the torques, g (clips at 2)."""
    rest_rad_s: float = setting(0.5, 0.0, 5.0, unit="rad/s")
    """Below this angular velocity the robot lies at rest, rad/s."""
    rest_s: float = setting(0.3, 0.0, 10.0, unit="s")
    """For this long, s."""
    upright_rad: float = setting(math.radians(10), 0.0, 1.5, unit="rad")
    """Below this tilt the robot stands again, rad."""
    upright_s: float = setting(1.0, 0.0, 10.0, unit="s")
    """For this long, s; then the detector waits for the next fall."""
    settle_s: float = setting(0.0, 0.0, 10.0, unit="s")
    """No alarm for this long after the start, s, while the attitude follows the accelerometer
    ten times faster; 0 for a robot that is known to start at rest."""
    attitude: AttitudeConfig = field(default_factory=AttitudeConfig)
    """Where the tilt comes from."""


class FallDetector:
    """Runs the rule on a stream of readings of any leading shape."""

    def __init__(self, first: SensorReading, rule: TiltRule | None = None) -> None:
        """Start from a reading (...) of a robot at rest."""
        self.rule = rule or TiltRule()
        self.attitude = Attitude.start(first)
        shape = np.shape(first.time_s)
        self._beyond: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        self._phase: NDArray[np.int64] = np.full(shape, FallPhase.NORMAL, dtype=np.int64)
        self._rest_since = np.full(shape, np.inf)
        self._upright_since = np.full(shape, np.inf)
        self._start_s = first.time_s

    def step(self, reading: SensorReading, felt: NDArray[np.bool_] | bool = False) -> FallEstimate:
        """Take one reading (...) in; `felt` (...) where the torques have just shown an impact."""
        settling = reading.time_s - self._start_s < self.rule.settle_s
        boost = np.where(settling, 10.0, 1.0)
        self.attitude = self.attitude.step(reading, self.rule.attitude, boost)
        tilt, gravity = self.attitude.tilt, self.attitude.gravity
        self._phase = self._next_phase(reading, np.where(settling, 0.0, tilt), felt)
        falling = self._phase == FallPhase.FALLING
        velocity = _tilt_rate(gravity, reading.angular_velocity)
        remaining = np.full(np.shape(tilt), np.nan)
        if falling.any():
            remaining = np.where(falling, time_to_impact(tilt, velocity), np.nan)
        return FallEstimate(
            phase=self._phase,
            tilt=tilt,
            fall_angle=self.attitude.fall_angle,
            fall_velocity=velocity,
            fast=velocity > self.rule.fast_rad_s,
            time_to_impact=remaining,
            gravity=gravity,
        )

    def _next_phase(
        self, reading: SensorReading, tilt: Array, felt: NDArray[np.bool_] | bool
    ) -> NDArray[np.int64]:
        rule, phase, now = self.rule, self._phase, reading.time_s
        self._beyond = np.where(tilt > rule.threshold_rad, self._beyond + 1, 0)
        still = _norm(reading.angular_velocity) < rule.rest_rad_s
        self._rest_since = np.where(still, np.minimum(self._rest_since, now), np.inf)
        upright = tilt < rule.upright_rad
        self._upright_since = np.where(upright, np.minimum(self._upright_since, now), np.inf)
        blow = felt | (_norm(reading.linear_acceleration) > rule.blow_g * GRAVITY)
        lies = now - self._rest_since >= rule.rest_s
        stands = now - self._upright_since >= rule.upright_s
        under_way = (phase == FallPhase.FALLING) | (phase == FallPhase.IMPACT)
        alarm = (phase == FallPhase.NORMAL) & (self._beyond >= rule.readings)
        hit = (phase == FallPhase.FALLING) & blow
        down = under_way & lies & (tilt > rule.threshold_rad)
        phase = np.where(hit, FallPhase.IMPACT, np.where(alarm, FallPhase.FALLING, phase))
        return np.where(stands, FallPhase.NORMAL, np.where(down, FallPhase.DOWN, phase))


def time_to_impact(
    tilt: Array, velocity: Array, *, frequency_rad_s: float = 5.3, contact_rad: float = 1.2
) -> Array:
    """Time until a part other than the feet touches the floor, s, (...); NaN if it never does.

    The robot as an inverted pendulum on the edge of its foot: tilt'' = frequency^2 sin(tilt).

    Args:
        tilt: rad, (...).
        velocity: rate of the tilt, rad/s, (...).
        frequency_rad_s: sqrt(m g h / I) of the OP3 standing straight: 3.15 kg, centre of mass at
            0.27 m, 0.30 kg m^2 about the edge.
        contact_rad: tilt at the first contact; 0.9 to 1.5 in simulated falls to all sides.
    """
    # Energy gives the speed at every tilt, and the time is the integral of 1 / speed. The tilts
    # go with u squared, since from rest the speed begins like a square root.
    span = np.maximum(contact_rad - tilt, 0.0)[..., None]
    u = (1 + _NODES) / 2
    energy = velocity**2 + 2 * frequency_rad_s**2 * np.cos(tilt)
    squared = energy[..., None] - 2 * frequency_rad_s**2 * np.cos(tilt[..., None] + span * u**2)
    reaches = (velocity >= 0) & (squared > 0).all(axis=-1) | (span[..., 0] == 0)
    speed = np.sqrt(np.where(squared > 0, squared, np.inf))
    return np.where(reaches, (span * u * _WEIGHTS / speed).sum(axis=-1), np.nan)


def _tilt_rate(gravity: Array, angular_velocity: Array) -> Array:
    """Rate of the tilt from gravity in the body (..., 3) and the gyro (..., 3), rad/s.

    cos(tilt) = -g_z and dg/dt = g x omega, hence the rate is (g x omega)_z / sin(tilt).
    """
    (gx, gy), (wx, wy) = (np.moveaxis(v[..., :2], -1, 0) for v in (gravity, angular_velocity))
    across, sine = gx * wy - gy * wx, np.sqrt(gx * gx + gy * gy)
    # Upright every rotation tilts: there is no direction of lean yet to project on.
    return np.where(sine > 0.02, across / np.maximum(sine, 0.02), _norm(angular_velocity[..., :2]))


def _norm(vector: Array) -> Array:
    return np.sqrt((vector * vector).sum(axis=-1))
