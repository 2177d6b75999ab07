# SPDX-License-Identifier: Apache-2.0
"""The training loop: iterations, save points, evaluations, and when it ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.protective_file import load_motions
from op3_fall.training import checkpoints
from op3_fall.training.check_up import CheckUp
from op3_fall.training.early_stop import EarlyStop
from op3_fall.training.imitation import imitate
from op3_fall.training.learner import Learner
from op3_fall.training.monitor import Monitor
from op3_fall.training.run_folder import Run

__all__ = ["Trained", "find_device", "train"]


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    iteration: int
    """Iterations that are done."""
    best: float
    """Lowest damage index of an evaluation; infinite if there was none."""
    best_iteration: int
    """When that was."""
    reason: str
    """Why it ended."""
    interrupted: bool = False
    """By the user."""


def train(run: Run) -> Trained:
    """Train, from the last save point if there is one, until the end or an interruption.

    At a save point all robots begin anew, and how is a matter of counting. So the networks are
    what they would be without an interruption, whenever it came.

    Raises:
        BadInputError: no CUDA device, or a checkpoint that cannot be used.
        Op3FallError: training diverged; the last save point is kept.
    """
    return _Trainer(run).train()


def find_device(wanted: str) -> str:
    """Where networks go: `cpu` or `cuda`.

    Raises:
        BadInputError: CUDA is asked for and missing.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadInputError(
            "device is 'cuda', but torch finds none here; allowed are auto and cpu; give --device "
            "auto"
        )
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


class _Trainer:
    def __init__(self, run: Run) -> None:
        self.run, self.config = run, run.config
        self.learner = Learner(self.config, find_device(self.config.device))
        self.stop = EarlyStop(self.config.evaluation.patience)
        self.check_up = CheckUp(self.config) if self.config.evaluation.every else None
        self.iteration = 0

    def train(self) -> Trained:
        path = checkpoints.latest(self.run.checkpoints)
        evaluations = self._restore(path) if path else []
        with Monitor(
            self.run.path, self.iteration, self.config.iterations, evaluations
        ) as self.monitor:
            try:
                if path is None:
                    self.learner.warm_up()
                    if self.config.imitation.rounds:
                        motions = load_motions(self.config.motions_file)
                        imitate(self.learner, self.config.imitation, motions, self.monitor.tell)
                    self._save()
                reason = self._iterate()
            except KeyboardInterrupt:
                self._write("last")
                return self._trained("interrupted", interrupted=True)
            except Op3FallError as error:
                kept = checkpoints.latest(self.run.checkpoints)
                raise Op3FallError(
                    f"{error} in iteration {self.iteration + 1}; kept is {kept}; train anew with "
                    "a lower --ppo.learning-rate"
                ) from error
        return self._trained(reason)

    def _iterate(self) -> str:
        """All iterations; returns why they ended."""
        config, reason = self.config, ""
        while self.iteration < config.iterations and not reason:
            if self.iteration % config.save_interval == 0:
                self.learner.env.begin(self.iteration // config.save_interval)
            figures = self.learner.iterate()
            self.iteration += 1
            self.monitor.add_iteration(self.iteration, figures)
            if self.iteration % config.save_interval == 0:
                reason = self._save_point()
        if self.iteration % config.save_interval:
            self._evaluate()
            self._write("last")
        if self.check_up is None:
            self._write("best")
        return reason or "all iterations are done"

    def _save_point(self) -> str:
        """Evaluate if it is time to, and save; returns why to stop, if so."""
        every, point = self.config.evaluation.every, self.iteration // self.config.save_interval
        if every and point % every == 0:
            self._evaluate()
        self._save()
        limit = self.config.time_limit_minutes
        if limit and self.monitor.minutes >= limit:
            return f"the time limit of {limit:g} min is reached"
        return self.stop.reason

    def _evaluate(self) -> None:
        if self.check_up is None:
            return
        scores = self.check_up.run(self._infer)
        self.monitor.add_evaluation(self.iteration, self.learner.curriculum.phase_id, scores)
        if self.stop.add(scores.get("damage_index", np.inf), self.iteration):
            self._write("best")

    def _infer(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        actor, device = self.learner.ppo.actor, self.learner.device
        with torch.inference_mode():
            seen = {"policy": torch.from_numpy(observation).to(device)}
            return actor(seen).cpu().numpy()

    def _save(self) -> None:
        content = self._content()
        checkpoints.save(checkpoints.numbered(self.run.checkpoints, self.iteration), content)
        checkpoints.save(self.run.checkpoints / "last.pt", content)

    def _write(self, name: str) -> None:
        checkpoints.save(self.run.checkpoints / f"{name}.pt", self._content())

    def _content(self) -> dict[str, Any]:
        monitor = self.stop.state() | {"evaluations": self.monitor.evaluations}
        return checkpoints.snapshot(self.learner, self.iteration, monitor)

    def _restore(self, path: Path) -> list[dict[str, float]]:
        content = checkpoints.load(path)
        checkpoints.restore_learner(self.learner, content, path)
        self.stop.restore(content["monitor"])
        self.iteration = content["iteration"]
        return list(content["monitor"]["evaluations"])

    def _trained(self, reason: str, interrupted: bool = False) -> Trained:
        stop = self.stop
        return Trained(self.iteration, stop.best, stop.best_iteration, reason, interrupted)
