# SPDX-License-Identifier: Apache-2.0
"""Falls to all sides, met with arms and legs."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from op3_fall.action import act_joint, act_kp
from op3_fall.blocks import Block
from op3_fall.envs.op3_fall_control import Op3FallControlEnv
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.rewards import fall_terms, weighted
from op3_fall.envs.vector import Op3FallControlVectorEnv
from op3_fall.observation import (
    FallAngle,
    angular_velocity,
    gravity,
    last_action,
    obs_fall_angle_discrete,
    obs_fall_vel,
    obs_joint,
    obs_kp,
    phase,
)
from op3_fall.robot import ARMS, LEGS

__all__ = ["Op3FallControlArmsLegs", "Op3FallControlArmsLegsVector"]


class Op3FallControlArmsLegs(Op3FallControlEnv):
    """Arms and legs meet a fall to any side; the head stays where the fall found it."""

    curriculum_file = "arms_legs.yaml"
    joints: ClassVar[tuple[str, ...]] = (*ARMS, *LEGS)
    """Those that a policy sees and moves."""

    def observation_blocks(self) -> tuple[Block, ...]:
        """These joints, how the robot lies and turns, where the fall goes and how it stands."""
        return (
            obs_joint(self.joints, torque_load=self.effort),
            obs_kp(self.joints),
            gravity(),
            angular_velocity(),
            obs_fall_vel(),
            # Sectors, since an angle jumps from pi to -pi in a fall to the back.
            obs_fall_angle_discrete(FallAngle.EIGHT),
            phase(),
            last_action(self.actions),
        )

    def action_blocks(self) -> tuple[Block, ...]:
        """Goal and stiffness of each of these joints."""
        return (act_joint(self.joints), act_kp(self.joints))

    def compute_reward(self, outcome: Outcome) -> Mapping[str, NDArray[np.float64]]:
        """Get the arms into the protective pose, then spare head, parts, gears and servos."""
        return weighted(fall_terms(outcome, self.reward), self.reward.weights)


class Op3FallControlArmsLegsVector(Op3FallControlVectorEnv):
    """Many of them."""

    env_class = Op3FallControlArmsLegs
