# SPDX-License-Identifier: Apache-2.0
"""Protective motions: what to do in a fall to each side, as two poses and when to go soft.

The first pose is driven to on the alarm, the second from a tilt of the body on: who shall land on
the seat first has to bend the hips while falling. What follows depends on the latest estimate
alone, so a network without memory can learn it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.compliance import STIFFNESS_RANGE
from op3_fall.errors import BadInputError, check_choice, check_range
from op3_fall.fall_detection import FallPhase
from op3_fall.signals import FallEstimate

__all__ = ["DIRECTIONS", "SYMMETRIC", "Motion", "ProtectiveMotions"]

Array = NDArray[np.float64]

DIRECTIONS = ("front", "front_left", "left", "back_left", "back")
"""Of falls, an eighth of a turn from one to the next; those to the right are mirror images."""
SYMMETRIC = ("front", "back")
"""What is done there is its own mirror image."""
_SWITCH_RAD = 0.2
"""Over so much tilt the first pose turns into the second."""
_SOFTEN_RAD = 0.1
"""Over so much tilt the stiffness changes."""
_TILT_RANGE = (0.0, np.pi)
_ROUNDING = 1e-6
"""By how much limits and symmetry may be missed, rad."""
_STAND = robot.POSES["stand"]
_ARMS = np.isin(robot.JOINTS, robot.ARMS)
_LEGS = np.isin(robot.JOINTS, robot.LEGS)


@dataclass(frozen=True)
class Motion:
    """What to do in a fall to one side; fields of several motions stack along a first axis."""

    early: Array
    """First pose, rad, (..., 20)."""
    landing: Array
    """Second pose, rad, (..., 20)."""
    landing_tilt_rad: Array
    """Tilt half-way between the poses, rad, (...)."""
    soft_tilt_rad: Array
    """Tilt at which the stiffness of the fall becomes that of the landing, rad, (...)."""
    arms: Array
    """Stiffness scales of the arms in the fall, for the landing, after the contact, (..., 3)."""
    legs: Array
    """The same of the legs; the head keeps its stiffness, (..., 3)."""

    @property
    def mirrored(self) -> "Motion":
        """What to do in a fall to the other side."""
        return Motion(
            robot.mirror_joints(self.early), robot.mirror_joints(self.landing),
            self.landing_tilt_rad, self.soft_tilt_rad, self.arms, self.legs,
        )  # fmt: skip

    @property
    def arms_only(self) -> "Motion":
        """The same with legs and head that stand as they did, stiffly."""
        early, landing = (np.where(_ARMS, p, _STAND) for p in (self.early, self.landing))
        return replace(self, early=early, landing=landing, legs=np.ones_like(self.legs))

    def targets(self, fall: FallEstimate) -> tuple[Array, Array]:
        """Goal angles, rad, and stiffness scales, (..., 20) each, in falls (...) to this side."""
        late = _ramp(fall.tilt, self.landing_tilt_rad, _SWITCH_RAD)
        position = self.early + late * (self.landing - self.early)
        soft = _ramp(fall.tilt, self.soft_tilt_rad, _SOFTEN_RAD)
        hit = (fall.phase >= FallPhase.IMPACT)[..., None]
        stiffness = np.ones(position.shape)
        for joints, scale in ((_ARMS, self.arms), (_LEGS, self.legs)):
            before = scale[..., :1] + soft * (scale[..., 1:2] - scale[..., :1])
            stiffness = np.where(joints, np.where(hit, scale[..., 2:], before), stiffness)
        return position, stiffness


def _ramp(value: Array, middle: Array, width: float) -> Array:
    """From 0 to 1 around the middle, (..., 1)."""
    return np.clip((value - middle) / width + 0.5, 0.0, 1.0)[..., None]


def _check(name: str, motion: Motion) -> None:
    """Refuse what the robot cannot do."""
    limits = robot.LOWER_LIMIT_RAD - _ROUNDING, robot.UPPER_LIMIT_RAD + _ROUNDING
    ranges = dict.fromkeys(("early", "landing"), limits)
    ranges |= dict.fromkeys(("landing_tilt_rad", "soft_tilt_rad"), _TILT_RANGE)
    ranges |= dict.fromkeys(("arms", "legs"), STIFFNESS_RANGE)
    for entry, (low, high) in ranges.items():
        values, low, high = np.broadcast_arrays(np.atleast_1d(getattr(motion, entry)), low, high)
        bad = np.argwhere(~((values >= low) & (values <= high)))
        if len(bad):
            first = tuple(bad[0])
            which = f" of {robot.JOINTS[first[-1]]}" if entry in ("early", "landing") else ""
            value, least, most = (float(ends[first]) for ends in (values, low, high))
            check_range(f"{name}: {entry}{which}", value, least, most)
    if name in SYMMETRIC:
        for entry in ("early", "landing"):
            angles = getattr(motion, entry)
            apart = float(np.abs(robot.mirror_joints(angles) - angles).max())
            check_range(f"{name}: asymmetry of {entry}", apart, 0.0, _ROUNDING, unit="rad")


class ProtectiveMotions:
    """Motions for falls to all sides; between two directions what lies between their motions."""

    def __init__(self, motions: Mapping[str, Motion]) -> None:
        """Take the motions by direction; their fields may differ from robot to robot, (n, ...).

        Raises:
            BadInputError: a direction is unknown or missing, a value is out of its range, or the
                motion to the front or back is not its own mirror image.
        """
        for name in motions:
            check_choice("direction", name, DIRECTIONS, remedy="correct the name")
        for name in DIRECTIONS:
            if name not in motions:
                raise BadInputError(
                    f"protective motions have no '{name}'; allowed are {', '.join(DIRECTIONS)}, "
                    "each once; add it"
                )
            _check(name, motions[name])
        self.by_direction = dict(motions)

    def replaced(self, direction: str, motion: Motion) -> "ProtectiveMotions":
        """The same with another motion for falls to that side.

        Raises:
            BadInputError: as when they are made.
        """
        return ProtectiveMotions(self.by_direction | {direction: motion})

    @cached_property
    def _around(self) -> dict[str, Array]:
        """Fields of the motions, clockwise from the front as in `FallEstimate`, (8, ...).

        (8, n, ...) if the motions differ from robot to robot.
        """
        left = [self.by_direction[name] for name in DIRECTIONS]
        right = [motion.mirrored for motion in left[1:-1]]
        all_ = [left[0], *right, left[-1], *reversed(left[1:-1])]
        return {
            f.name: np.stack(np.broadcast_arrays(*(getattr(m, f.name) for m in all_)))
            for f in fields(Motion)
        }

    def motion(self, fall_angle: Array) -> Motion:
        """What to do in falls to these sides, rad, (...)."""
        sectors, *each = self._around["landing_tilt_rad"].shape
        place = np.mod(fall_angle / (2 * np.pi) * sectors, sectors)
        first = np.floor(place).astype(int) % sectors
        share = place - np.floor(place)

        mine = [np.arange(n) for n in each]

        def between(values: Array) -> Array:
            start, end = (values[(at, *mine)] for at in (first, (first + 1) % sectors))
            weight = np.reshape(share, (*np.shape(share), *(1,) * (start.ndim - np.ndim(share))))
            return start + weight * (end - start)

        mixed: dict[str, Any] = {name: between(values) for name, values in self._around.items()}
        return Motion(**mixed)

    def targets(self, fall: FallEstimate) -> tuple[Array, Array]:
        """Goal angles, rad, and stiffness scales, (..., 20) each, in falls (...)."""
        return self.motion(np.asarray(fall.fall_angle)).targets(fall)
