# SPDX-License-Identifier: Apache-2.0
"""The same falls under every controller, in every situation, batch by batch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.damage import Tolerances, damage_shares
from op3_fall.detectors import DetectorConfig
from op3_fall.evaluation.controllers import Make
from op3_fall.evaluation.runs import WATCHED_S, Falls, run_falls
from op3_fall.evaluation.scenarios import SCENARIOS, draw_falls, fall_seeds
from op3_fall.evaluation.scores import score_falls, worst_of
from op3_fall.model import Op3Model, load_model
from op3_fall.scenarios import Scenario
from op3_fall.simulation import CYCLE_S, Simulation

__all__ = ["SINCE_S", "Cell", "Plan", "evaluate", "replay"]

Array = NDArray[np.float64]

_CHUNK = 250
"""Falls simulated at once; more is not faster."""
SINCE_S = np.arange(round(-0.1 / CYCLE_S), round(WATCHED_S / CYCLE_S)) * CYCLE_S
"""Times since the first contact at which torque loads are kept, s."""


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


@dataclass(frozen=True)
class Cell:
    """One controller in one situation: n falls."""

    scores: dict[str, Array]
    """`score_falls`, (n,) each."""
    shares: dict[str, Array]
    """`damage_shares`, (n,) each."""
    worst: dict[str, NDArray[np.int64]]
    """`worst_of`, (n,) each."""
    diverged: NDArray[np.bool_]
    """Falls that are left out because the physics broke down, (n,)."""
    load_n_m: Array
    """Torque load at `SINCE_S`, N m, (n, times); NaN where there was no contact or no time."""


def evaluate(
    plan: Plan, progress: Callable[[float], None] = lambda share: None
) -> dict[str, dict[str, Cell]]:
    """Cells by situation and controller.

    Raises:
        BadInputError: the model cannot be used.
    """
    cells: dict[str, dict[str, Cell]] = {}
    done, total = 0, len(plan.scenarios) * len(plan.controllers) * plan.falls
    models = {name: plan.load_model(name) for name in plan.scenarios}
    for name in plan.scenarios:
        scenario = plan.scenario(name)
        parts: dict[str, list[Cell]] = {controller: [] for controller in plan.controllers}
        for rows in _chunks(plan.falls):
            simulation = Simulation(len(rows), model=models[name], profile=plan.profile)
            for controller, make in plan.controllers.items():
                falls = run_falls(
                    simulation, scenario.take(rows), make, plan.detectors,
                    progress=lambda share: progress((done + share * len(rows)) / total),  # noqa: B023
                )  # fmt: skip
                parts[controller].append(_cell(falls, plan.tolerances))
                done += len(rows)
                progress(done / total)
        cells[name] = {controller: _join(of) for controller, of in parts.items()}
    return cells


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


def _cell(falls: Falls, tolerances: Tolerances) -> Cell:
    return Cell(
        scores=score_falls(falls, tolerances),
        shares=dict(damage_shares(falls.truth, tolerances)),
        worst=worst_of(falls.truth, tolerances),
        diverged=falls.truth.diverged,
        load_n_m=_since_contact(falls),
    )


def _since_contact(falls: Falls) -> Array:
    """Loads at `SINCE_S`, (n, times)."""
    cycles, n = falls.load_n_m.shape
    usable = falls.truth.hit & ~falls.truth.diverged
    # A cycle's largest load counts at its end: the contact lies in the first cycle at or after 0.
    contact = np.ceil(np.where(usable, falls.truth.impact_s, 0.0) / CYCLE_S).astype(int)
    at = contact[:, None] + np.rint(SINCE_S / CYCLE_S).astype(int)
    there = (at >= 0) & (at < cycles) & usable[:, None]
    load = falls.load_n_m[np.clip(at, 0, cycles - 1), np.arange(n)[:, None]]
    return np.where(there, load, np.nan)


def _join(cells: list[Cell]) -> Cell:
    def joined(name: str) -> dict[str, Any]:
        dicts = [getattr(cell, name) for cell in cells]
        return {key: np.concatenate([d[key] for d in dicts]) for key in dicts[0]}

    return Cell(
        scores=joined("scores"), shares=joined("shares"), worst=joined("worst"),
        diverged=np.concatenate([cell.diverged for cell in cells]),
        load_n_m=np.concatenate([cell.load_n_m for cell in cells]),
    )  # fmt: skip
