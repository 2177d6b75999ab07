# SPDX-License-Identifier: Apache-2.0
"""What the critic sees beside the policy's observation: ground truth that no real robot has.

A critic only judges falls while training goes on, so it may know more than the robot. All of it
is the robot's own view (torso frame, height above the floor), so that its mirror image is that of
the policy's observation.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.envs.batch import FallBatch
from op3_fall.envs.rewards import GEAR_LOAD_N_M, HEAD_ACCELERATION, TORQUE_LOAD_N_M
from op3_fall.rotations import rotate_inverse

__all__ = ["INDEX", "LENGTH", "SIGN", "privileged"]

Array = NDArray[np.float64]

_FORCE_N = 10.0
"""Floor forces go in by their logarithm, which tells this from nothing."""
_LONGEST_S = 1.0
"""After the first contact; later it is over."""
_PARTS = np.array([
    robot.PARTS.index({"l_": "r_", "r_": "l_"}.get(part[:2], part[:2]) + part[2:])
    for part in robot.PARTS
])  # fmt: skip
_ANGLES = (robot.MIRROR_INDEX, robot.MIRROR_SIGN)
_SIZES = (robot.MIRROR_INDEX, np.ones(robot.NUM_JOINTS))
_PER_PART = (_PARTS, np.ones(len(_PARTS)))
_SCALAR = (np.arange(1), np.ones(1))
_VECTOR = (np.arange(3), np.array([1.0, -1.0, 1.0]))
_PSEUDOVECTOR = (np.arange(3), np.array([-1.0, 1.0, -1.0]))
_MIRRORS: Mapping[str, tuple[NDArray[np.intp], Array]] = {
    "angle": _ANGLES, "velocity": _ANGLES, "torque": _ANGLES, "gear_load": _SIZES,
    "floor_force": _PER_PART, "peak_floor_force": _PER_PART,
    "gravity": _VECTOR, "floor_normal": _VECTOR, "torso_velocity": _VECTOR,
    "torso_angular_velocity": _PSEUDOVECTOR, "height": _SCALAR, "head_speed": _SCALAR,
    "head_acceleration": _SCALAR, "torque_load": _SCALAR, "acting": _SCALAR, "hit": _SCALAR,
    "head_hit": _SCALAR, "since_hit": _SCALAR, "time": _SCALAR,
}  # fmt: skip
"""Of each value: where its mirror image comes from, and the sign that it gets."""

_STARTS = np.cumsum([0, *(len(index) for index, _ in _MIRRORS.values())])
INDEX: NDArray[np.intp] = np.concatenate(
    [start + index for start, (index, _) in zip(_STARTS, _MIRRORS.values(), strict=False)]
)
"""Place from which each mirrored value comes, (LENGTH,)."""
SIGN: Array = np.concatenate([sign for _, sign in _MIRRORS.values()])
"""What it is multiplied by, (LENGTH,)."""
LENGTH = len(INDEX)
"""Values of a robot."""


def privileged(batch: FallBatch, acting: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Ground truth of n robots, (n, LENGTH), finite; each value of the order of 1.

    Args:
        batch: after a reset or step.
        acting: whose next action takes effect, (n,).
    """
    simulation, truth = batch.simulation, batch.truth
    angle, velocity = simulation.physics.joints
    quaternion, peak = simulation.torso_orientation, truth.impact_peak
    since_s = np.where(truth.hit, truth.time_s - np.nan_to_num(truth.impact_s), 0.0)
    values = {
        "angle": angle,
        "velocity": velocity / 10,
        "torque": simulation.physics.torque,
        "gear_load": peak.gear_load / GEAR_LOAD_N_M,
        "floor_force": np.log1p(simulation.floor_forces / _FORCE_N),
        "peak_floor_force": np.log1p(peak.floor_force / _FORCE_N),
        "gravity": simulation.torso_gravity,
        "floor_normal": rotate_inverse(quaternion, (0.0, 0.0, 1.0)),
        "torso_velocity": rotate_inverse(quaternion, simulation.torso_velocity),
        "torso_angular_velocity": simulation.torso_angular_velocity / 10,
        "height": simulation.torso_position[:, 2],
        "head_speed": truth.head_speed,
        "head_acceleration": peak.head_acceleration / HEAD_ACCELERATION,
        "torque_load": peak.torque_load / TORQUE_LOAD_N_M,
        "acting": acting,
        "hit": truth.hit,
        "head_hit": np.isfinite(truth.head_contact_speed),
        "since_hit": np.minimum(since_s, _LONGEST_S),
        "time": truth.time_s,
    }
    n = len(angle)
    columns = [np.reshape(values[name], (n, -1)).astype(np.float32) for name in _MIRRORS]
    # A robot whose physics broke down may hold what is no number, or a huge one.
    return np.clip(np.nan_to_num(np.concatenate(columns, axis=-1), nan=0.0), -100.0, 100.0)
