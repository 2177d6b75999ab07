# SPDX-License-Identifier: Apache-2.0
"""A task of your own: let arms and legs go soft, so that the servos carry less."""

import numpy as np

from op3_fall.envs import Op3FallControlEnv, Op3FallControlVectorEnv, act_kp_rel, gravity, obs_kp
from op3_fall.robot import ARMS, LEGS

JOINTS = (*ARMS, *LEGS)
ROBOTS, STEPS = 16, 150


class Soften(Op3FallControlEnv):
    """What the policy sees and does, and what it is rewarded for."""

    def observation_blocks(self):
        """Which way is down, and how stiff the joints are now."""
        return (gravity(), obs_kp(JOINTS))

    def action_blocks(self):
        """Change the stiffness of each joint, step by step."""
        return (act_kp_rel(JOINTS),)

    def compute_reward(self, outcome):
        """Of all robots at once: every term is an array (robots,)."""
        return {"torque_load": -0.01 * outcome.peak.torque_load * outcome.hit}


class SoftenVector(Op3FallControlVectorEnv):
    """Many robots with this task."""

    env_class = Soften


def main() -> None:
    """Compare joints that stay stiff with joints that are let go."""
    many = SoftenVector(ROBOTS)
    for name, change in (("stiff", 1.0), ("soft", -1.0)):
        many.reset(seed=0)
        actions, total = np.full((ROBOTS, len(JOINTS)), change), 0.0
        for _ in range(STEPS):
            total += many.step(actions)[1].mean()
        print(f"{name:6} mean reward {total:7.2f}")


if __name__ == "__main__":
    main()
