# SPDX-License-Identifier: Apache-2.0
"""Gymnasium environments around the falling OP3; importing this registers them.

import gymnasium
import op3_fall.envs

env = gymnasium.make("envs/Op3FallControl-v0")
many = gymnasium.make_vec("envs/Op3FallControl-v0", num_envs=256)
"""

import gymnasium

from op3_fall.action import act_joint, act_kd, act_kd_rel, act_kp, act_kp_rel
from op3_fall.envs.arms import Op3FallControlArms, Op3FallControlArmsVector
from op3_fall.envs.arms_legs import Op3FallControlArmsLegs, Op3FallControlArmsLegsVector
from op3_fall.envs.curriculum import CurriculumManager
from op3_fall.envs.op3_fall_control import MAX_EPISODE_STEPS, Op3FallControlEnv
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.phase import Phase
from op3_fall.envs.rewards import RewardConfig, RewardWeights
from op3_fall.envs.roll import Op3FallControlRoll, Op3FallControlRollVector
from op3_fall.envs.vector import Op3FallControlVectorEnv
from op3_fall.observation import (
    FallAngle,
    angular_velocity,
    gravity,
    last_action,
    obs_fall_angle,
    obs_fall_angle_discrete,
    obs_fall_vel,
    obs_fall_vel_discrete,
    obs_joint,
    obs_kd,
    obs_kp,
    phase,
)
from op3_fall.scenarios import Scenario

__all__ = [
    "IDS",
    "CurriculumManager",
    "FallAngle",
    "Op3FallControlArms",
    "Op3FallControlArmsLegs",
    "Op3FallControlArmsLegsVector",
    "Op3FallControlArmsVector",
    "Op3FallControlEnv",
    "Op3FallControlRoll",
    "Op3FallControlRollVector",
    "Op3FallControlVectorEnv",
    "Outcome",
    "Phase",
    "RewardConfig",
    "RewardWeights",
    "Scenario",
    "act_joint",
    "act_kd",
    "act_kd_rel",
    "act_kp",
    "act_kp_rel",
    "angular_velocity",
    "gravity",
    "last_action",
    "obs_fall_angle",
    "obs_fall_angle_discrete",
    "obs_fall_vel",
    "obs_fall_vel_discrete",
    "obs_joint",
    "obs_kd",
    "obs_kp",
    "phase",
]

IDS: dict[str, type[Op3FallControlEnv]] = {
    "envs/Op3FallControl-v0": Op3FallControlArms,
    "envs/Op3FallControl-v1": Op3FallControlArmsLegs,
    "envs/Op3FallControl-v2": Op3FallControlRoll,
}
"""Registered ids; the version says which task, not which release."""

for _id, _task in IDS.items():
    gymnasium.register(
        _id,
        entry_point=f"{_task.__module__}:{_task.__name__}",
        vector_entry_point=f"{_task.__module__}:{_task.__name__}Vector",
        max_episode_steps=MAX_EPISODE_STEPS,
    )
