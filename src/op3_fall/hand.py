# SPDX-License-Identifier: Apache-2.0
"""A hand that lifts robots or tips them over slowly: springs and dampers at the torso."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall.rotations import rotate_inverse

__all__ = ["Hand"]

Array = NDArray[np.float64]

# A firm grip: 3 kg hang 6 cm lower than the hand is, and swing is damped out within 0.2 s.
_STIFFNESS_N_M = 500.0
_DAMPING_NS_M = 60.0
_TURN_STIFFNESS_N_M = 8.0
_TURN_DAMPING_N_M_S = 0.6


@dataclass(frozen=True)
class Hand:
    """One hand a robot; it does nothing where `start_s` is not finite."""

    start_s: Array
    """When it takes hold, s, (n,)."""
    stop_s: Array
    """When it lets go, s, (n,)."""
    lift_m: Array
    """How high it lifts; 0 for a hand that pushes from behind and cannot pull, m, (n,)."""
    speed: Array
    """How fast it goes across the floor, world, m/s, (n, 3)."""
    lean: Array
    """Torso's up axis that it holds the robot at, world, (n, 3)."""

    @classmethod
    def none(cls, n: int) -> Self:
        """Leave n robots alone."""
        never, up = np.full((2, n), np.nan), np.tile([0.0, 0.0, 1.0], (n, 1))
        return cls(never[0], never[1], np.zeros(n), np.zeros((n, 3)), up)

    def take(self, index: ArrayLike) -> Self:
        """The hands at `index`, in that order."""
        rows = np.asarray(index, dtype=np.intp)
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @staticmethod
    def join(parts: "list[Hand]") -> "Hand":
        """One after the other."""
        return Hand(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Hand)))

    def wrench(
        self, time_s: Array, start: Array, position: Array, velocity: Array, orientation: Array,
        angular_velocity: Array,
    ) -> Array:  # fmt: skip
        """Force and torque on the torso, world, N and N m, (n, 6).

        Args:
            time_s: (n,).
            start: where the torso was when the hand took hold, m, (n, 3).
            position: where it is, m, (n, 3).
            velocity: m/s, (n, 3).
            orientation: of the torso, wxyz, (n, 4).
            angular_velocity: in the body, rad/s, (n, 3).
        """
        holds = (time_s >= self.start_s) & (time_s < self.stop_s)
        since = np.where(holds, time_s - self.start_s, 0.0)
        whole = np.where(holds, self.stop_s - self.start_s, 1.0)
        lifts = self.lift_m > 0
        # Up within the first third, down within the last, and down to the floor it stood on.
        height = self.lift_m * _ease(np.minimum(since, whole - since) / (whole / 3))
        goal = start + since[:, None] * self.speed
        goal[:, 2] += height
        force = _STIFFNESS_N_M * (goal - position) + _DAMPING_NS_M * (self.speed - velocity)
        along = self.speed / np.maximum(np.linalg.norm(self.speed, axis=-1, keepdims=True), 1e-9)
        push = np.maximum((force * along).sum(axis=-1, keepdims=True), 0.0) * along
        back = orientation * [1.0, -1.0, -1.0, -1.0]
        up = rotate_inverse(back, np.array([0.0, 0.0, 1.0]))
        torque = _TURN_STIFFNESS_N_M * np.cross(up, self.lean)
        torque -= _TURN_DAMPING_N_M_S * rotate_inverse(back, angular_velocity)
        force = np.where(lifts[:, None], force, push)
        torque = np.where(lifts[:, None], torque, 0.0)
        return np.where(holds[:, None], np.concatenate([force, torque], axis=-1), 0.0)


def _ease(share: Array) -> Array:
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3 - 2 * share)
