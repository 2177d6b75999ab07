# SPDX-License-Identifier: Apache-2.0
"""Evaluation while training goes on: the same falls each time, under the mean action."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from op3_fall.damage import Tolerances, damage_index
from op3_fall.envs import CurriculumManager
from op3_fall.envs.op3_fall_control import MAX_EPISODE_STEPS
from op3_fall.metrics import score
from op3_fall.training.config import TrainConfig

__all__ = ["SEED", "CheckUp"]

Array = NDArray[np.float64]
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]

SEED = 2**41
"""Of the first robot; no training reaches it."""


class CheckUp:
    """Falls of the curriculum's last phase."""

    def __init__(self, config: TrainConfig) -> None:
        """Make the robots.

        Raises:
            BadInputError: a curriculum that cannot be used.
        """
        n = config.evaluation.falls
        phases = config.make_task().curriculum.phases
        self._task = config.make_task(CurriculumManager([phases[len(phases) - 1]]))
        self._batch = self._task.make_batch(n)
        self._tolerances = Tolerances()

    def run(self, infer: Infer) -> dict[str, float]:
        """Means over the falls by name, each fall as it was when it ended.

        Args:
            infer: observations (n, observations) to actions (n, actions).
        """
        batch, n = self._batch, len(self._batch)
        batch.seeds[:], batch.episodes[:] = SEED + np.arange(n), 0
        observation = batch.reset(np.arange(n))
        going, returns = np.ones(n, dtype=bool), np.zeros(n)
        at_end: dict[str, Array] = {}
        for step in range(MAX_EPISODE_STEPS):
            moment = batch.step(infer(observation))
            observation = moment.observation
            returns += np.where(going, moment.reward, 0.0)
            ends = going & (moment.terminated | (step + 1 == MAX_EPISODE_STEPS))
            if ends.any():
                for name, value in self._scores().items():
                    at_end[name] = np.where(ends, value, at_end.get(name, np.nan))
                going &= ~ends
            if not going.any():
                break
        at_end["return"] = returns
        # Nobody has what nobody hit: the mean over no value is left out.
        return {name: float(np.nanmean(v)) for name, v in at_end.items() if np.isfinite(v).any()}

    def _scores(self) -> dict[str, Array]:
        truth = self._batch.truth
        return {
            "damage_index": damage_index(truth, self._tolerances),
            "success": self._batch.success.astype(float),
            "diverged": truth.diverged.astype(float),
            **score(truth),
        }
