# SPDX-License-Identifier: Apache-2.0
"""Rolling out of a fall, over the shoulder or to the side, so that it ends slowly."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from op3_fall.envs.arms_legs import Op3FallControlArmsLegs
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.rewards import roll_terms, weighted
from op3_fall.envs.vector import Op3FallControlVectorEnv
from op3_fall.robot import JOINTS

__all__ = ["Op3FallControlRoll", "Op3FallControlRollVector"]


class Op3FallControlRoll(Op3FallControlArmsLegs):
    """All joints turn a fall into a roll; no pose is asked for, but energy must go bit by bit."""

    curriculum_file = "roll.yaml"
    joints = JOINTS

    def compute_reward(self, outcome: Outcome) -> Mapping[str, NDArray[np.float64]]:
        """Lose the fall's energy over a long contact; spare head, parts, gears and servos."""
        return weighted(roll_terms(outcome), self.reward.weights)


class Op3FallControlRollVector(Op3FallControlVectorEnv):
    """Many of them."""

    env_class = Op3FallControlRoll
