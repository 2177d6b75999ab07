# SPDX-License-Identifier: Apache-2.0
"""Where the parts of n robots are: MuJoCo's kinematics alone, beside the simulation.

A batch of its own, so that no physics step copies out what only a reset or an observer needs, and
so that positions are those of now: after a step MuJoCo's own are those before it.
"""

import copy

import mjbatch
import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall.end_effectors import collision_corners
from op3_fall.model import Op3Model

__all__ = ["Geometry"]

Array = NDArray[np.float64]
_OFF = mujoco.mjtDisableBit
_KINEMATICS_ONLY = (_OFF.mjDSBL_CONSTRAINT, _OFF.mjDSBL_CONTACT, _OFF.mjDSBL_SENSOR,
                    _OFF.mjDSBL_ACTUATION, _OFF.mjDSBL_SPRING, _OFF.mjDSBL_DAMPER)  # fmt: skip


class Geometry:
    """Positions in the world of up to n robots at a time."""

    def __init__(self, model: Op3Model, n: int, threads: int) -> None:
        """Make room for `n` robots on `threads` threads, 0 for every core."""
        mj = copy.copy(model.mj)
        for flag in _KINEMATICS_ONLY:
            mj.opt.disableflags |= flag
        self._model, self._batch = model, mjbatch.Batch(mj, n, threads)
        self._qpos = self._batch.bind("qpos")
        solid = (mj.geom_contype | mj.geom_conaffinity).astype(bool)
        links = mj.body_rootid == mj.body_rootid[model.torso_id]
        self._solid = np.nonzero(solid & links[mj.geom_bodyid])[0]
        self._corners = collision_corners(mj, self._solid)

    def _forward(self, qpos: Array) -> int:
        k = len(qpos)
        self._qpos[:k] = qpos
        self._batch.forward(np.arange(k))
        return k

    def start_heights(self, orientation: Array, position: Array) -> Array:
        """Height of the torso's origin that puts the lowest corner on the floor, m, (k,).

        Args:
            orientation: attitude wxyz of the torso, (k, 4).
            position: true joint angles, rad, (k, 20).
        """
        qpos = np.zeros((len(position), self._qpos.shape[1]))
        qpos[:, 3:7] = orientation
        qpos[:, self._model.qpos_index] = position
        place, rotation = self._batch.bind("geom_xpos"), self._batch.bind("geom_xmat")
        k = self._forward(qpos)
        up = rotation.reshape(len(rotation), -1, 9)[:k, self._solid, 6:, None]  # third rows
        # Term by term, as in `Physics`.
        above = up[:, :, 0] * self._corners[:, 0]
        for axis in (1, 2):
            above += up[:, :, axis] * self._corners[:, axis]
        return -(place[:k, self._solid, 2, None] + above).min(axis=(1, 2))

    def end_effectors(self, qpos: Array) -> Array:
        """Hands, feet and head of configurations (k, nq) in the world, m, (k, 5, 3)."""
        place, rotation = self._batch.bind("xpos"), self._batch.bind("xmat")
        k, (bodies, points) = self._forward(qpos), self._model.end_effectors
        axes = rotation.reshape(len(rotation), -1, 3, 3)[:k, bodies]
        return place[:k, bodies] + (axes * points[:, None]).sum(axis=-1)
