# SPDX-License-Identifier: Apache-2.0
"""Pictures of what our detectors tell beyond the alarm: the side of the fall, and the impact."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from op3_fall.detection_set import Observations
from op3_fall.fall_graphs import COMPLIANT, STYLE, save
from op3_fall.impact_report import latencies

__all__ = ["plot_confusion", "plot_impacts"]

_DRIVER_MS = (8.0, 16.0)
"""A reading is of a driver cycle ago, and what happens waits for up to another for its sample."""
_LATENCY_MS = np.arange(0.0, 51.0, 2.0) + 0.01
"""A contact is told at the beginning of its physics step, so a bin has its right edge."""
_SECTORS = ("front", "front\nright", "right", "back\nright", "back", "back\nleft", "left",
            "front\nleft")  # fmt: skip
_ATTITUDES = {"held": "left alone", "braced": "braced"}


def plot_confusion(path: Path, at_alarm: ArrayLike, before_contact: ArrayLike) -> None:
    """The side that was told against the side that was down at the contact.

    Args:
        path: the picture.
        at_alarm: `direction_confusion` of the sides told at the alarm, (8, 8).
        before_contact: of those told with the last reading before the contact, (8, 8).
    """
    with mpl.rc_context({**STYLE, "axes.grid": False, "axes.spines.left": False,
                         "axes.spines.bottom": False}):  # fmt: skip
        figure = Figure((11, 5.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        image = None
        for axes, counts, when in (
            (panels[0], np.asarray(at_alarm), "at the alarm"),
            (panels[1], np.asarray(before_contact), "with the last reading before the contact"),
        ):
            share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for (j, i), count in np.ndenumerate(counts):
                if count:
                    axes.text(i, j, f"{count}", ha="center", va="center", fontsize=8,
                              color="w" if share[j, i] > 0.55 else "k")  # fmt: skip
            total = counts.sum()
            right = f"{np.trace(counts) / total:.1%}" if total else "none"
            axes.set(xticks=range(8), xticklabels=_SECTORS, xlabel="told side",
                     title=f"Told {when}\n{total} falls, {right} in the true sector")  # fmt: skip
            axes.tick_params(length=0, labelsize=8)
        panels[0].set(
            yticks=range(8), yticklabels=_SECTORS, ylabel="true side, down at the first contact"
        )
        bar = figure.colorbar(
            image, ax=panels, label="share of the falls to that side", shrink=0.8
        )
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        save(figure, path)


def plot_impacts(
    path: Path, seen: Observations, impacts: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    """How long after the true contact it was felt, by sensor profile and what the robot did.

    Args:
        path: the picture.
        seen: the set.
        impacts: what `impact_report` says of it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure((9, 6), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey=True, squeeze=False)
        for row, (profile, scores) in zip(panels, impacts.items(), strict=True):
            for axes, part in zip(row, _ATTITUDES, strict=True):
                latency_ms = 1e3 * latencies(getattr(seen, part), profile)
                shares = np.full(len(latency_ms), 1 / max(len(latency_ms), 1))
                axes.axvspan(*_DRIVER_MS, color="0.9", zorder=0, label="delay of the driver alone")
                axes.hist(latency_ms, _LATENCY_MS, weights=shares, color=COMPLIANT,
                          edgecolor="w", lw=0.5)  # fmt: skip
                _draw_latency_scores(axes, scores[part])
                axes.set(title=f"{profile} readings, {_ATTITUDES[part]}")
                axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            row[0].set(ylabel="share of felt contacts")
        for axes in panels[-1]:
            axes.set(xlabel="felt after the true first contact (ms)", xlim=(0, 50))
        panels[0, 1].legend(loc="center right", fontsize=8)
        save(figure, path)


def _draw_latency_scores(axes: Axes, scores: Mapping[str, Any]) -> None:
    lines = ["no fall that was noticed"]
    if scores["noticed_falls"]:
        lines = [f"{scores['recall_share']:.1%} of {scores['noticed_falls']} contacts felt"]
    if scores["noticed_falls"] and scores["recall_share"]:
        lines.append(f"median {1e3 * scores['median_latency_s']:.0f} ms, "
                     f"95th percentile {1e3 * scores['p95_latency_s']:.0f} ms")  # fmt: skip
    axes.text(0.97, 0.95, "\n".join(lines), ha="right", va="top", fontsize=8,
              transform=axes.transAxes)  # fmt: skip
