# SPDX-License-Identifier: Apache-2.0
"""What a policy was to reach, beside what it reached."""

from collections.abc import Mapping
from typing import Any

from op3_fall.evaluation.controllers import BASELINES, POLICY
from op3_fall.evaluation.scenarios import MAIN
from op3_fall.evaluation.scores import LABELS

__all__ = ["best_baseline", "goals"]

Means = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Mean of each score by situation, controller and score."""

_REDUCTIONS = (
    ("peak_head_acceleration_g", "freeze", 0.68),
    ("peak_floor_force_n", "freeze", 0.68),
    ("peak_torque_load_n_m", "scripted", 0.5),
    ("worst_gear_load_n_m", "scripted", 0.5),
)
_SHARES = (
    ("head_contact_share", "falls with head contact", 0.001),
    ("saturating_share", LABELS["saturating_share"], 0.01),
)
_DAMAGE_REDUCTION, _KEPT_GAIN = 0.4, 0.8


def best_baseline(of: Mapping[str, Mapping[str, float]]) -> str | None:
    """The baseline with the least mean damage index in a situation; None if none was run."""
    run = [name for name in BASELINES if name in of]
    return min(run, key=lambda name: of[name]["damage_index"]) if run else None


def goals(means: Means) -> list[dict[str, Any]]:
    """Each goal, its bound, what was reached and whether that met it.

    None without a policy. A goal is left out where its situation or its baseline was not run.
    """
    rows: list[dict[str, Any]] = []
    main = means.get(MAIN, {})
    if POLICY not in main:
        return rows
    policy = main[POLICY]
    for score, baseline, bound in _REDUCTIONS:
        if baseline in main:
            value = _reduction(policy[score], main[baseline][score])
            rows.append(_row(f"{LABELS[score]}, less than {baseline}", bound, value))
    for score, text, bound in _SHARES:
        rows.append(_row(text, bound, policy[score], at_least=False))
    gains = {name: gain for name, of in means.items() if (gain := _gain(of)) is not None}
    if MAIN in gains:
        text = f"damage index, less than {best_baseline(main)}, the best baseline"
        rows.append(_row(text, _DAMAGE_REDUCTION, gains[MAIN]))
    rows += [
        _row(f"share of that gain kept: {name}", _KEPT_GAIN, gain / gains[MAIN]
             if gains[MAIN] > 0 else float("nan"))
        for name, gain in gains.items() if MAIN in gains and name != MAIN
    ]  # fmt: skip
    return rows


def _gain(of: Mapping[str, Mapping[str, float]]) -> float | None:
    """Share by which the policy's damage index is below that of the best baseline."""
    best = best_baseline(of)
    if best is None or POLICY not in of:
        return None
    return _reduction(of[POLICY]["damage_index"], of[best]["damage_index"])


def _reduction(value: float, against: float) -> float:
    return 1 - value / against if against > 0 else float("nan")


def _row(goal: str, bound: float, value: float, *, at_least: bool = True) -> dict[str, Any]:
    met = value >= bound if at_least else value < bound
    return {"goal": goal, "bound": bound, "at_least": at_least, "value": value, "met": bool(met)}
