# SPDX-License-Identifier: Apache-2.0
"""Many robots in two halves, each in a thread: one half computes while the other simulates.

MuJoCo runs outside of Python's lock, so what Python does for one half (detectors, observations,
rewards, new episodes) costs no time in which no robot moves. Robots do not know of each other, so
a half falls as it would in the whole, bit for bit.
"""

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.envs.batch import FallBatch, Verdict
from op3_fall.scenarios import Scenario

__all__ = ["Shards", "Turn"]

Flags = NDArray[np.bool_]
Observe = Callable[[FallBatch, NDArray[np.float32]], Any]

_LEAST = 64
"""Below so many robots Python's share is the same for a half as for the whole."""


@dataclass(frozen=True)
class Turn:
    """A control step of n robots, who begin anew where an episode ends; arrays (n, ...)."""

    observation: Any
    """Of the new episode, where one ended."""
    info: dict[str, Any]
    """Likewise."""
    reward: NDArray[np.float64]
    terminated: Flags
    truncated: Flags
    final_observation: Any
    """At the end of the step, before any reset."""
    final_info: dict[str, Any]
    """Likewise."""


class _Shard:
    """Some of the robots, which begin anew when their episodes end."""

    def __init__(self, batch: FallBatch, observe: Observe, max_steps: int) -> None:
        self.batch, self._observe, self._max_steps = batch, observe, max_steps
        self.steps = np.zeros(len(batch), dtype=np.int64)
        self.verdict: Verdict
        """On the episodes that the latest step ended."""

    def reset(self, scenario: Scenario | None) -> Any:
        self.steps[:] = 0
        vector = self.batch.reset(np.arange(len(self.batch)), scenario)
        return self._observe(self.batch, vector)

    def step(self, action: NDArray[np.floating[Any]]) -> Turn:
        moment = self.batch.step(action)
        self.steps += 1
        truncated = self.steps >= self._max_steps
        observation = final = self._observe(self.batch, moment.observation)
        info = moment.info
        rows = np.nonzero(moment.terminated | truncated)[0]
        self.verdict = self.batch.verdict(rows)
        if len(rows):
            self.steps[rows] = 0
            observation = self._observe(self.batch, self.batch.reset(rows))
            info = self.batch.info()
        return Turn(
            observation, info, moment.reward, moment.terminated, truncated, final, moment.info
        )


class Shards:
    """N robots of one task, as `Op3FallControlVectorEnv` wants them."""

    def __init__(
        self, n: int, make: Callable[[int, int], FallBatch], observe: Observe, max_steps: int
    ) -> None:
        """Make the simulations.

        Args:
            n: robots.
            make: makes a batch of so many robots on so many threads.
            observe: what a batch's robots see, from the batch and their vectors (k, ...).
            max_steps: after which an episode is truncated.
        """
        sizes = [n] if n < _LEAST else [n - n // 2, n // 2]
        threads = 0 if len(sizes) == 1 else max((os.cpu_count() or 2) // 2, 1)
        self._shards = [_Shard(make(size, threads), observe, max_steps) for size in sizes]
        self.batches = [shard.batch for shard in self._shards]
        ends = np.cumsum([0, *sizes]).tolist()
        self._slices = [slice(*pair) for pair in itertools.pairwise(ends)]
        self._pool = ThreadPoolExecutor(len(sizes))

    @property
    def steps(self) -> NDArray[np.int64]:
        """Control steps of each robot's episode so far, (n,)."""
        return np.concatenate([shard.steps for shard in self._shards])

    @steps.setter
    def steps(self, steps: NDArray[np.int64]) -> None:
        for shard, where in zip(self._shards, self._slices, strict=True):
            shard.steps[:] = steps[where]

    def seed(self, seeds: NDArray[np.int64]) -> None:
        """Begin the series of episodes of each robot's seed, (n,)."""
        for batch, where in zip(self.batches, self._slices, strict=True):
            batch.seeds[:], batch.episodes[:] = seeds[where], 0

    def reset(self, scenario: Scenario | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of every robot; observations (n, ...) and info.

        Raises:
            BadInputError: the scenario is not of n robots.
        """
        given = [scenario] * len(self._slices)
        if scenario is not None:
            scenario.check_length(self._slices[-1].stop)
            index = np.arange(len(scenario))
            given = [scenario.take(index[where]) for where in self._slices]
        seen = [shard.reset(part) for shard, part in zip(self._shards, given, strict=True)]
        return _join(seen), _join(batch.info() for batch in self.batches)

    def step(self, action: NDArray[np.floating[Any]]) -> Turn:
        """One control step of 20 ms with actions (n, actions), finite."""
        jobs = [
            self._pool.submit(shard.step, action[where])
            for shard, where in zip(self._shards, self._slices, strict=True)
        ]
        turns = [job.result() for job in jobs]
        # Here and in order, as threads would tell the curriculum in any order.
        for shard in self._shards:
            shard.batch.curriculum.record(*shard.verdict)
        return Turn(*(_join(vars(turn)[name] for turn in turns) for name in vars(turns[0])))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _join(parts: Iterable[Any]) -> Any:
    """Arrays (k, ...) one after the other, and so in mappings of them, nested too."""
    found = list(parts)
    if isinstance(found[0], dict):
        return {name: _join(part[name] for part in found) for name in found[0]}
    return np.concatenate(found) if len(found) > 1 else found[0]
