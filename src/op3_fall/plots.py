# SPDX-License-Identifier: Apache-2.0
"""The graphs: torque load of one fall, envelopes over all, heat maps and Pareto fronts."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from op3_fall.experiments import FallRun
from op3_fall.metrics import METRICS, unit
from op3_fall.sweep import SweepResult
from op3_fall.truth import Measurement

__all__ = ["plot_envelopes", "plot_fall", "plot_heat_maps", "plot_pareto"]

Array = NDArray[np.float64]

# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
STIFF, COMPLIANT = "#D55E00", "#0072B2"
EVENTS = (
    ("alarm_s", "fall noticed", "#E69F00", "-"),
    ("reached_s", "pose nearly reached", "#009E73", "-"),
    ("softened_s", "softened", "#56B4E9", "--"),
    ("felt_s", "impact felt", "#CC79A7", "-"),
    ("restored_s", "restored", "#56B4E9", ":"),
)
_STYLE: dict[Any, Any] = {
    "figure.dpi": 100, "savefig.dpi": 160, "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "legend.edgecolor": "none",
    "legend.framealpha": 0.9,
}  # fmt: skip


def _save(figure: Figure, path: Path) -> None:
    """Write at once or not at all, without the software's version in the file."""
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, metadata={"Software": None})
    partial.replace(path)


def plot_fall(path: Path, run: FallRun, k: int, title: str, push_s: tuple[float, float]) -> None:
    """Torque load of fall `k` over time with what happened, the scales and the head below."""
    log = {name: values[:, k] for name, values in run.log.items()}
    t, truth = log["time_s"], run.truth
    with mpl.rc_context(_STYLE):
        figure = Figure((7.2, 5.6), layout="constrained")
        load, scale, head = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 1.2])
        load.fill_between(t, log["torque_load_peak_n_m"], color="0.8", lw=0,
                          label="largest within the cycle (physics rate)")  # fmt: skip
        load.plot(t, log["torque_load_n_m"], color="k", lw=1.2, label="from effort readings")
        load.axvspan(*push_s, color="0.92", label="push")
        if np.isfinite(truth.impact_s[k]):
            load.axvline(truth.impact_s[k], color="k", ls=":", lw=1, label="first contact (truth)")
        for name, label, colour, dashes in EVENTS:
            when = getattr(run.events, name)[k]
            if np.isfinite(when):
                load.axvline(when, color=colour, ls=dashes, lw=1.4, label=label)
        load.set(ylabel="torque load (N m)", title=title, ylim=(0, None))
        load.legend(fontsize=7, ncols=2, loc="upper right")
        scale.plot(t, log["stiffness_scale"], color=COMPLIANT, label="stiffness")
        scale.plot(t, log["damping_scale"], color=STIFF, ls="--", label="damping")
        scale.set(ylabel="scale", ylim=(0, max(1.2, log["damping_scale"].max() + 0.2)))
        scale.legend(fontsize=7, ncols=2, loc="lower right")
        head.plot(t, log["head_acceleration_m_s2"] / 9.81, color="k", lw=1)
        contact = truth.first_contact_s[k, 0]
        if np.isfinite(contact):
            head.axvline(contact, color=STIFF, lw=1.4, label="head contact")
            head.legend(fontsize=7, loc="upper right")
        head.set(xlabel="time (s)", ylabel="head\nacceleration (g)", xlim=(0, t[-1]))
        _save(figure, path)


def _envelope(
    axes: Axes, t: Array, values: Array, impact_s: Array, colour: str, label: str
) -> None:
    """Median and min-max band of (time, falls), each fall's clock starting at its impact."""
    grid = np.arange(-0.3, 1.8, 0.004)
    aligned = np.stack([np.interp(grid + s, t, values[:, i]) for i, s in enumerate(impact_s)])
    axes.fill_between(grid, aligned.min(0), aligned.max(0), color=colour, alpha=0.22, lw=0)
    axes.plot(grid, np.median(aligned, 0), color=colour, lw=1.6, label=label)


def plot_envelopes(
    path: Path, log: dict[str, Array], truth: Measurement, compliant: NDArray[np.bool_]
) -> None:
    """Torque load over all falls, stiff and compliant: median line and min-max band."""
    t = log["time_s"][:, 0]
    panels = (
        (log["torque_load_n_m"], "torque load,\nfrom effort (N m)"),
        (log["gear_load_n_m"].max(axis=-1), "worst gear load\nin the cycle (N m)"),
        (log["head_acceleration_m_s2"] / 9.81, "head acceleration,\npeak in the cycle (g)"),
    )
    usable = np.isfinite(truth.impact_s) & ~truth.diverged
    with mpl.rc_context(_STYLE):
        figure = Figure((7.2, 6.4), layout="constrained")
        rows = figure.subplots(3, 1, sharex=True, height_ratios=[2.2, 1, 1])
        for axes, (values, label) in zip(rows, panels, strict=True):
            for mode, colour, name in ((~compliant, STIFF, "stiff"),
                                       (compliant, COMPLIANT, "compliant")):  # fmt: skip
                pick = mode & usable
                if pick.any():
                    _envelope(axes, t, values[:, pick], truth.impact_s[pick], colour,
                              f"{name}, {pick.sum()} falls")  # fmt: skip
            axes.axvline(0, color="k", ls=":", lw=1)
            axes.set(ylabel=label, ylim=(0, None))
        rows[0].set_title("OP3 falling: median and min-max over all falls")
        rows[0].legend(loc="upper right")
        rows[-1].set(xlabel="time since first contact (s)", xlim=(-0.3, 1.8))
        _save(figure, path)


def plot_heat_maps(path: Path, result: SweepResult) -> None:
    """Each metric over stiffness and damping, averaged over the restore times."""
    grid = result.grid
    names = [n for n in METRICS if n not in ("worst_joint_torque_n_m", "peak_floor_force_n")]
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
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
        _save(figure, path)


def plot_pareto(path: Path, result: SweepResult) -> None:
    """Peak torque load against what it costs: head and gears, with the front that none beats."""
    x = "peak_torque_load_n_m"
    names = ("head_contact_share", "head_contact_speed_m_s", "peak_head_acceleration_g",
             "worst_gear_load_n_m")  # fmt: skip
    colours = result.grid.cells[:, 0]
    with mpl.rc_context(_STYLE):
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
        _save(figure, path)
