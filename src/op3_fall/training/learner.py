# SPDX-License-Identifier: Apache-2.0
"""One iteration of PPO: collect steps, learn from them, tell how it went."""

import contextlib
import io
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from op3_fall.errors import Op3FallError
from op3_fall.training.acting_storage import ActingStorage
from op3_fall.training.config import TrainConfig
from op3_fall.training.network import make_mirror, make_ppo
from op3_fall.training.stopwatch import Stopwatch
from op3_fall.training.train_env import TrainEnv

__all__ = ["Figures", "Learner"]

_WARM_UP_STEPS = 200
"""Control steps of each robot: its first episode and the fall of the second one."""
_LEAST_ACTING = 0.1
"""Share of the steps; below it an iteration learns nothing."""


@dataclass(frozen=True)
class Figures:
    """What an iteration gave."""

    steps: int
    """Control steps of all robots together."""
    falls: int
    """Episodes that ended of themselves or by their length."""
    collect_s: float
    """Time to collect steps, s."""
    learn_s: float
    """Time to learn from them, s."""
    physics_s: float
    """Of it, time in MuJoCo, s."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Means over the episodes that ended, losses and so on, by name."""


class Learner:
    """Robots, networks and the algorithm."""

    def __init__(self, config: TrainConfig, device: str) -> None:
        """Make new networks and let all robots begin.

        Raises:
            BadInputError: a curriculum that cannot be used.
        """
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.device, self._scale = device, config.ppo.reward_scale
        self.env = TrainEnv(config.make_envs(config.num_envs), config.seed)
        self.curriculum = self.env.env.task.curriculum
        self._mirror = make_mirror(self.env.env.task, device) if config.ppo.symmetry else None
        self._physics = Stopwatch.on_physics(self.env.env.batch)
        with contextlib.redirect_stdout(io.StringIO()):  # rsl_rl prints its networks
            self.ppo = make_ppo(self.env, config, device)
        self.ppo.storage = self.storage = ActingStorage(
            "rl", config.num_envs, config.steps_per_env, self.env.get_observations(),
            [self.env.num_actions], device,
        )  # fmt: skip
        self.ppo.train_mode()
        self._acting = torch.zeros(config.steps_per_env, config.num_envs, dtype=torch.bool)

    def warm_up(self) -> None:
        """Let the normalisers see whole falls before anything is learned.

        Otherwise what is constant while all stand, such as the phase of the fall, gets a spread of
        zero, and the first falls throw the networks out of joint.
        """
        for _ in range(math.ceil(_WARM_UP_STEPS / len(self._acting))):
            self._collect()
            seen = self.storage.observations.flatten(0, 1)
            self.ppo.actor.update_normalization(seen)
            self.ppo.critic.update_normalization(seen)
            self.storage.clear()

    def iterate(self) -> Figures:
        """Collect and learn once.

        Raises:
            Op3FallError: the loss or the networks are no numbers any more.
        """
        self._physics.seconds = 0.0
        start = time.perf_counter()
        logs, falls = self._collect()
        collected = time.perf_counter()
        losses = self._learn()
        learned = time.perf_counter()
        return Figures(
            steps=self._acting.numel(), falls=falls, collect_s=collected - start,
            learn_s=learned - collected, physics_s=self._physics.seconds,
            values=_means(logs) | losses,
        )  # fmt: skip

    def _collect(self) -> tuple[list[dict[str, Any]], int]:
        """Steps for the storage, what the ended episodes logged, and how many they were."""
        env, ppo, logs, falls = self.env, self.ppo, [], 0
        observations = env.get_observations().to(self.device)
        with torch.inference_mode():
            for acting in self._acting:
                acting[:] = env.acting
                actions = ppo.act(observations)
                observations, rewards, done, extras = env.step(actions)
                observations = observations.to(self.device)
                ppo.process_env_step(
                    observations, self._scale * rewards.to(self.device),
                    done.to(self.device), extras,
                )  # fmt: skip
                falls += int(done.sum())
                logs += [extras["log"]] if "log" in extras else []
            ppo.compute_returns(observations)
        return logs, falls

    def _explained_variance(self) -> float:
        """Share of the returns' variance that the critic foresaw; 1 at best."""
        storage = self.storage
        returns, values = storage.returns[storage.acting], storage.values[storage.acting]
        return 1.0 - ((returns - values).var() / returns.var().clamp(min=1e-12)).item()

    def _learn(self) -> dict[str, float]:
        """Losses by name; none where hardly any robot has begun to fall, as there is no batch."""
        storage, acting = self.storage, self._acting.to(self.device)
        if acting.float().mean() < _LEAST_ACTING:
            storage.clear()
            return {}
        storage.acting = acting
        storage.standardise_advantages()
        storage.keep(self._mirror, self.ppo.actor)
        explained = self._explained_variance()
        losses = self.ppo.update()
        self._check(losses)
        std = self.ppo.actor.output_std.mean().item()
        return {f"Loss/{name}": value for name, value in losses.items()} | {
            "Loss/explained_variance": explained, "Policy/std": std,
            "Policy/learning_rate": self.ppo.learning_rate,
        }  # fmt: skip

    def _check(self, losses: Mapping[str, float]) -> None:
        networks = (self.ppo.actor, self.ppo.critic)
        finite = all(torch.isfinite(p).all() for net in networks for p in net.parameters())
        if not finite or not all(map(math.isfinite, losses.values())):
            told = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            raise Op3FallError(f"training diverged: losses {told}")


def _means(logs: list[dict[str, Any]]) -> dict[str, float]:
    """Means over all episodes by name; what none of them has is left out."""
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for log in logs for name in log):
        values = torch.cat([torch.as_tensor(log[name]).double().reshape(-1)
                            for log in logs if name in log])  # fmt: skip
        if len(values):
            means[name] = values.mean().item()
    terms = [value for name, value in means.items() if name.startswith("Reward/")]
    return means | ({"Episode/return": math.fsum(terms)} if terms else {})
