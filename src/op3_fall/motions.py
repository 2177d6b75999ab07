# SPDX-License-Identifier: Apache-2.0
"""What a robot does before it falls, or instead: joint targets over time, for n robots at once."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot

__all__ = ["Motion"]

Array = NDArray[np.float64]

LINK_M = 0.11
"""Thigh and shank (models/op3.xml: 0.11015 and 0.11 m)."""
_INDEX = robot.JOINT_INDEX
_SIDES = (("l_", 1.0), ("r_", -1.0))


@dataclass(frozen=True)
class Motion:
    """Targets are `base`, plus a move, plus a swing, plus steps in place; each may be zero."""

    base: Array
    """Angles at the start, rad, (n, 20)."""
    move: Array
    """Change of the angles that the move makes, rad, (n, 20)."""
    move_start_s: Array
    """(n,)."""
    move_s: Array
    """Duration of the move, s; 0 for a step of the goal, (n,)."""
    returns: NDArray[np.bool_]
    """The move goes back and forth instead of staying, (n,)."""
    swing: Array
    """Amplitude of a sine about the rest, rad, (n, 20)."""
    swing_s: Array
    """Its period, s, (n,)."""
    step_height: Array
    """How far a swing foot is lifted, m, (n,)."""
    step_sway: Array
    """How far the hips go to the standing side, m, (n,)."""
    step_s: Array
    """Period of two steps, s, (n,)."""

    @classmethod
    def hold(cls, base: ArrayLike) -> Self:
        """Keep the angles (n, 20), rad."""
        base = np.array(base, dtype=float)
        zeros, ones, still = np.zeros(len(base)), np.ones(len(base)), np.zeros_like(base)
        return cls(
            base=base, move=still, move_start_s=zeros, move_s=ones, returns=zeros.astype(bool),
            swing=still, swing_s=ones, step_height=zeros, step_sway=zeros, step_s=ones,
        )  # fmt: skip

    def take(self, index: ArrayLike) -> Self:
        """The robots at `index`, in that order."""
        rows = np.asarray(index, dtype=np.intp)
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @staticmethod
    def join(parts: "list[Motion]") -> "Motion":
        """One after the other."""
        return Motion(**{
            f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Motion)
        })  # fmt: skip

    def at(self, time_s: Array) -> Array:
        """Targets (n, 20), rad, at `time_s` (n,); within the joints' limits."""
        since = np.maximum(time_s - self.move_start_s, 0.0)
        share = since / np.maximum(self.move_s, 1e-9)
        share = np.where(self.returns, share, np.minimum(share, 1.0))
        eased = (1 - np.cos(np.pi * share)) / 2
        swing = np.sin(2 * np.pi * time_s / self.swing_s)
        target = self.base + eased[:, None] * self.move + swing[:, None] * self.swing
        if self.step_height.any():
            target = target + self._steps(target, time_s)
        return np.clip(target, robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)

    def _steps(self, target: Array, time_s: Array) -> Array:
        """Lift one foot, then the other, while the hips sway to the standing side."""
        phase = 2 * np.pi * time_s / self.step_s
        ramp = np.clip(time_s, 0.0, 1.0)  # the sway builds up, or the first step fells the robot
        roll = -self.step_sway * np.sin(phase) * ramp / (2 * LINK_M)
        change = np.zeros_like(target)
        for side, sign in _SIDES:
            lift = self.step_height * ramp * np.maximum(sign * np.sin(phase), 0.0)
            bent = np.abs(target[:, _INDEX[side + "knee"]]) / 2
            reach = np.cos(bent) - lift / (2 * LINK_M)
            more = np.arccos(np.clip(reach, -1.0, 1.0)) - bent
            more = np.where(self.step_height > 0, more, 0.0)  # arccos(cos(x)) is not quite x
            change[:, _INDEX[side + "hip_pitch"]] -= sign * more
            change[:, _INDEX[side + "knee"]] += sign * 2 * more
            change[:, _INDEX[side + "ank_pitch"]] += sign * more
            for joint in ("hip_roll", "ank_roll"):
                change[:, _INDEX[side + joint]] += roll
        return change
