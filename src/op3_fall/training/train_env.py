# SPDX-License-Identifier: Apache-2.0
"""The robots of a training run: privileged ground truth for the critic, and new beginnings."""

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict

from op3_fall.envs import Op3FallControlVectorEnv
from op3_fall.envs.draws import draw_scenario
from op3_fall.training import privileged
from op3_fall.training.rsl_rl_env import RslRlEnv

__all__ = ["TrainEnv", "robot_seeds"]

_RUN_SEEDS = 2**24
"""Of robots in a run."""
_STAGGER_STEPS = 100
"""About an episode, in control steps: over so many the robots begin their second ones."""


def robot_seeds(run_seed: int, beginning: int, num_envs: int) -> NDArray[np.int64]:
    """Seeds (num_envs,) of the robots' episodes after the `beginning`-th beginning, counted.

    All are below 2**40. Robots of one run share none, as long as it has fewer than 2**24.
    """
    first = beginning * num_envs
    return run_seed * _RUN_SEEDS + (first + np.arange(num_envs)) % _RUN_SEEDS


class TrainEnv(RslRlEnv):
    """N robots whose observations have the groups `policy` and `privileged`.

    `begin` makes everything that follows depend on the number given to it and on the curriculum
    alone: what a simulator holds needs no saving.
    """

    def __init__(self, env: Op3FallControlVectorEnv, run_seed: int) -> None:
        """Begin for the 0th time.

        Args:
            env: whose observation is the vector.
            run_seed: from 0 to 2**16 - 1.
        """
        self._run_seed = run_seed
        super().__init__(env, seed=0)
        self.begin(0)

    def begin(self, beginning: int) -> None:
        """New episodes of all robots, which get out of step with each other at once.

        The episodes in progress are broken off, and so are those that begin now, each at a time
        of its own; they count neither in the log nor in the curriculum.
        """
        env, n = self.env, self.num_envs
        seeds = robot_seeds(self._run_seed, beginning, n)
        scenario = draw_scenario(env.task.curriculum.phase, seeds, np.zeros(n, dtype=np.int64))
        self._returns.clear()
        self._take(*env.reset(seed=seeds.tolist(), options={"scenario": scenario}))
        left = 1 + np.arange(n) * min(_STAGGER_STEPS, env.max_episode_steps) // n
        env.episode_steps = env.max_episode_steps - left

    def groups(self, vector: NDArray[np.float32]) -> TensorDict:
        """What actor and critic see, (num_envs, ...) each, of observations (num_envs, ...)."""
        groups = super().groups(vector)
        groups["privileged"] = torch.from_numpy(
            privileged.privileged(self.env.batch, self.acting.numpy())
        )
        return groups
