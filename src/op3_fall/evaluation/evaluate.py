# SPDX-License-Identifier: Apache-2.0
"""The same falls under every controller, in every situation, batch by batch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from op3_fall.damage import Tolerances
from op3_fall.detectors import DetectorConfig
from op3_fall.evaluation.cells import Cell, first_falls, join, judge, same
from op3_fall.evaluation.controllers import Make
from op3_fall.evaluation.runs import Falls, run_falls
from op3_fall.evaluation.scenarios import SCENARIOS, draw_falls, fall_seeds
from op3_fall.model import Op3Model, load_model
from op3_fall.scenarios import Scenario
from op3_fall.simulation import Simulation

__all__ = ["Plan", "evaluate", "replay"]

_CHUNK = 250
"""Falls simulated at once; more is not faster."""
_TRIED = 25
"""Falls of an earlier evaluation that are simulated again."""


@dataclass(frozen=True)
class Plan:
    """What is compared, where, how often."""

    controllers: Mapping[str, Make]
    """By name."""
    scenarios: tuple[str, ...]
    """Names in `SCENARIOS`."""
    falls: int
    """In each situation under each controller."""
    seed: int = 0
    """Of the falls."""
    tolerances: Tolerances = field(default_factory=Tolerances)
    """What a part takes."""
    detectors: DetectorConfig = field(default_factory=DetectorConfig)
    """Of every controller's alarm."""
    profile: str = "extended"
    """Sensing."""
    model: str = ""
    """MJCF file of the robot; empty for this package's own."""

    def load_model(self, name: str) -> Op3Model:
        """The robot on the floor of a situation.

        Raises:
            BadInputError: the file cannot be used.
        """
        return load_model(self.model, bumps=SCENARIOS[name].phase.bumps)

    def scenario(self, name: str) -> Scenario:
        """All falls of a situation; the same for every controller."""
        return draw_falls(SCENARIOS[name], fall_seeds(self.seed, self.falls))


def evaluate(
    plan: Plan,
    progress: Callable[[float], None] = lambda share: None,
    *,
    earlier: Callable[[str, str], Cell | None] = lambda situation, controller: None,
    keep: Callable[[str, str, Cell], None] = lambda situation, controller, cell: None,
) -> dict[str, dict[str, Cell]]:
    """Cells by situation and controller.

    Args:
        plan: what is compared.
        progress: called with the share that is done.
        earlier: falls of an earlier evaluation. They are taken over if there are enough of
            them and the first ones, simulated again, come out the same.
        keep: called with each cell once it is complete.

    Raises:
        BadInputError: the model cannot be used.
    """
    cells: dict[str, dict[str, Cell]] = {name: {} for name in plan.scenarios}
    models = {name: plan.load_model(name) for name in plan.scenarios}
    total = len(plan.scenarios) * len(plan.controllers)
    pairs = [(name, controller) for name in plan.scenarios for controller in plan.controllers]
    for done, (name, controller) in enumerate(pairs):
        simulate = _Simulate(plan, models[name], plan.scenario(name), plan.controllers[controller])
        cell = _taken_over(earlier(name, controller), plan.falls, simulate)
        if cell is None:
            cell = simulate(plan.falls, lambda share, done=done: progress((done + share) / total))
        keep(name, controller, cell)
        cells[name][controller] = cell
        progress((done + 1) / total)
    return cells


@dataclass(frozen=True)
class _Simulate:
    """One controller in one situation."""

    plan: Plan
    model: Op3Model
    scenario: Scenario
    make: Make

    def __call__(self, falls: int, progress: Callable[[float], None] = lambda share: None) -> Cell:
        """The first so many falls."""
        parts: list[Cell] = []
        for rows in _chunks(falls):
            simulation = Simulation(len(rows), model=self.model, profile=self.plan.profile)
            fallen = run_falls(
                simulation, self.scenario.take(rows), self.make, self.plan.detectors,
                progress=lambda share: progress((rows[0] + share * len(rows)) / falls),  # noqa: B023
            )  # fmt: skip
            parts.append(judge(fallen, self.plan.tolerances))
        return join(parts)


def _taken_over(earlier: Cell | None, falls: int, simulate: _Simulate) -> Cell | None:
    """An earlier evaluation's falls, if they would come out the same today."""
    if earlier is None or len(earlier.diverged) < falls:
        return None
    again = simulate(min(falls, _TRIED))
    return first_falls(earlier, falls) if same(first_falls(earlier, _TRIED), again) else None


def replay(plan: Plan, name: str, fall: int) -> dict[str, Falls]:
    """One fall of a situation again under every controller, with its pictures' configurations."""
    scenario = plan.scenario(name).take([fall])
    simulation = Simulation(1, model=plan.load_model(name), profile=plan.profile)
    return {
        controller: run_falls(simulation, scenario, make, plan.detectors, pictures=True)
        for controller, make in plan.controllers.items()
    }


def _chunks(falls: int) -> Iterator[NDArray[np.intp]]:
    for first in range(0, falls, _CHUNK):
        yield np.arange(first, min(first + _CHUNK, falls))
