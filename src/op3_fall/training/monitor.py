# SPDX-License-Identifier: Apache-2.0
"""What can be seen of a training run: TensorBoard, progress.csv, the bar on the screen."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from op3_fall.results import write_csv
from op3_fall.training.learner import Figures

__all__ = ["Monitor"]


class Monitor:
    """Of one run, from iteration `first` on; use it in a `with` statement."""

    def __init__(self, path: Path, first: int, last: int, evaluations: list[dict[str, float]]):
        """Follow a run.

        Args:
            path: the run's folder.
            first: iterations that are done already; what was written beyond them is hidden.
            last: iterations in all.
            evaluations: rows of progress.csv so far.
        """
        self.evaluations = evaluations
        """Rows of progress.csv."""
        self._path, self._first = path, first
        self._writer = SummaryWriter(str(path), purge_step=first + 1)
        self._bar = Progress(
            TextColumn(path.name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
        )  # fmt: skip
        self._task = self._bar.add_task("", total=last, completed=first, now="")
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Write what is left."""
        self._bar.stop()
        self._writer.close()

    @property
    def minutes(self) -> float:
        """Since the training was started or resumed, min."""
        return (time.monotonic() - self._start) / 60

    def tell(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False, soft_wrap=True)

    def add_iteration(self, iteration: int, figures: Figures) -> None:
        """Tell about an iteration."""
        took_s = figures.collect_s + figures.learn_s
        speeds = {
            "Speed/env_steps_per_s": figures.steps / took_s,
            "Speed/falls_per_s": figures.falls / took_s,
            "Speed/physics_share": figures.physics_s / took_s,
            "Speed/collection_share": figures.collect_s / took_s,
        }
        values = {**figures.values, **speeds}
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)
        shown = {
            "return": values.get("Episode/return"), "success": values.get("Episode/success"),
            "phase": values.get("Curriculum/phase"), "steps/s": speeds["Speed/env_steps_per_s"],
        }  # fmt: skip
        now = ", ".join(f"{name} {v:.3g}" for name, v in shown.items() if v is not None)
        self._bar.update(self._task, completed=iteration, now=now)

    def add_evaluation(self, iteration: int, phase: int, scores: Mapping[str, float]) -> None:
        """Tell about an evaluation after `iteration` iterations, in this phase of training."""
        for name, value in scores.items():
            self._writer.add_scalar(f"Evaluation/{name}", value, iteration)
        self._writer.flush()
        row: dict[str, Any] = {"iteration": iteration, "phase": phase, **scores}
        self.evaluations.append(row)
        header = list(dict.fromkeys(name for row in self.evaluations for name in row))
        write_csv(
            self._path / "progress.csv", header,
            [[f"{row[name]:.6g}" if name in row else "" for name in header]
             for row in self.evaluations],
        )  # fmt: skip
        self.tell(
            f"{iteration}: damage index {scores['damage_index']:.3f}, return "
            f"{scores['return']:.2f}, head contact {scores.get('head_contact_share', 0):.1%}, "
            f"success {scores['success']:.0%}, phase {phase}, {self.minutes:.1f} min"
        )
