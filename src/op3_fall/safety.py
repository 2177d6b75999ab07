# SPDX-License-Identifier: Apache-2.0
"""The last gate before a command leaves: targets and gains.

With it, under one name, what tells whether any may leave: `SensorGuard` and `EStop`.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.estop import EStop, EStopState
from op3_fall.gain_writer import Registers
from op3_fall.safety_config import SafetyConfig
from op3_fall.sensor_guard import Health, Level, SensorGuard

__all__ = ["EStop", "EStopState", "Health", "Level", "SafetyConfig", "SensorGuard", "TargetGuard",
           "guard_gains"]  # fmt: skip

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LONGEST_STEP_S = 0.02
"""A target that comes late may go no further than one that comes in time."""


def _joints(mask: Mask) -> str:
    return ", ".join(np.array(robot.JOINTS)[mask.reshape(-1, robot.NUM_JOINTS).any(axis=0)])


class TargetGuard:
    """Lets goal angles through that are numbers, within the limits and not too far away."""

    def __init__(self, config: SafetyConfig) -> None:
        """Know no pose yet."""
        self._config = config
        self._safe: Array | None = None

    def start(self, measured: ArrayLike) -> Array:
        """The first target: the measured pose (..., 20), rad, even where it is beyond a limit.

        Raises:
            BadInputError: an angle is not finite.
        """
        pose = np.array(measured, dtype=float)
        if not np.isfinite(pose).all():
            raise BadInputError(
                f"measured angle of {_joints(~np.isfinite(pose))} is not finite; allowed are "
                "finite angles; check the joint states"
            )
        self._safe = pose
        return pose.copy()

    def step(
        self, target: ArrayLike, measured: ArrayLike, dt_s: float
    ) -> tuple[Array, tuple[str, ...]]:
        """The target that may leave, and what was changed.

        A robot with a target that is not finite keeps all its last targets. Targets beyond the
        joint limits are clamped; none goes further from the last one than its speed allows,
        which goes without saying: a scripted policy asks for its whole pose at once.

        Args:
            target: wanted angles (..., 20), rad.
            measured: angles (..., 20), rad; the answer to a first step without `start`.
            dt_s: time since the last target; a longer one than 20 ms counts as 20 ms.

        Raises:
            BadInputError: `measured` is needed and not finite.
        """
        if self._safe is None:
            return self.start(measured), ()
        last, wanted = self._safe, np.asarray(target, dtype=float)
        clamped = _limited(wanted, robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)
        notes: tuple[str, ...] = ()
        if not (clamped == wanted).all():
            finite = np.isfinite(wanted)
            refused = ~finite.all(axis=-1, keepdims=True)
            notes = _target_notes(finite, np.where(refused, 0.0, np.abs(wanted - clamped)))
            clamped = np.where(refused, last, clamped)
        step = self._config.max_target_speed_rad_s * _usable_dt(dt_s)
        self._safe = last + _limited(clamped - last, -step, step)
        return self._safe.copy(), notes


def _limited(values: Array, low: ArrayLike, high: ArrayLike) -> Array:
    # Not np.clip: it costs three times as much on 20 numbers.
    return np.minimum(np.maximum(values, low), high)


def _usable_dt(dt_s: float) -> float:
    return min(max(dt_s, 0.0), LONGEST_STEP_S) if not math.isnan(dt_s) else 0.0


def _target_notes(finite: Mask, excess: Array) -> tuple[str, ...]:
    notes = []
    if not finite.all():
        notes.append(
            f"target of {_joints(~finite)} is not finite; allowed are finite angles; "
            "the last targets are held"
        )
    if excess.any():
        notes.append(
            f"target of {_joints(excess > 0)} is up to {excess.max():.3g} rad beyond a joint "
            "limit; allowed is none; it was clamped"
        )
    return tuple(notes)


def guard_gains(
    wanted: Registers, held: Registers, *, lowest_p: int
) -> tuple[Registers, tuple[str, ...]]:
    """Registers (..., 20) that may leave, and what was changed.

    Args:
        wanted: of any numeric type; if one value is not finite, all of `held` is kept.
        held: the registers that were let through last.
        lowest_p: P below which a joint no longer holds its own link.
    """
    values = np.array(wanted, dtype=float)
    low, high = _register_ends(lowest_p, values.ndim)
    outside = ~((values >= low) & (values <= high))
    if not outside.any():
        return Registers(*np.rint(values).astype(np.int64)), ()
    if not np.isfinite(values).all():
        note = "gain is not finite; allowed are finite registers; the last gains are held"
        return held, (note,)
    notes = tuple(
        f"{name} is {register[wrong][0]:g}; allowed is {least:.0f} to {most:.0f}; it was clamped"
        for name, register, wrong, least, most in zip(
            Registers._fields, values, outside, low.ravel(), high.ravel(), strict=True
        )
        if wrong.any()
    )
    return Registers(*_limited(np.rint(values), low, high).astype(np.int64)), notes


@cache
def _register_ends(lowest_p: int, ndim: int) -> tuple[Array, Array]:
    """Least and most of each register, (4, 1, ...)."""
    low = [lowest_p if name == "position_p_gain" else 0 for name in Registers._fields]
    high = [
        robot.Servo.MAX_PWM if name == "goal_pwm" else robot.Servo.MAX_GAIN
        for name in Registers._fields
    ]
    shape = (-1,) + (1,) * (ndim - 1)
    return np.array(low, dtype=float).reshape(shape), np.array(high, dtype=float).reshape(shape)
