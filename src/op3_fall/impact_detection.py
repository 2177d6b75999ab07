# SPDX-License-Identifier: Apache-2.0
"""Feel an impact: a blow through the gears that neither a command nor a foot explains.

What a motor's torque does not spend on its own rotor goes through its gears to the robot:
`torque - armature * acceleration`. A command changes torque and acceleration together, and the
difference stays; a blow changes what the gears carry. The joints of arms and head are listened to:
those of the legs feel every step of the feet. Without effort readings gyro and accelerometer
listen. Either counts only while a part other than the feet is near the floor.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.fall_detection import ROUNDING_S, FallPhase
from op3_fall.rows import Rows, choose, replaced
from op3_fall.settings import Settings, setting
from op3_fall.signals import FallEstimate, ImpactEstimate, ImpactSense, ReadingUse, SensorReading
from op3_fall.vectors import Vector, components, length, minus, scaled

__all__ = ["ImpactDetector", "ImpactRule"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FREE = np.array([robot.JOINT_INDEX[joint] for joint in (*robot.HEAD, *robot.ARMS)])
"""Joints that no contact of the feet with the floor loads."""


@dataclass(frozen=True)
class ImpactRule(Settings):
    """When a blow is an impact, and when it is over."""

    gear_n_m: float = setting(3.0, 0.0, 100.0, unit="N m")
    """Change of the torque through the gears from one reading to the next, summed over the joints
    of arms and head, N m; free fall and commands make less."""
    turn_rad_s: float = setting(1.5, 0.0, 35.0, unit="rad/s")
    """Or: jump of the angular velocity, rad/s."""
    stock_turn_rad_s: float = setting(0.5, 0.0, 35.0, unit="rad/s")
    """The same while there are no effort readings, rad/s."""
    stock_force_m_s2: float = setting(10.0, 0.0, 40.0, unit="m/s^2")
    """Or, without effort readings: jump of the specific force, m/s^2."""
    again: float = setting(5.0, 1.0, 100.0)
    """After the first impact of a fall a blow must be so many times larger: what lies rattles."""
    near_m: float = setting(0.02, -0.1, 1.0, unit="m")
    """A blow counts while a part other than the feet is this near to the floor, m."""
    refractory_s: float = setting(0.06, 0.0, 2.0, unit="s")
    """Blows closer than this to the last belong to the same impact, s."""
    subsided_n_m: float = setting(6.0, 0.0, 100.0, unit="N m")
    """The load has subsided when it stays below this total torque, N m."""
    subsided_rad_s: float = setting(0.5, 0.0, 35.0, unit="rad/s")
    """Without effort: when the robot turns slower than this, rad/s."""
    subsided_s: float = setting(0.2, 0.0, 60.0, unit="s")
    """For this long, s."""


class _State(NamedTuple):
    """What is known after a reading; arrays have the shape of `time_s.T`, joints come first."""

    time_s: Array
    velocity: Array
    """Of the free joints, rad/s, (8, ...)."""
    carried: Array
    """Torque through their gears, N m, (8, ...)."""
    turning: Vector
    """Angular velocity, rad/s."""
    force: Vector
    """Specific force, m/s^2."""
    has_effort: Flags
    """An effort has been other than zero."""
    count: NDArray[np.int64]
    sense: NDArray[np.int64]
    peak: Array
    blow_s: Array
    """Time of the latest blow."""
    calm_since: Array


class ImpactDetector:
    """Runs the rule on a stream of readings of any leading shape."""

    def __init__(
        self, first: SensorReading, servo: robot.Servo, rule: ImpactRule | None = None
    ) -> None:
        """Start from a reading (...) of a robot at rest."""
        self.rule = rule or ImpactRule()
        self._servo = servo
        now = first.time_s.T[()]
        none = np.zeros_like(now, dtype=np.int64)[()]
        self._state = _State(
            time_s=now, velocity=first.velocity.T[_FREE], carried=self._torque(first),
            turning=components(first.angular_velocity),
            force=components(first.linear_acceleration),
            has_effort=none > 0, count=none, sense=none, peak=now * np.nan, blow_s=now - np.inf,
            calm_since=now + np.inf,
        )  # fmt: skip

    def replace(self, rows: Rows, other: "ImpactDetector") -> None:
        """Go on with another detector's k robots at `rows` (k,) of n."""
        self._state = replaced(self._state, rows, other._state)

    def _torque(self, reading: SensorReading) -> Array:
        return reading.effort.T[_FREE] / self._servo.effort_per_n_m

    def step(self, reading: SensorReading, fall: FallEstimate) -> ImpactEstimate:
        """Take one reading (...) in, and what the fall detector makes of it.

        A reading that the fall detector did not use is no onset either.
        """
        old, use = self._state, fall.use.T
        if not use.any():
            self._state, load, gear, onset = self._advance(reading, fall)
        else:
            with np.errstate(all="ignore"):  # of readings that are not used
                new, load, gear, onset = self._advance(reading, fall)
            unread = (use == ReadingUse.REPEATED) | (use == ReadingUse.NOT_FINITE)
            jumped = use == ReadingUse.JUMP
            gear = np.where(jumped, np.nan, gear)[()]
            self._state = choose(unread, old, choose(jumped, _forgetful(new), new))
        state, over = self._state, fall.phase.T >= FallPhase.IMPACT
        # Reached without an impact too: whoever lies at rest bears no load of one.
        subsided = over & (state.time_s - state.calm_since >= self.rule.subsided_s - ROUNDING_S)
        return ImpactEstimate(
            torque_load=load.T, spike=gear.T, onset=onset.T, count=state.count.T,
            sense=state.sense.T, peak=state.peak.T, subsided=subsided.T,
        )  # fmt: skip

    def _advance(
        self, reading: SensorReading, fall: FallEstimate
    ) -> tuple[_State, Array, Array, Flags]:
        """The state after a reading, load and spike with NaN for no effort, and the onset."""
        rule, old, servo = self.rule, self._state, self._servo
        now, velocity = reading.time_s.T[()], reading.velocity.T[_FREE]
        rotors = servo.ARMATURE_KG_M2 / np.maximum(now - old.time_s, 1e-4)
        carried = self._torque(reading) - rotors * (velocity - old.velocity)
        gear = np.add.reduce(np.abs(carried - old.carried), axis=0)
        load = np.add.reduce(np.abs(reading.effort), axis=-1).T / servo.effort_per_n_m
        has_effort = old.has_effort | (load > 0)
        turning, force = components(fall.angular_velocity), components(fall.specific_force)
        told_load, told_gear = (np.where(has_effort, v, np.nan)[()] for v in (load, gear))
        peak = np.fmax(old.peak, told_load + 0 * old.peak)
        if not fall.phase.any():
            new = _State(now, velocity, carried, turning, force, has_effort, old.count, old.sense,
                         peak, old.blow_s, now + np.inf)  # fmt: skip
            return new, told_load, told_gear, has_effort & False
        times = np.where(fall.phase.T >= FallPhase.IMPACT, rule.again, 1.0)
        torn = has_effort & (gear > times * rule.gear_n_m) & np.isfinite(gear)
        turn = length(minus(turning, old.turning))
        turned = turn > times * np.where(has_effort, rule.turn_rad_s, rule.stock_turn_rad_s)
        jolt = length(minus(force, old.force))
        jolted = ~has_effort & (jolt > times * rule.stock_force_m_s2)
        near = rule.near_m > fall.clearance.T
        blow = near & (torn | turned | jolted) & (fall.use.T == ReadingUse.USED)
        onset = blow & (now - old.blow_s > rule.refractory_s)
        sense = np.where(torn, ImpactSense.TORQUE, ImpactSense.INERTIAL)
        calm = np.where(
            has_effort, load < rule.subsided_n_m, length(turning) < rule.subsided_rad_s
        )
        counts = calm & ~blow & (fall.phase.T > FallPhase.NORMAL)
        new = _State(
            now, velocity, carried, turning, force, has_effort, old.count + onset,
            np.where(onset, sense, old.sense),
            np.where(onset, told_load, peak),
            np.where(blow, now, old.blow_s),
            np.where(counts, np.minimum(old.calm_since, now), np.inf),
        )  # fmt: skip
        return new, told_load, told_gear, onset


def _forgetful(state: _State) -> _State:
    """Without what a reading is compared with: the next ones have nothing to jump from."""
    return state._replace(
        velocity=state.velocity * np.nan, carried=state.carried * np.nan,
        turning=scaled(state.turning, np.nan), force=scaled(state.force, np.nan),
    )  # fmt: skip
