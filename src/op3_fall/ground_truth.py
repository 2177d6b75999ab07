# SPDX-License-Identifier: Apache-2.0
"""What only a simulator knows of its n robots now: true motion of torso and joints, the floor.

All in the world's frame unless said otherwise; its z is the floor's normal.
"""

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.physics import Physics
from op3_fall.rotations import gravity_in_body

__all__ = ["GroundTruth"]

_NO_FEET = [i for i, part in enumerate(robot.PARTS) if not part.endswith("_foot")]

Array = NDArray[np.float64]


class GroundTruth:
    """Base of the simulation: what can be read off its physics, as copies."""

    physics: Physics

    @property
    def torso_gravity(self) -> Array:
        """Unit vector pointing down, in the torso's frame, (n, 3): ground truth."""
        return gravity_in_body(self.physics.qpos[:, 3:7], self.physics.variation.down)

    @property
    def torso_position(self) -> Array:
        """The torso's origin in the world, m, (n, 3)."""
        return self.physics.qpos[:, :3].copy()

    @property
    def torso_velocity(self) -> Array:
        """Velocity of the torso's origin in the world, m/s, (n, 3)."""
        return self.physics.torso_velocity

    @property
    def torso_orientation(self) -> Array:
        """Attitude wxyz of the torso in the world, whose z is the floor's normal, (n, 4)."""
        return self.physics.qpos[:, 3:7].copy()

    @property
    def torso_angular_velocity(self) -> Array:
        """Angular velocity of the torso in its own frame, rad/s, (n, 3)."""
        return self.physics.qvel[:, 3:6].copy()

    @property
    def true_joints(self) -> Array:
        """Joint angles without what the encoders get wrong, rad, (n, 20)."""
        return self.physics.joints[0]

    @property
    def end_effectors(self) -> Array:
        """Places of hands, feet and head in the world now, m, (n, 5, 3).

        In the order of `END_EFFECTORS`. It takes a kinematics run of every robot.
        """
        return self.physics.geometry.end_effectors(self.physics.qpos)

    @property
    def floor_forces(self) -> Array:
        """Size of the floor's force on each part of `robot.PARTS` now, N, (n, 14)."""
        return self.physics.floor_force

    @property
    def body_floor_force(self) -> Array:
        """Sum of the floor's forces on the parts other than the feet now, N, 0 if none, (n,)."""
        # Part after part: ndarray.sum takes another order for one simulation than for many.
        return sum(self.physics.floor_force[:, _NO_FEET].T, start=np.zeros(len(self.physics.qpos)))
