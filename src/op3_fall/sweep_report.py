# SPDX-License-Identifier: Apache-2.0
"""Write a sweep down: CSV, pictures, summary, table."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from op3_fall import plots, results
from op3_fall.detector_file import load_detector
from op3_fall.experiments import Reflex
from op3_fall.metrics import METRICS, unit
from op3_fall.model import load_model
from op3_fall.scenarios import PushSpec
from op3_fall.sweep import Grid, SweepResult, run_sweep

__all__ = ["report_sweep"]

AXES = ("stiffness_scale", "damping_scale", "restore_s")


def report_sweep(
    grid: Grid, push: PushSpec, seed: int, out: Path, model: str,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:  # fmt: skip
    """Run the sweep, write it into `out`, print the best cells, return the summary.

    Raises:
        BadInputError: the model or the folder cannot be used.
    """
    op3 = load_model(model)
    out = results.open_folder(out)
    reflex = Reflex(detectors=load_detector(None))
    result = run_sweep(op3, grid, push, reflex, seed=seed, progress=progress)
    cells = grid.cells
    rows = np.concatenate([cells, np.stack([result.means[m] for m in METRICS], axis=-1)], axis=1)
    results.write_csv(
        out / "sweep.csv", [*AXES, *METRICS], [[f"{v:.6g}" for v in r] for r in rows]
    )
    plots.plot_heat_maps(out / "heat_maps.png", result)
    plots.plot_pareto(out / "pareto.png", result)
    best = None if result.best is None else _cell(result, result.best)
    summary = {
        **results.provenance({"grid": asdict(grid), "push": asdict(push), "model": model}, seed),
        "falls": (len(cells) + 1) * grid.falls,
        "falls_diverged": result.diverged,
        "stiff": result.stiff,
        "best": best,
        "pareto_head_contact": cells[result.pareto("peak_torque_load_n_m", "head_contact_share")],
    }
    results.write_json(out / "summary.json", summary)
    shown = {"stiff": result.stiff} | ({"best": best} if best else {})
    title = f"{summary['falls']} falls; " + (
        "best: " + ", ".join(f"{axis} {best[axis]:g}" for axis in AXES)
        if best
        else "in every cell the head touches the floor more often than stiff"
    )
    results.print_table(
        title,
        ["metric", *shown],
        [
            [f"{METRICS[m]} ({unit(m)})", *(f"{column[m]:.3g}" for column in shown.values())]
            for m in METRICS
        ],
    )
    return summary


def _cell(result: SweepResult, cell: int) -> dict[str, float]:
    """A cell's settings and mean scores by name."""
    settings = dict(zip(AXES, result.grid.cells[cell], strict=True))
    return settings | {m: float(result.means[m][cell]) for m in METRICS}
