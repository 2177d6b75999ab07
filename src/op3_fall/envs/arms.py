# SPDX-License-Identifier: Apache-2.0
"""Falls to the front, met with the arms."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from op3_fall.action import act_joint, act_kp
from op3_fall.blocks import Block
from op3_fall.envs.op3_fall_control import Op3FallControlEnv
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.rewards import fall_terms, weighted
from op3_fall.envs.vector import Op3FallControlVectorEnv
from op3_fall.observation import (
    angular_velocity,
    gravity,
    last_action,
    obs_fall_vel,
    obs_joint,
    obs_kp,
    phase,
)
from op3_fall.robot import ARMS

__all__ = ["Op3FallControlArms", "Op3FallControlArmsVector"]


class Op3FallControlArms(Op3FallControlEnv):
    """The arms catch a fall to the front; head and legs stay where the fall found them."""

    curriculum_file = "arms.yaml"

    def observation_blocks(self) -> tuple[Block, ...]:
        """The arms, how the robot lies and turns, how the fall stands."""
        return (
            obs_joint(ARMS, torque_load=self.effort),
            obs_kp(ARMS),
            gravity(),
            angular_velocity(),
            obs_fall_vel(),
            phase(),
            last_action(self.actions),
        )

    def action_blocks(self) -> tuple[Block, ...]:
        """Goal and stiffness of each arm joint."""
        return (act_joint(ARMS), act_kp(ARMS))

    def compute_reward(self, outcome: Outcome) -> Mapping[str, NDArray[np.float64]]:
        """Get the arms into the protective pose, then spare head, parts, gears and servos."""
        return weighted(fall_terms(outcome, self.reward), self.reward.weights)


class Op3FallControlArmsVector(Op3FallControlVectorEnv):
    """Many of them."""

    env_class = Op3FallControlArms
