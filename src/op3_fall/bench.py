# SPDX-License-Identifier: Apache-2.0
"""Simulation speed beside plain MuJoCo and raw mjbatch: same model, same falling robots."""

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mjbatch
import mujoco
import numpy as np

from op3_fall.races import Contestant, figure, memory, peak_mb, race, ratio
from op3_fall.results import open_folder, print_table, provenance, write_json
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import CONTROL_PERIOD_S, Simulation

__all__ = ["bench_sim", "peak_memory"]

RATIO_GOAL = 0.85
"""Least share of raw mjbatch's speed that `Simulation` keeps at `GOAL_COUNT` robots or more."""
GOAL_COUNT = 256
MEMORY_GOAL_MB = 1500.0
_EXPANDED = ("actuator_gainprm", "actuator_biasprm", "actuator_forcerange")


def bench_sim(
    out: Path, *, seconds: float = 2.0, counts: Sequence[int] = (1, 64, 256, 1024),
    singles: int = 64,
) -> dict[str, Any]:  # fmt: skip
    """Measure, print the table, write summary.json.

    Args:
        out: folder for summary.json.
        seconds: time for each figure, s; at least 5 rounds are run.
        counts: batch sizes; the memory is that of the largest.
        singles: robots in the one-by-one comparison.

    Returns:
        The content of summary.json.

    Raises:
        BadInputError: `out` cannot be written.
    """
    open_folder(out)
    rivals = [[_plain(singles), _one_by_one(singles)], *(list(_pair(n)) for n in counts)]
    for group in rivals:
        race(group, seconds)
    figures = [figure(c) for group in rivals for c in group]
    ratios = {str(n): ratio(*group) for n, group in zip(counts, rivals[1:], strict=True)}
    before_mb, peak_mb = memory(f"op3_fall.bench:peak_memory({max(counts)})")
    goal_ratios = [ratios[str(n)] for n in counts if n >= GOAL_COUNT]
    summary = {
        **provenance({"seconds": seconds, "counts": counts, "singles": singles}, 0),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "figures": figures,
        "simulation_to_mjbatch_ratio": ratios,
        "memory": {"simulations": max(counts), "before_mb": before_mb, "peak_mb": peak_mb,
                   "growth_mb": peak_mb - before_mb},
        "goals": {
            "least_ratio": RATIO_GOAL, "at_simulations": GOAL_COUNT,
            "ratio_reached": min(goal_ratios) >= RATIO_GOAL if goal_ratios else None,
            "most_memory_mb": MEMORY_GOAL_MB, "memory_reached": peak_mb <= MEMORY_GOAL_MB,
        },
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    _print(figures, ratios, peak_mb)
    return summary


def _falling(n: int, threads: int = 0) -> tuple[Simulation, JointCommand]:
    """N stiff robots in all phases of a pushed fall: from just pushed to lying."""
    scenario = pushed_stand(PushSpec(), np.arange(n), seed=0)
    scenario = replace(scenario, push_start_s=np.linspace(0, 1.4, n))
    simulation, command = Simulation(n, threads=threads), JointCommand.hold(scenario.position)
    simulation.reset(scenario)
    for _ in range(round(1.6 / CONTROL_PERIOD_S)):
        simulation.step(command)
    return simulation, command


def _states(simulation: Simulation) -> np.ndarray:
    return simulation.batch.bind("state")


def _pair(n: int) -> tuple[Contestant, Contestant]:
    """`Simulation` and raw mjbatch, on every core."""
    simulation, command = _falling(n)
    saved = _states(simulation).copy()
    raw = mjbatch.Batch(simulation.model.mj, n)
    for name in _EXPANDED:
        raw.expand(name)[:] = simulation.batch.expand(name)
    physics_steps = _physics_steps(simulation)
    return (
        Contestant(
            "Simulation", n, lambda: np.copyto(_states(simulation), saved),
            lambda: simulation.step(command), physics_steps,
        ),
        Contestant(
            "mjbatch", n, lambda: np.copyto(raw.bind("state"), saved),
            lambda: raw.step(nstep=physics_steps), physics_steps,
        ),
    )  # fmt: skip


def _plain(n: int) -> Contestant:
    """MuJoCo on one thread, one robot after the other."""
    simulation, _ = _falling(n)
    mj, saved, physics_steps = simulation.model.mj, _states(simulation), _physics_steps(simulation)
    robots = [mujoco.MjData(mj) for _ in range(n)]

    def restore() -> None:
        for data, state in zip(robots, saved, strict=True):
            mujoco.mj_setState(mj, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)

    def control_step() -> None:
        for data in robots:
            mujoco.mj_step(mj, data, physics_steps)

    return Contestant("mj_step, one thread", n, restore, control_step, physics_steps)


def _one_by_one(n: int) -> Contestant:
    """A Python loop over simulations of one robot each, as environments are often stepped."""
    together, command = _falling(n)
    saved = _states(together)
    robots = [Simulation(1) for _ in range(n)]
    for simulation in robots:
        simulation.reset(pushed_stand(PushSpec(force_n=0.0), [0], seed=0))
    holds = [JointCommand.hold(position[None]) for position in command.position]

    def restore() -> None:
        for simulation, state in zip(robots, saved, strict=True):
            _states(simulation)[:] = state

    def control_step() -> None:
        for simulation, hold in zip(robots, holds, strict=True):
            simulation.step(hold)

    physics_steps = _physics_steps(together)
    return Contestant("Simulation, one by one", n, restore, control_step, physics_steps)


def _physics_steps(simulation: Simulation) -> int:
    return round(CONTROL_PERIOD_S / simulation.dt_s)


def peak_memory(n: int) -> tuple[float, float]:
    """Peak resident memory of this process before and after stepping n robots, MB."""
    before = peak_mb()
    simulation = Simulation(n)
    scenario = pushed_stand(PushSpec(), np.arange(n), seed=0)
    simulation.reset(scenario)
    for _ in range(3):
        simulation.step(JointCommand.hold(scenario.position))
    return before, peak_mb()


def _print(figures: list[dict[str, Any]], ratios: dict[str, float], peak_mb: float) -> None:
    rows = [
        [f["name"], str(f["simulations"]), f"{f['control_steps_per_s']:.0f}",
         f"{f['physics_steps_per_s']:.0f}",
         f"{ratios[str(f['simulations'])]:.2f}" if f["name"] == "Simulation" else ""]
        for f in figures
    ]  # fmt: skip
    heads = ["", "robots", "control steps/s", "physics steps/s", "to mjbatch"]
    print_table(f"Speed of simulation; peak memory {peak_mb:.0f} MB", heads, rows)
