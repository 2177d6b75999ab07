# SPDX-License-Identifier: Apache-2.0
"""The graphs of an evaluation: torque load over time, damage index everywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from op3_fall.evaluation.cells import SINCE_S, Cell
from op3_fall.fall_graphs import STYLE, save

__all__ = ["plot_damage", "plot_loads"]

# Okabe and Ito's palette, as in the other graphs: stiff is orange, compliant blue.
_COLOURS = {
    "freeze": "#D55E00", "limp": "#999999", "scripted": "#E69F00",
    "scripted_compliant": "#0072B2", "policy": "#009E73",
}  # fmt: skip
_LABELS = {"scripted_compliant": "scripted, compliant"}
_BAND_PERCENT = (5, 95)


def plot_loads(path: Path, cells: Mapping[str, Cell], title: str) -> None:
    """Torque load since the first contact: median and 5 to 95 % band of each controller's falls.

    A panel each, as bands on top of each other cannot be told apart, and one for the medians.
    """
    bands = {name: _band(cell) for name, cell in cells.items()}
    columns = -(-(len(cells) + 1) // 2)
    with mpl.rc_context(STYLE):
        figure = Figure((1 + 2.7 * columns, 5.4), layout="constrained")
        panels = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False).ravel()
        last = panels[len(cells)]
        for panel, (name, (low, middle, high)) in zip(panels, bands.items(), strict=False):
            colour, label = _COLOURS[name], _LABELS.get(name, name)
            panel.fill_between(SINCE_S, low, high, color=colour, alpha=0.25, lw=0)
            for axes in (panel, last):
                axes.plot(SINCE_S, middle, color=colour, lw=1.5, label=label)
            panel.set_title(label)
        last.set_title("all medians")
        last.legend(fontsize=7)
        for panel in panels:
            panel.axvline(0, color="k", ls=":", lw=1)
            panel.tick_params(labelbottom=True)
        for panel in panels[len(cells) + 1 :]:
            panel.set_visible(False)
        last.set(xlim=(SINCE_S[0], 1.5), ylim=(0, None))
        figure.supxlabel("time since first contact (s)", fontsize=9)
        figure.supylabel("torque load, largest in each driver cycle (N m)", fontsize=9)
        figure.suptitle(f"{title}: median and 5 to 95 % of the falls", fontsize=10)
        save(figure, path)


def _band(cell: Cell) -> Any:
    """5 %, median and 95 % over the falls at each time, (3, times)."""
    known = np.isfinite(cell.load_n_m).any(axis=0)
    band, (low, high) = np.full((3, len(SINCE_S)), np.nan), _BAND_PERCENT
    if known.any():
        band[:, known] = np.nanpercentile(cell.load_n_m[:, known], [low, 50, high], axis=0)
    return band


def plot_damage(path: Path, summary: Mapping[str, Any]) -> None:
    """Damage index with its interval by situation and controller; 1 is what a part takes."""
    scenarios = summary["scenarios"]
    controllers = summary["settings"]["controllers"]
    width, places = 0.8 / len(controllers), np.arange(len(scenarios))
    with mpl.rc_context(STYLE):
        figure = Figure((max(5.0, 2.0 + 0.72 * len(scenarios)), 4.8), layout="constrained")
        axes = figure.subplots()
        for k, name in enumerate(controllers):
            found = [of["controllers"][name]["scores"]["damage_index"]
                     for of in scenarios.values()]  # fmt: skip
            mean, low, high = (np.array([f[key] for f in found], dtype=float)
                               for key in ("mean", "low", "high"))  # fmt: skip
            at = places + (k - (len(controllers) - 1) / 2) * width
            axes.bar(at, mean, width, color=_COLOURS[name],
                     yerr=np.maximum([mean - low, high - mean], 0), ecolor="0.2",
                     error_kw={"lw": 0.8}, label=_LABELS.get(name, name))  # fmt: skip
        axes.axhline(1, color="k", ls="--", lw=1)
        axes.grid(visible=False, axis="x")
        axes.set_xticks(places, list(scenarios), rotation=40, ha="right",
                        rotation_mode="anchor")  # fmt: skip
        axes.set(ylabel="damage index, mean and 95 % interval",
                 title="Worst load of a fall over what the part takes (dashed: 1)")  # fmt: skip
        axes.set_xlim(-0.6, len(scenarios) - 0.4)
        figure.legend(ncols=len(controllers), loc="outside lower center", fontsize=8)
        save(figure, path)
