# SPDX-License-Identifier: Apache-2.0
"""How far a robot is beyond saving: its capture point against its soles.

A linear inverted pendulum that stands at `p`, at the height `h` above the floor, and moves with
`v` comes to rest only if its foot is at the capture point `p + v sqrt(h / g)` (Pratt et al. 2006).
An OP3 that holds its posture cannot put its feet anywhere: once the capture point is outside of
what its soles span, it falls.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.attitude import Attitude
from op3_fall.kinematics import Stance, find_stance, half_span
from op3_fall.sensors import GRAVITY
from op3_fall.vectors import Vector, across, cross, dot, length, minus, plus, scaled

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
    """How far the capture point is outside of what the soles span, m; negative inside."""
    lean: Array
    """The same of the centre of mass itself, m."""
    speed: Array
    """Of the centre of mass to the side it falls to, m/s."""
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
            share = dt_s / (dt_s + _SMOOTHING_S)
            drifts = (
                _smoothed(before.drifts[0], minus(arms[0], before.arms[0]), share, dt_s),
                _smoothed(before.drifts[1], minus(arms[1], before.arms[1]), share, dt_s),
            )
        down, rate = attitude.down, attitude.rate
        velocity = _slower(
            across(plus(cross(rate, arms[0]), drifts[0]), down),
            across(plus(cross(rate, arms[1]), drifts[1]), down),
        )
        middle = scaled(plus(arms[0], arms[1]), 0.5)
        height = -dot(middle, down)
        level = plus(middle, scaled(down, height))
        time_s = _SWING * (np.maximum(height, _LEAST_HEIGHT_M) / GRAVITY) ** 0.5
        capture = plus(level, scaled(velocity, time_s))
        reach = length(capture)
        toward = scaled(capture, 1 / (reach + 1e-9))
        # From the middle to the left sole, along that side.
        aside = dot(minus(arms[1], arms[0]), toward) / 2
        span = np.maximum(
            half_span(left_sole, toward) + aside, half_span(right_sole, toward) - aside
        )
        return cls(
            stance, arms, drifts, reach - span, dot(level, toward) - span,
            dot(velocity, toward), height, toward,
        )  # fmt: skip


def _smoothed(drift: Vector, change: Vector, share: Array, dt_s: Array) -> Vector:
    return plus(drift, scaled(minus(scaled(change, 1 / dt_s), drift), share))


def _slower(a: Vector, b: Vector) -> Vector:
    """Of the velocities against either sole the smaller: a foot that swings or slips says none."""
    first = dot(a, a) < dot(b, b)
    return plus(scaled(a, first), scaled(b, ~first))
