# SPDX-License-Identifier: Apache-2.0
"""Hands, feet and head of any MJCF of the OP3, as points that move with its links."""

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

__all__ = ["END_EFFECTORS", "EndEffectors", "collision_corners", "find_end_effectors"]

Array = NDArray[np.float64]

END_EFFECTORS = ("l_hand", "r_hand", "l_foot", "r_foot", "head")
_CORNERS = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8)


class EndEffectors(NamedTuple):
    """Points in the order of `END_EFFECTORS`."""

    bodies: NDArray[np.intp]
    """The link that carries each, (5,)."""
    points: Array
    """Where in the link's frame, m, (5, 3)."""


def collision_corners(mj: mujoco.MjModel, geoms: NDArray[np.intp]) -> Array:
    """Corners of the bounding boxes of `geoms` (m,) in the geoms' frames, m, (m, 3, 8)."""
    return mj.geom_aabb[geoms, :3, None] + mj.geom_aabb[geoms, 3:, None] * _CORNERS


def find_end_effectors(mj: mujoco.MjModel, torso: int) -> EndEffectors:
    """The end effectors of a model, from its shapes at zero angles, the body `torso` upright.

    A hand is the middle of the far face of the forearm's bounding box, seen from the elbow; a
    foot the middle of its sole; the head the centre of mass of the link that head_tilt moves. A
    link without collision shapes has it at its joint.
    """
    data = mujoco.MjData(mj)
    base = int(mj.jnt_qposadr[mj.body_jntadr[torso]])
    data.qpos[:] = 0
    data.qpos[base + 3] = 1
    mujoco.mj_kinematics(mj, data)
    names = ("l_el", "r_el", "l_ank_roll", "r_ank_roll", "head_tilt")
    joints = [mj.joint(name).id for name in names]
    bodies = mj.jnt_bodyid[joints].astype(np.intp)
    places = [
        *(_hand(_box(mj, data, int(mj.jnt_bodyid[j])), data.xanchor[j]) for j in joints[:2]),
        *(_sole(_box(mj, data, int(mj.jnt_bodyid[j]))) for j in joints[2:4]),
        data.xipos[bodies[4]],
    ]
    rotations = data.xmat[bodies].reshape(-1, 3, 3)
    points = np.einsum("eji,ej->ei", rotations, np.array(places) - data.xpos[bodies])
    return EndEffectors(bodies, points)


def _box(mj: mujoco.MjModel, data: mujoco.MjData, body: int) -> Array:
    """Lowest and highest corner of a link's collision shapes in the world, m, (2, 3)."""
    solid = (mj.geom_contype | mj.geom_conaffinity).astype(bool)
    geoms = np.nonzero(solid & (mj.geom_bodyid == body))[0]
    if not geoms.size:
        return np.tile(data.xpos[body], (2, 1))
    rotations = data.geom_xmat[geoms].reshape(-1, 3, 3)
    corners = data.geom_xpos[geoms, :, None] + rotations @ collision_corners(mj, geoms)
    return np.stack([corners.min(axis=(0, 2)), corners.max(axis=(0, 2))])


def _hand(box: Array, elbow: Array) -> Array:
    middle = box.mean(axis=0)
    axis = int(np.argmax(np.abs(middle - elbow)))
    middle[axis] = box[int(middle[axis] > elbow[axis]), axis]
    return middle


def _sole(box: Array) -> Array:
    return np.append(box.mean(axis=0)[:2], box[0, 2])
