# SPDX-License-Identifier: Apache-2.0
"""The graphs of the studies: falls and their envelopes, heat maps and Pareto fronts."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from op3_fall.experiments import FallRun
from op3_fall.fall_graphs import (
    STIFF,
    STYLE,
    Curve,
    EnvelopePanel,
    FallPicture,
    draw_envelopes,
    draw_fall,
    save,
)
from op3_fall.metrics import METRICS, unit
from op3_fall.robot import PARTS
from op3_fall.sensors import GRAVITY
from op3_fall.sweep import SweepResult
from op3_fall.truth import Measurement

__all__ = ["plot_envelopes", "plot_fall", "plot_heat_maps", "plot_pareto"]

Array = NDArray[np.float64]


def plot_fall(path: Path, run: FallRun, k: int, title: str, push_s: tuple[float, float]) -> None:
    """Torque load of fall `k` over time with what happened, the scales and the head below."""
    log = {name: values[:, k] for name, values in run.log.items()}
    t, truth = log["time_s"], run.truth
    draw_fall(path, FallPicture(
        title, (0, t[-1]), {name: times[k] for name, times in vars(run.events).items()},
        load_n_m=Curve(t, log["torque_load_n_m"]),
        load_peak_n_m=Curve(t, log["torque_load_peak_n_m"]),
        push_s=push_s, contact_s=truth.impact_s[k],
        scales=(Curve(t, log["stiffness_scale"]), Curve(t, log["damping_scale"])),
        margin_m=Curve(t, log["margin_m"]),
        head_acceleration_g=Curve(t, log["head_acceleration_m_s2"] / GRAVITY),
        head_contact_s=truth.first_contact_s[k, PARTS.index("head")],
    ))  # fmt: skip


def plot_envelopes(
    path: Path, log: dict[str, Array], truth: Measurement, compliant: NDArray[np.bool_]
) -> None:
    """Torque load over all falls, stiff and compliant: median line and min-max band."""
    quantities = (
        (log["torque_load_n_m"], "torque load,\nfrom effort (N m)"),
        (log["gear_load_n_m"].max(axis=-1), "worst gear load\nin the cycle (N m)"),
        (log["head_acceleration_m_s2"] / GRAVITY, "head acceleration,\npeak in the cycle (g)"),
    )
    falls = range(len(compliant))
    panels = [
        EnvelopePanel(label, [Curve(log["time_s"][:, i], values[:, i]) for i in falls])
        for values, label in quantities
    ]
    impact_s = np.where(truth.diverged, np.nan, truth.impact_s)
    modes = ["compliant" if soft else "stiff" for soft in compliant]
    draw_envelopes(path, panels, impact_s, modes, since="first contact")


def plot_heat_maps(path: Path, result: SweepResult) -> None:
    """Each metric over stiffness and damping, averaged over the restore times."""
    grid = result.grid
    names = [n for n in METRICS if n not in ("worst_joint_torque_n_m", "peak_floor_force_n")]
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure((11, 5.6), layout="constrained")
        axes = figure.subplots(2, 4).ravel()
        for panel, name in zip(axes, names, strict=False):
            cells = result.means[name].reshape(grid.shape).mean(axis=-1).T
            image = panel.imshow(cells, origin="lower", aspect="auto", cmap="viridis")
            bright = image.norm(cells) > 0.6
            for (j, i), value in np.ndenumerate(cells):
                colour = "k" if bright[j, i] else "w"
                text = f"{value:.1%}" if name == "saturated_share" else f"{value:.3g}"
                panel.text(i, j, text, ha="center", va="center", fontsize=6.5,
                           color=colour)  # fmt: skip
            panel.set(xticks=range(grid.shape[0]), xticklabels=grid.stiffness,
                      yticks=range(grid.shape[1]), yticklabels=grid.damping,
                      title=f"{METRICS[name]} ({unit(name)})\nstiff: {result.stiff[name]:.3g}",
                      xlabel="stiffness scale", ylabel="damping scale")  # fmt: skip
        restore = axes[-1]
        for i, k in enumerate(grid.stiffness):
            impulse = result.means["torque_impulse_n_m_s"].reshape(grid.shape)[i].mean(axis=0)
            shade = mpl.colormaps["viridis"](i / max(1, len(grid.stiffness) - 1))
            restore.plot(grid.restore_s, impulse, ".-", color=shade, label=f"{k:g}")
        restore.set(xlabel="restore time (s)", ylabel="torque impulse (N m s)",
                    title="torque impulse\nby restore time")  # fmt: skip
        restore.legend(title="stiffness", fontsize=6.5, title_fontsize=7, loc="center left",
                       bbox_to_anchor=(1.0, 0.5))  # fmt: skip
        save(figure, path)


def plot_pareto(path: Path, result: SweepResult) -> None:
    """Peak torque load against what it costs: head and gears, with the front that none beats."""
    x = "peak_torque_load_n_m"
    names = ("head_contact_share", "head_contact_speed_m_s", "peak_head_acceleration_g",
             "worst_gear_load_n_m")  # fmt: skip
    colours = result.grid.cells[:, 0]
    with mpl.rc_context(STYLE):
        figure = Figure((9, 6.4), layout="constrained")
        panels = figure.subplots(2, 2)
        for axes, y in zip(panels.ravel(), names, strict=True):
            points = axes.scatter(result.means[x], result.means[y], c=colours, s=22, zorder=2)
            front = result.pareto(x, y)
            axes.plot(result.means[x][front], result.means[y][front], color="0.4", lw=1,
                      drawstyle="steps-post", label="Pareto front")  # fmt: skip
            axes.plot(result.stiff[x], result.stiff[y], "s", color=STIFF, label="stiff", zorder=3)
            if result.best is not None:
                best = result.means[x][result.best], result.means[y][result.best]
                axes.plot(*best, "*", ms=13, zorder=3, color="#CC79A7", label="best for the head")
            axes.set(xlabel=f"{METRICS[x]} ({unit(x)})", ylabel=f"{METRICS[y]} ({unit(y)})")
        panels[0, 0].legend(fontsize=7)
        figure.colorbar(points, ax=panels, label="stiffness scale", shrink=0.6)
        save(figure, path)
