# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, as numbers: `summary.json`."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import results, robot
from op3_fall.evaluation.cells import Cell
from op3_fall.evaluation.controllers import POLICY
from op3_fall.evaluation.evaluate import Plan
from op3_fall.evaluation.goals import best_baseline, goals
from op3_fall.evaluation.scenarios import MAIN, SCENARIOS
from op3_fall.evaluation.scores import summarise_falls

__all__ = ["summarise"]

_WORST_NAMES = {
    "joint_torque": robot.JOINTS, "gear_load": robot.JOINTS, "floor_force": robot.PARTS,
}  # fmt: skip


def summarise(
    plan: Plan, cells: Mapping[str, Mapping[str, Cell]], policy: Mapping[str, Any]
) -> dict[str, Any]:
    """Means, intervals and goals of cells by situation and controller.

    Args:
        plan: that was run.
        cells: what `evaluate` gave.
        policy: which one it was, for the settings; empty without one.
    """
    found = {
        name: {
            "text": SCENARIOS[name].text,
            "controllers": {c: _summarise_cell(cell, plan.seed) for c, cell in of.items()},
        }
        for name, of in cells.items()
    }
    means = {
        name: {
            c: {score: interval["mean"] for score, interval in one["scores"].items()}
            for c, one in of["controllers"].items()
        }
        for name, of in found.items()
    }
    settings = {
        "falls": plan.falls, "controllers": list(plan.controllers), "scenarios": plan.scenarios,
        "profile": plan.profile, "model": plan.model, "tolerances": asdict(plan.tolerances),
        "detector": asdict(plan.detectors), "policy": dict(policy),
    }  # fmt: skip
    return {
        **results.provenance(settings, plan.seed),
        "scenarios": found,
        "best_baseline": {name: best_baseline(of) for name, of in means.items()},
        "goals": goals(means),
        "summary": _plain(means, plan),
    }


def _summarise_cell(cell: Cell, seed: int) -> dict[str, Any]:
    names = {**_WORST_NAMES, "damage": tuple(cell.shares)}
    return {
        "falls": len(cell.diverged),
        "falls_diverged": int(cell.diverged.sum()),
        "scores": summarise_falls(cell.scores, seed),
        "damage_shares": {name: _mean(values) for name, values in cell.shares.items()},
        "worst": {what: _frequent(names[what], index) for what, index in cell.worst.items()},
    }


def _mean(values: NDArray[np.float64]) -> float:
    usable = values[np.isfinite(values)]
    return float(usable.mean()) if usable.size else math.nan


def _frequent(names: tuple[str, ...], index: NDArray[np.int64]) -> dict[str, float]:
    """Share of the falls in which each was the worst, most often first."""
    index = index[index >= 0]
    counts = np.bincount(index, minlength=len(names)) / max(1, len(index))
    order = np.argsort(-counts, kind="stable")
    return {names[i]: float(counts[i]) for i in order if counts[i]}


def _plain(means: Mapping[str, Mapping[str, Mapping[str, float]]], plan: Plan) -> dict[str, Any]:
    """For the policy's file: means over all directions; beside the best baseline everywhere."""
    policy = means.get(MAIN, {}).get(POLICY)
    if policy is None:
        return {}
    numbers: dict[str, float] = {"falls": plan.falls, "seed": plan.seed, **policy}
    for name, of in means.items():
        best = best_baseline(of)
        numbers[f"{name}.damage_index"] = of[POLICY]["damage_index"]
        if best is not None:
            numbers[f"{name}.best_baseline_damage_index"] = of[best]["damage_index"]
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
