# SPDX-License-Identifier: Apache-2.0
"""How long the physics takes, in the midst of everything else."""

import time
from typing import Any, Self

from op3_fall.envs.batch import FallBatch

__all__ = ["Stopwatch"]


class Stopwatch:
    """Stands in for mjbatch's batch of a simulation and times its `step`."""

    def __init__(self, batch: Any) -> None:
        """Time `batch.step`."""
        self._batch = batch
        self.seconds = 0.0
        """Spent so far, s."""

    @classmethod
    def on_physics(cls, falls: FallBatch) -> Self:
        """Time MuJoCo's steps of these robots from now on."""
        watch = cls(falls.simulation.physics.batch)
        falls.simulation.physics.batch = watch  # type: ignore[assignment]
        return watch

    def __getattr__(self, name: str) -> Any:
        """Everything else of the batch."""
        return getattr(self._batch, name)

    def step(self, *arguments: Any) -> None:
        """As the batch's, timed."""
        start = time.perf_counter()
        self._batch.step(*arguments)
        self.seconds += time.perf_counter() - start
