# SPDX-License-Identifier: Apache-2.0
"""Notice a fall before it can be seen: the capture point leaves the soles; then follow it.

NORMAL -- capture point out --> FALLING -- blow --> IMPACT -- at rest --> DOWN -- up --> NORMAL
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.attitude import Attitude, AttitudeConfig
from op3_fall.balance import Balance
from op3_fall.driver_events import CYCLE_S
from op3_fall.kinematics import clearance
from op3_fall.rows import Rows, choose, replaced
from op3_fall.sensors import GRAVITY
from op3_fall.settings import Settings, setting
from op3_fall.signals import FallEstimate, ReadingUse, SensorReading
from op3_fall.vectors import components, cross, dot

__all__ = ["ROUNDING_S", "FallDetector", "FallPhase", "FallRule", "time_to_impact"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class FallPhase(IntEnum):
    """Where a fall stands."""

    NORMAL = 0
    FALLING = 1
    IMPACT = 2
    DOWN = 3


@dataclass(frozen=True)
class FallRule(Settings):
    """When a robot falls, and when that is over."""

    margin_m: float = setting(0.02, -0.1, 0.3, unit="m")
    """How far the capture point must be outside of the soles for an alarm, m."""
    hold_s: float = setting(0.016, 0.0, 1.0, unit="s")
    """For how long, s; a driver cycle counts from its beginning, so 0.016 is two readings."""
    tilt_rad: float = setting(0.9, 0.1, 3.2, unit="rad")
    """A tilt beyond this is a fall whatever the capture point says, rad; get-up poses lean by 0.7,
    and a leg that gave way may stand far out."""
    fast_rad_s: float = setting(2.0, 0.0, 20.0, unit="rad/s")
    """A fall velocity above this is of class FAST, rad/s."""
    rest_rad_s: float = setting(0.5, 0.0, 5.0, unit="rad/s")
    """Below this angular velocity the robot lies at rest, rad/s."""
    rest_s: float = setting(0.3, 0.0, 10.0, unit="s")
    """For this long, s."""
    lying_rad: float = setting(0.75, 0.0, 3.2, unit="rad")
    """Above this tilt a robot at rest lies instead of standing, rad."""
    upright_s: float = setting(1.0, 0.0, 10.0, unit="s")
    """It stands again after this long below that tilt with the capture point inside, s."""
    settle_s: float = setting(0.3, 0.0, 10.0, unit="s")
    """No alarm for this long after the start or a jump in time, s, while the attitude follows the
    accelerometer ten times faster: nobody knows what the robot did before."""
    longest_gap_s: float = setting(0.1, 0.008, 1.0, unit="s")
    """After a longer gap between readings the estimate starts anew, s."""
    attitude: AttitudeConfig = field(default_factory=AttitudeConfig)
    """Where the gravity direction comes from."""


ROUNDING_S = 1e-6
"""Stamps are sums of cycles; a time that is up to a rounding error is up."""
# Fitted to 548 simulated falls: tilt of the centre of mass about the edge at the first contact,
# m l^2 over the moment of inertia, tilt from which the side is sure, share of spin that lasts.
_CONTACT_RAD, _SLENDER, _TIPPED_RAD, _SPIN_KEPT = 1.25, 0.9, 0.5, 0.8
_LEAST_LENGTH_M = 0.08
_PROPPED = 0.2


class _State(NamedTuple):
    """What is known after a reading; arrays have the shape of `time_s.T`."""

    attitude: Attitude
    balance: Balance
    phase: NDArray[np.int64]
    beyond_since: Array
    rest_since: Array
    upright_since: Array
    settled_s: Array


class FallDetector:
    """Runs the rule on a stream of readings of any leading shape.

    A reading that repeats its stamp or is not finite changes nothing; after a jump in time the
    estimate of that robot starts anew. `FallEstimate.use` tells.
    """

    def __init__(self, first: SensorReading, rule: FallRule | None = None) -> None:
        """Start from a reading (...) of a robot at rest."""
        self.rule = rule or FallRule()
        self._state = _begin(first, self.rule.settle_s)

    def replace(self, rows: Rows, other: "FallDetector") -> None:
        """Go on with another detector's k robots at `rows` (k,) of n."""
        self._state = replaced(self._state, rows, other._state)

    def step(self, reading: SensorReading) -> FallEstimate:
        """Take one reading (...) in."""
        use = self._use(reading)
        if not use.any():
            self._state = self._advance(reading)
        elif (use != ReadingUse.REPEATED).any():
            kept = self._state
            with np.errstate(all="ignore"):  # of readings that are not used
                stepped = self._advance(reading)
                if (use == ReadingUse.JUMP).any():
                    # Nobody knows what happened meanwhile, but a fall is no alarm to repeat.
                    anew = _begin(reading, self.rule.settle_s)._replace(phase=kept.phase)
                    kept = choose(use == ReadingUse.JUMP, anew, kept)
            self._state = choose(use == ReadingUse.USED, stepped, kept)
        return self._estimate(use)

    def hit(self, fall: FallEstimate, onset: Flags) -> FallEstimate:
        """The latest estimate, of robots of which some (...) have just felt an impact."""
        phase = self._state.phase
        phase = np.where((phase == FallPhase.FALLING) & onset.T, FallPhase.IMPACT, phase)
        self._state = self._state._replace(phase=phase)
        remaining = np.where(phase == FallPhase.FALLING, fall.time_to_impact.T, np.nan)
        return replace(fall, phase=phase.T, time_to_impact=remaining.T)

    def _use(self, reading: SensorReading) -> NDArray[np.int64]:
        """`ReadingUse` of each robot's reading."""
        now = reading.time_s.T[()]
        turn, force = components(reading.angular_velocity), components(reading.linear_acceleration)
        joints = reading.position + reading.velocity + reading.effort
        joints = np.add.reduce(joints, axis=-1).T
        finite = np.isfinite(joints + sum(turn) + sum(force) + now)
        gap = now - self._state.attitude.time_s
        begun = np.isfinite(self._state.balance.margin)  # not with a first reading of no numbers
        steady = (gap > 0) & (gap <= self.rule.longest_gap_s) & begun
        if (finite & steady).all():
            return np.zeros_like(finite, dtype=np.int64)
        use = np.where(steady, ReadingUse.USED, ReadingUse.JUMP)
        use = np.where(gap == 0, ReadingUse.REPEATED, use)
        return np.where(finite, use, ReadingUse.NOT_FINITE)

    def _advance(self, reading: SensorReading) -> _State:
        rule, old = self.rule, self._state
        now = reading.time_s.T[()]
        dt = now - old.attitude.time_s
        settling = now < old.settled_s
        boost = 1.0 + 9.0 * settling
        attitude = old.attitude.step(reading, rule.attitude, boost)
        balance = Balance.of(reading.position, attitude, old.balance, np.maximum(dt, 1e-4))
        tilted = -attitude.down[2]  # cosine of the tilt
        beyond = (balance.margin > rule.margin_m) | (tilted < np.cos(rule.tilt_rad))
        if not (beyond.any() or old.phase.any() or settling.any()):
            never = now + np.inf
            return _State(attitude, balance, old.phase, never, never, never, old.settled_s)
        phase, lying = old.phase, tilted < np.cos(rule.lying_rad)
        under_way = phase != FallPhase.NORMAL
        # A reading counts from its driver's cycle on; after a gap no earlier.
        from_s = now - np.minimum(dt, CYCLE_S)
        beyond = np.where(beyond & ~settling, np.minimum(old.beyond_since, from_s), np.inf)
        # Propped below the tilt of who lies, it must be stiller: a slow fall begins slowly too.
        limit = rule.rest_rad_s * np.where(lying, 1.0, _PROPPED)
        still = dot(attitude.rate, attitude.rate) < limit**2
        rest = np.where(still & under_way, np.minimum(old.rest_since, now), np.inf)
        upright = under_way & ~lying & (balance.margin <= 0)
        upright = np.where(upright, np.minimum(old.upright_since, now), np.inf)
        alarm = ~under_way & (now - beyond >= rule.hold_s - ROUNDING_S)
        # Who lies when the detector starts does not fall any more; nor who lies still.
        found_lying = ~under_way & lying & ~settling & (old.attitude.time_s < old.settled_s)
        alarm = alarm & ~(lying & still)
        down = (lying | (balance.margin > 0)) & (now - rest >= rule.rest_s - ROUNDING_S)
        stands = now - upright >= rule.upright_s - ROUNDING_S
        phase = np.where(alarm, FallPhase.FALLING, phase)
        phase = np.where(down | found_lying, FallPhase.DOWN, phase)
        phase = np.where(stands, FallPhase.NORMAL, phase)
        return _State(attitude, balance, phase, beyond, rest, upright, old.settled_s)

    def _estimate(self, use: NDArray[np.int64]) -> FallEstimate:
        state = self._state
        attitude, balance = state.attitude, state.balance
        down, toward = attitude.down, balance.toward
        # Rate of the turn about the horizontal axis that tips the robot to that side.
        velocity = dot(attitude.rate, cross(toward, down))
        falling = state.phase == FallPhase.FALLING
        remaining = height = velocity * np.nan
        side = np.arctan2(-toward[1], toward[0])
        if state.phase.any():
            lean = balance.lean
            remaining = time_to_impact(lean, balance.height, balance.speed, velocity)
            remaining = np.where(falling, remaining, np.nan)
            height = np.where(state.phase > 0, clearance(balance.stance, down), np.nan)
            side = np.where(state.phase > 0, _side(attitude, balance, lean, remaining), side)
        return FallEstimate(
            phase=state.phase.T, tilt=attitude.tilt, margin=balance.margin.T,
            fall_angle=side.T, fall_velocity=velocity.T,
            fast=(velocity > self.rule.fast_rad_s).T, time_to_impact=remaining.T,
            clearance=height.T, gravity=attitude.gravity, use=use.T,
            angular_velocity=np.array(attitude.rate).T, specific_force=np.array(attitude.force).T,
        )  # fmt: skip


def _begin(reading: SensorReading, settle_s: float) -> _State:
    attitude = Attitude.start(reading)
    now = attitude.time_s
    never = now + np.inf
    balance = Balance.of(reading.position, attitude, None, now)
    normal = np.zeros_like(now, dtype=np.int64)
    return _State(attitude, balance, normal, never, never, never, now + settle_s)


def _side(attitude: Attitude, balance: Balance, lean: Array, remaining_s: Array) -> Array:
    """Which side will be down at the contact, rad: 0 front, right positive.

    First the side that the capture point says; once the body has tipped over, the side that it
    lies on already. Meanwhile it goes on turning about the vertical.
    """
    turned = np.arctan2(lean, balance.height) / _TIPPED_RAD
    turned = np.minimum(np.maximum(turned, 0.0), 1.0)
    (ux, uy, _), (gx, gy, _) = balance.toward, attitude.down
    x, y = ((1 - turned) * u + turned * g for u, g in ((ux, gx), (uy, gy)))
    spin = -dot(attitude.rate, attitude.down)
    angle = np.arctan2(-y, x) + np.where(remaining_s > 0, _SPIN_KEPT * spin * remaining_s, 0.0)
    return (angle + np.pi) % (2 * np.pi) - np.pi


def time_to_impact(lean: Array, height: Array, speed: Array, velocity: Array) -> Array:
    """Time until a part other than the feet touches the floor, s; any shape.

    The robot as an inverted pendulum on the edge of its foot: tilt'' = frequency^2 sin(tilt).
    While its centre of mass is still above the sole, the push goes on rather than gravity; it
    counts as above the edge.

    Args:
        lean: of the centre of mass beyond the soles, m.
        height: of it above the soles, m.
        speed: of it to the side it falls to, m/s.
        velocity: rate of the tilt, rad/s.
    """
    length = np.maximum((lean * lean + height * height) ** 0.5, _LEAST_LENGTH_M)
    tilt = np.minimum(np.maximum(np.arctan2(lean, height), 0.0), _CONTACT_RAD)
    velocity = np.maximum(np.maximum(velocity, speed / length), 0.05)
    twice = 2 * _SLENDER * GRAVITY / length  # frequency squared, doubled
    # Energy gives the speed at every tilt, and the time is the integral of 1 / speed. The tilts
    # go with u squared, since from rest the speed begins like a square root.
    span = _CONTACT_RAD - tilt
    energy = velocity**2 + twice * np.cos(tilt)
    column = (-1, *(1,) * np.ndim(tilt))
    u, weights = ((1 + _NODES) / 2).reshape(column), _WEIGHTS.reshape(column)
    speeds = np.sqrt(energy - twice * np.cos(tilt + span * u * u))
    return span * (weights * u / speeds).sum(axis=0)
