# SPDX-License-Identifier: Apache-2.0
"""How far the figures of a fall depend on the physics step: the same falls at finer steps."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.errors import BadInputError
from op3_fall.experiments import Reflex, run_falls
from op3_fall.model import load_model
from op3_fall.results import open_folder, print_table, provenance, write_json
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.simulation import Simulation
from op3_fall.truth import Measurement

__all__ = ["STEPS_MS", "convergence"]

Array = NDArray[np.float64]

STEPS_MS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The first is the reference of the others; all divide the driver cycle and the control period."""
_DIRECTIONS_DEG = (0.0, 90.0, 180.0, -90.0)
_FIGURES = {
    "peak_torque_load": "peak torque load",
    "peak_gear_load": "peak gear load",
    "peak_floor_force": "peak floor force",
    "peak_head_acceleration": "peak head acceleration",
    "peak_head_speed": "peak head speed",
    "impact_time": "time of impact",
}


def convergence(
    out: Path, *, falls: int = 16, seed: int = 0, duration_s: float = 3.6
) -> dict[str, Any]:
    """Run the same stiff falls at every step of `STEPS_MS`; table, summary.json, convergence.md.

    Args:
        out: folder for the results.
        falls: number of falls, pushed to the front, right, back and left in turn.
        seed: of push and start jitter.
        duration_s: simulated time of each fall, s.

    Returns:
        The content of summary.json.

    Raises:
        BadInputError: fewer than 4 falls, or `out` cannot be written.
    """
    if falls < len(_DIRECTIONS_DEG):
        raise BadInputError(
            f"number of falls is {falls}; allowed is 4 or more, one for each direction; raise it"
        )
    open_folder(out)
    scenario = _scenario(falls, seed)
    figures = [_run(scenario, step_ms, duration_s) for step_ms in STEPS_MS]
    rows = [
        {
            "step_ms": step_ms,
            "physics_steps": round(duration_s / (step_ms * 1e-3)) * falls,
            **{f"{k}_error": _median_error(of[k], figures[0][k]) for k in _FIGURES},
            "compared": {k: _compared(of[k], figures[0][k]) for k in _FIGURES},
        }
        for step_ms, of in zip(STEPS_MS, figures, strict=True)
    ]
    settings = {"falls": falls, "duration_s": duration_s, "directions_deg": _DIRECTIONS_DEG}
    summary = {
        **provenance(settings, seed),
        "reference_step_ms": STEPS_MS[0],
        "reference_median": {k: _median(v[np.isfinite(v)]) for k, v in figures[0].items()},
        "steps": rows,
    }
    write_json(out / "summary.json", summary)
    heads = ["", *(f"{step_ms:g} ms" for step_ms in STEPS_MS)]
    cells = _cells(rows)
    (out / "convergence.md").write_text(_markdown(heads, cells))
    print_table(f"Median relative error against {STEPS_MS[0]:g} ms, {falls} falls", heads, cells)
    return summary


def _scenario(falls: int, seed: int) -> Scenario:
    """Fall k is pushed in direction k modulo 4."""
    parts = [
        pushed_stand(PushSpec(direction_deg=d), np.arange(k, falls, 4), seed=seed)
        for k, d in enumerate(_DIRECTIONS_DEG)
    ]
    return Scenario(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Scenario)}
    )


def _run(scenario: Scenario, step_ms: float, duration_s: float) -> dict[str, Array]:
    """Figures of every fall at that step, (n,) each."""
    n = len(scenario)
    simulation = Simulation(n, model=load_model(timestep_s=step_ms * 1e-3))
    stiff = np.zeros(n, dtype=bool)
    # The head mostly stays clear of the floor: not its speed at its contact but the largest one.
    head_speed = np.zeros(n)

    def watch(_: float) -> None:
        np.maximum(head_speed, simulation.measure().head_speed, out=head_speed)

    run = run_falls(
        simulation, scenario, Reflex(), stiff, duration_s=duration_s, log=False, progress=watch
    )
    return _figures(run.truth, head_speed)


def _figures(truth: Measurement, head_speed: Array) -> dict[str, Array]:
    """The figures of `_FIGURES` in SI units, NaN where the physics broke down, (n,) each."""
    peak = truth.impact_peak
    values = (
        peak.torque_load, peak.gear_load.max(axis=-1), peak.floor_force.max(axis=-1),
        peak.head_acceleration, head_speed, truth.impact_s,
    )  # fmt: skip
    return {k: np.where(truth.diverged, np.nan, v) for k, v in zip(_FIGURES, values, strict=True)}


def _compared(values: Array, reference: Array) -> int:
    """Falls that have the figure at both steps: the head need not touch the floor in each."""
    return int((np.isfinite(values) & np.isfinite(reference)).sum())


def _median(values: Array) -> float:
    """NaN where there is none."""
    return float(np.median(values)) if values.size else float("nan")


def _median_error(values: Array, reference: Array) -> float:
    both = np.isfinite(values) & np.isfinite(reference) & (reference != 0)
    return _median(np.abs(values[both] - reference[both]) / reference[both])


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """A line for each figure, a column for each step; the cost comes last."""
    errors = {name: [row[f"{k}_error"] for row in rows] for k, name in _FIGURES.items()}
    lines = [[name, *(_percent(e) for e in of)] for name, of in errors.items()]
    return [*lines, ["physics steps", *(f"{row['physics_steps']}" for row in rows)]]


def _percent(error: float) -> str:
    return "-" if np.isnan(error) else f"{100 * error:.2g} %"


def _markdown(heads: list[str], cells: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
