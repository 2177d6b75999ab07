# SPDX-License-Identifier: Apache-2.0
"""Protective motions for tests: any that the robot can do."""

import numpy as np

from op3_fall import robot
from op3_fall.compliance import STIFFNESS_RANGE
from op3_fall.protective import DIRECTIONS, SYMMETRIC, Motion, ProtectiveMotions

_HALF = (robot.UPPER_LIMIT_RAD - robot.LOWER_LIMIT_RAD) / 2
_MIDDLE = (robot.UPPER_LIMIT_RAD + robot.LOWER_LIMIT_RAD) / 2


def motion(seed: int, direction: str) -> Motion:
    """For falls to that side; about a joint in four is at its limit."""
    rng = np.random.default_rng([seed, DIRECTIONS.index(direction)])
    poses = _MIDDLE + _HALF * np.clip(rng.uniform(-1.3, 1.3, (2, 20)), -1, 1)
    if direction in SYMMETRIC:
        poses = (poses + robot.mirror_joints(poses)) / 2
    tilts, scales = rng.uniform(0.3, 1.3, 2), rng.uniform(*STIFFNESS_RANGE, (2, 3))
    return Motion(*poses, *tilts, *scales)


def motions(seed: int) -> ProtectiveMotions:
    """For falls to all sides."""
    return ProtectiveMotions({name: motion(seed, name) for name in DIRECTIONS})
