# SPDX-License-Identifier: Apache-2.0
"""How far a robot is beyond saving: its capture point against its soles.

A linear inverted pendulum that stands at `p`, at the height `h` above the floor, and moves with
`v` comes to rest only if its foot is at the capture point `p + v sqrt(h / g)` (Pratt et al. 2006).
An OP3 that holds its posture cannot put its feet anywhere: once the capture point is outside of
what its soles span, it falls.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.attitude import Attitude
from op3_fall.kinematics import Stance, find_stance, half_span
from op3_fall.sensors import GRAVITY
from op3_fall.vectors import Vector, across, cross, dot, larger, light, minus, plus, scaled, unit

__all__ = ["Balance"]

Array = NDArray[np.float64]

_LEAST_HEIGHT_M = 0.08
"""A robot that lies has its centre of mass no lower."""
_SWING = 1.15
"""A body that tips over an edge swings slower than a point mass: sqrt(1 + (inertia / m h^2))."""
_SMOOTHING_S = 0.02
"""The encoders' 1.5 mrad make 5 cm/s of noise in one cycle; this leaves 1 cm/s."""


class Balance(NamedTuple):
    """Of robots with the shape of the components."""

    stance: Stance
    """What stands on what."""
    arms: tuple[Vector, Vector]
    """From the left and the right sole to the centre of mass, torso's frame, m."""
    drifts: tuple[Vector, Vector]
    """How fast the joints change them, m/s, smoothed."""
    margin: Array
    """How far the capture point is beyond the edges of what the soles span, along or across the
    feet, m; negative inside."""
    level: Vector
    """From the middle between the soles to the centre of mass, horizontal part, m."""
    velocity: Vector
    """Of the centre of mass against the soles, horizontal part, m/s."""
    height: Array
    """Of the centre of mass above the soles, m."""
    toward: Vector
    """Horizontal unit vector to the side it falls to, torso's frame."""

    @classmethod
    def of(
        cls, position: Array, attitude: Attitude, before: "Balance | None", dt_s: Array
    ) -> "Balance":
        """From joint angles (..., 20), rad; `before` is from the reading `dt_s` earlier."""
        stance = find_stance(position)
        left_sole, right_sole = stance.soles
        arms = minus(stance.com, left_sole.centre), minus(stance.com, right_sole.centre)
        if before is None:
            drifts = scaled(arms[0], 0.0), scaled(arms[1], 0.0)
        else:
            step: Any = np.float32(dt_s) if np.ndim(dt_s) else float(dt_s)
            share = step / (step + _SMOOTHING_S)
            drifts = (
                _smoothed(before.drifts[0], minus(arms[0], before.arms[0]), share, step),
                _smoothed(before.drifts[1], minus(arms[1], before.arms[1]), share, step),
            )
        down, rate = (light(v) for v in (attitude.down, attitude.rate))
        velocity = _slower(
            across(plus(cross(rate, arms[0]), drifts[0]), down),
            across(plus(cross(rate, arms[1]), drifts[1]), down),
        )
        middle = scaled(plus(arms[0], arms[1]), 0.5)
        height = -dot(middle, down)
        level = plus(middle, scaled(down, height))
        time_s = _SWING * (larger(height, _LEAST_HEIGHT_M) / GRAVITY) ** 0.5
        capture = plus(level, scaled(velocity, time_s))
        toward = unit(capture)
        ahead = unit(across(plus(left_sole.forward, right_sole.forward), down))
        apart = scaled(minus(arms[1], arms[0]), 0.5)  # from the middle to the left sole
        margin = larger(
            _beyond(stance, apart, capture, ahead),
            _beyond(stance, apart, capture, cross(ahead, down)),
        )
        return cls(stance, arms, drifts, margin, level, velocity, height, toward)

    @property
    def speed(self) -> Array:
        """Of the centre of mass to the side it falls to, m/s."""
        return dot(self.velocity, self.toward)

    @property
    def lean(self) -> Array:
        """How far the centre of mass is outside of what the soles span, m."""
        apart = scaled(minus(self.arms[1], self.arms[0]), 0.5)
        return dot(self.level, self.toward) - _spans(self.stance, apart, self.toward)[0]


def _spans(stance: Stance, apart: Vector, axis: Vector) -> tuple[Array, Array]:
    """How far the soles reach from their middle along a unit vector and against it, m."""
    left, right = (half_span(sole, axis) for sole in stance.soles)
    aside = dot(apart, axis)
    return larger(left + aside, right - aside), larger(left - aside, right + aside)


def _beyond(stance: Stance, apart: Vector, point: Vector, axis: Vector) -> Array:
    """How far a point, from the soles' middle, is beyond what they span along an axis, m."""
    there, back = _spans(stance, apart, axis)
    along = dot(point, axis)
    return larger(along - there, -along - back)


def _smoothed(drift: Vector, change: Vector, share: Array, dt_s: Array) -> Vector:
    return plus(drift, scaled(minus(scaled(change, 1 / dt_s), drift), share))


def _slower(a: Vector, b: Vector) -> Vector:
    """Of the velocities against either sole the smaller: a foot that swings or slips says none."""
    return plus(b, scaled(minus(a, b), dot(a, a) < dot(b, b)))
