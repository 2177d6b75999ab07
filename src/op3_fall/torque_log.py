# SPDX-License-Identifier: Apache-2.0
"""A torque log in memory: what the driver and the nodes said, and what happened when.

Every track has a clock of its own, because every topic has: `times_s` (t,) in s, then rows of t.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from op3_fall.compliance import Phase
from op3_fall.fall_detection import FallPhase

__all__ = ["EVENTS", "FallTrack", "GainTrack", "GoalTrack", "ImuTrack", "JointTrack", "LoadTrack",
           "TorqueLog"]  # fmt: skip

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

EVENTS = ("alarm_s", "softened_s", "felt_s", "restored_s")
"""What `TorqueLog.events` tells: see there."""


@dataclass(frozen=True)
class JointTrack:
    """Present joint states, in the order of `TorqueLog.joint_names`."""

    times_s: Array
    position: Array
    """rad, (t, j)."""
    velocity: Array
    """rad/s, (t, j); zero from the stock driver."""
    effort: Array
    """Current as the driver scales it, N m, (t, j); zero from the stock driver."""


@dataclass(frozen=True)
class GoalTrack:
    """Goal joint states."""

    times_s: Array
    position: Array
    """rad, (t, j)."""


@dataclass(frozen=True)
class ImuTrack:
    """Readings of the OpenCR's IMU."""

    times_s: Array
    orientation: Array
    """Quaternion wxyz, (t, 4)."""
    angular_velocity: Array
    """rad/s, (t, 3)."""
    linear_acceleration: Array
    """Specific force, m/s^2, (t, 3)."""


@dataclass(frozen=True)
class FallTrack:
    """FallState messages."""

    times_s: Array
    phase: Integers
    """`FallPhase`, (t,)."""
    tilt: Array
    """rad, (t,)."""
    gravity: Array
    """Unit vector pointing down, in the body frame, (t, 3)."""
    margin: Array
    """How far the capture point is outside of what the soles span, m, (t,)."""
    fall_angle: Array
    """Side of the body that will be down, rad, 0 front, right positive, (t,)."""
    direction: Integers
    """`fall_angle` in 8 sectors, 0 while normal, (t,)."""
    fall_velocity: Array
    """rad/s, (t,)."""
    speed: Integers
    """1 for a fast fall, (t,)."""
    time_to_impact: Array
    """s, NaN while not falling, (t,)."""
    clearance: Array
    """Of the lowest part other than the feet above the floor, m, NaN while normal, (t,)."""


@dataclass(frozen=True)
class LoadTrack:
    """TorqueLoad messages."""

    times_s: Array
    effort_available: Booleans
    """(t,)."""
    torque: Array
    """N m, (t, j); NaN without effort."""
    total: Array
    """Sum of |torque|, N m, (t,); NaN without effort."""
    spike: Array
    """Change of what the gears of arms and head carry, N m, (t,); NaN without effort."""
    peak: Array
    """Largest total since the latest impact, N m, (t,); NaN before any and without effort."""
    impact: Booleans
    """An impact is first felt, (t,)."""
    impact_count: Integers
    """Impacts felt so far, (t,)."""
    sense: Integers
    """`signals.ImpactSense` that felt the latest, (t,)."""
    subsided: Booleans
    """The load of the latest impact has subsided, (t,)."""


@dataclass(frozen=True)
class GainTrack:
    """JointGains messages."""

    times_s: Array
    phase: Integers
    """`compliance.Phase`, 4 for damped, (t,)."""
    stiffness_scale: Array
    """(t,)."""
    damping_scale: Array
    """(t,)."""
    written: Booleans
    """The driver has had the registers, (t,)."""
    p_gain: Integers
    """position_p_gain register, (t, j)."""
    i_gain: Integers
    """position_i_gain register, (t, j)."""
    d_gain: Integers
    """position_d_gain register, (t, j)."""
    goal_pwm: Integers
    """goal_pwm register, (t, j)."""


@dataclass(frozen=True)
class TorqueLog:
    """One recording; a track that it lacks is None."""

    joint_names: tuple[str, ...]
    """Of all (t, j) arrays."""
    joints: JointTrack
    goal: GoalTrack | None = None
    imu: ImuTrack | None = None
    fall: FallTrack | None = None
    load: LoadTrack | None = None
    gains: GainTrack | None = None
    start_ns: int = 0
    """Stamp of time zero, ns since 1970."""
    notes: tuple[str, ...] = field(default=())
    """One line each on what a reader should know: cut short, no effort."""

    @property
    def mode(self) -> str:
        """`stiff` or `compliant` by the gains; `unknown` if they were not recorded."""
        if self.gains is None:
            return "unknown"
        scaled = (self.gains.stiffness_scale != 1) | (self.gains.damping_scale != 1)
        soft = self.gains.phase == Phase.SOFT  # a fault scales the gains too, but is no schedule
        return "compliant" if (scaled & soft).any() else "stiff"

    def events(self) -> dict[str, float]:
        """When things first happened, s, NaN if they did not; keys `EVENTS`.

        The alarm is the first state that is not normal, softened and restored are the first gains
        of those phases, felt is the first impact at or after the alarm.
        """
        times: dict[str, float] = dict.fromkeys(EVENTS, np.nan)
        if self.fall is not None:
            times["alarm_s"] = _first(self.fall.times_s, self.fall.phase != FallPhase.NORMAL)
        if self.gains is not None:
            now, phase = self.gains.times_s, self.gains.phase
            times["softened_s"] = _first(now, phase == Phase.SOFT)
            done = (phase == Phase.DONE) & (now > times["softened_s"])
            times["restored_s"] = _first(now, done)
        felt = self.impacts_s()
        times["felt_s"] = float(felt[0]) if felt.size else np.nan
        return times

    def impacts_s(self) -> Array:
        """When impacts were felt while falling, s, (k,)."""
        if self.load is None or self.fall is None:
            return np.zeros(0)
        felt = self.load.times_s[self.load.impact]
        at = np.searchsorted(self.fall.times_s, felt, side="right") - 1
        return felt[(at >= 0) & (self.fall.phase[at] != FallPhase.NORMAL)]


def _first(times_s: Array, happened: Booleans) -> float:
    return float(times_s[np.argmax(happened)]) if happened.any() else float("nan")
