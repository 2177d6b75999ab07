# SPDX-License-Identifier: Apache-2.0
"""The batched environment as rsl_rl's algorithms take it.

from rsl_rl.runners import OnPolicyRunner

runner = OnPolicyRunner(RslRlEnv(Op3FallControlArmsVector(256)), config)
"""

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from op3_fall.envs import Op3FallControlVectorEnv
from op3_fall.errors import BadInputError

__all__ = ["RslRlEnv"]

Flags = NDArray[np.bool_]


class RslRlEnv(VecEnv):
    """N robots for rsl_rl 5, on the CPU; its runner moves what it gets to its own device.

    Observations have one group, `policy` (num_envs, observations): what a robot has too. For a
    critic that sees more, extend `groups`.
    """

    def __init__(self, env: Op3FallControlVectorEnv, seed: int | None = None) -> None:
        """Begin an episode of every robot.

        Args:
            env: whose observation is the vector.
            seed: of robot 0, that of robot i is `seed + i`; None for any.

        Raises:
            BadInputError: an environment with dictionaries for observations.
        """
        if not isinstance(env.single_observation_space, gymnasium.spaces.Box):
            raise BadInputError(
                "observation is 'dict'; allowed is 'vector', which deploys; make the environment "
                "with it"
            )
        self.env = env
        self.num_envs = env.num_envs
        self.num_actions = env.task.policy_spec.action_length
        self.max_episode_length = env.max_episode_steps
        self.device = torch.device("cpu")
        self.cfg = {"task": type(env.task).__name__, "num_envs": env.num_envs}
        self._returns: dict[str, NDArray[np.float64]] = {}
        self._take(*env.reset(seed=seed))

    def _take(self, vector: NDArray[np.float32], info: dict[str, Any]) -> None:
        self.acting = torch.from_numpy(info["acting"])
        """Whose next action takes effect, (num_envs,)."""
        self._observations = self.groups(vector)

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Control steps of each episode so far, (num_envs,), long.

        rsl_rl sets it so that not all robots reach the end of their first episodes together.
        """
        return torch.from_numpy(self.env.episode_steps)

    @episode_length_buf.setter
    def episode_length_buf(self, steps: torch.Tensor) -> None:
        self.env.episode_steps = steps.numpy(force=True)

    def groups(self, vector: NDArray[np.float32]) -> TensorDict:
        """What actor and critic may see, by name, of observations (num_envs, observations)."""
        return TensorDict({"policy": torch.from_numpy(vector)}, batch_size=[self.num_envs])

    def get_observations(self) -> TensorDict:
        """The latest observations."""
        return self._observations

    def step(
        self, actions: torch.Tensor
    ) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """One control step of 20 ms; who ends an episode begins the next one.

        Args:
            actions: (num_envs, num_actions) in [-1, 1]; beyond it they end there.

        Returns:
            Observations, rewards (num_envs,), whether episodes ended (num_envs,), and extras:
            `time_outs` (num_envs,) of those that ended by their length alone, and, where some
            ended, `log` with one value for each of those that was drawn from the curriculum.

        Raises:
            BadInputError: actions of another shape or not finite.
        """
        vector, rewards, terminated, truncated, info = self.env.step(actions.numpy(force=True))
        done = terminated | truncated
        self._take(vector, info)
        extras: dict[str, Any] = {"time_outs": torch.from_numpy(truncated & ~terminated)}
        self._sum_terms(info, done)
        if done.any():
            extras["log"] = self._log(info["final_info"], done)
        return (
            self._observations, torch.from_numpy(rewards).float(), torch.from_numpy(done), extras
        )  # fmt: skip

    def _sum_terms(self, info: dict[str, Any], done: Flags) -> None:
        """Add the latest terms; of those who ended, `info` has them in `final_info`."""
        for name, value in _values(info["reward_terms"]):
            if done.any():
                value = np.where(done, info["final_info"]["reward_terms"][name], value)
            self._returns[name] = self._returns.get(name, 0.0) + value

    def _log(self, final: dict[str, Any], done: Flags) -> dict[str, Any]:
        """Of the episodes that ended, as rsl_rl's logger averages them over its iteration.

        Reward terms are sums over the episode. Metrics leave out who did not fall.
        """
        log: dict[str, Any] = {"Curriculum/phase": self.env.task.curriculum.phase_id}
        counts = done & (final["curriculum_phase"] >= 0)
        for name, total in self._returns.items():
            log[f"Reward/{name}"] = torch.from_numpy(total[counts])
            total[done] = 0.0
        for name, value in _values(final["metrics"]):
            log[f"Metrics/{name}"] = torch.from_numpy(value[counts & final["metrics"][f"_{name}"]])
        for name in ("success", "diverged"):
            log[f"Episode/{name}"] = torch.from_numpy(final[name][counts]).float()
        return log


def _values(info: dict[str, Any]) -> list[tuple[str, NDArray[np.float64]]]:
    """Names and values of gymnasium's vector info, without the masks."""
    return [(name, value) for name, value in info.items() if not name.startswith("_")]
