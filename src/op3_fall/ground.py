# SPDX-License-Identifier: Apache-2.0
"""The ground of a model: its floor, and bumps that each simulation may have elsewhere."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall.scenarios import BUMP_HALF_LENGTH_M, BUMP_HEIGHT_M, BUMPS

__all__ = ["FLOOR", "add_bumps", "find_bumps", "name_floor"]

FLOOR = "floor"
_PARKED_M = -100.0
_BUMP = "op3_fall_bump_"
_LIKE_THE_FLOOR = ("contype", "conaffinity", "condim", "priority", "friction", "solmix", "solref",
                   "solimp", "margin", "gap", "group")  # fmt: skip
_QUATERNION = mujoco.mjtOrientation.mjORIENTATION_QUAT


def name_floor(spec: mujoco.MjSpec) -> None:
    """Name the ground plane, or add one; a wall that is a plane too is not the ground."""
    for geom in spec.geoms:
        if geom.name == FLOOR and geom.type != mujoco.mjtGeom.mjGEOM_PLANE:
            geom.name = "floor_of_the_file"
    planes = [g for g in spec.worldbody.geoms if g.type == mujoco.mjtGeom.mjGEOM_PLANE]
    level = [g for g in planes if np.allclose(g.quat[1:3], 0) and g.alt.type == _QUATERNION]
    if level or planes:
        (level or planes)[0].name = FLOOR
    else:
        plane = mujoco.mjtGeom.mjGEOM_PLANE
        spec.worldbody.add_geom(name=FLOOR, type=plane, size=[0, 0, 0.05])


def add_bumps(spec: mujoco.MjSpec) -> None:
    """Put `BUMPS` lying capsules like the floor's far below it, to be moved at run time.

    The middle of one that lies on the floor is level with it, so a ridge as high as the radius
    stands out. Without midphase, since that goes by bounding boxes from before a move.
    """
    floor = spec.geom(FLOOR)
    for k in range(BUMPS):
        spec.worldbody.add_geom(
            name=f"{_BUMP}{k}",
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            size=[BUMP_HEIGHT_M, BUMP_HALF_LENGTH_M, 0],
            pos=[0, 0, _PARKED_M],
            quat=np.sqrt([0.5, 0, 0.5, 0]),
            rgba=[0.45, 0.35, 0.25, 1],
            **{name: getattr(floor, name) for name in _LIKE_THE_FLOOR},
        )
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE


def find_bumps(mj: mujoco.MjModel) -> NDArray[np.intp]:
    """Geoms of the bumps, (BUMPS,); (0,) of a model without."""
    names = [mj.geom(geom).name for geom in range(mj.ngeom)]
    return np.array([i for i, name in enumerate(names) if name.startswith(_BUMP)], dtype=np.intp)
