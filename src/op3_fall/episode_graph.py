# SPDX-License-Identifier: Apache-2.0
"""Draw one episode of the detectors' benchmark over time: what happened and what was told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from op3_fall.detection_plots import RULE_LOOKS
from op3_fall.detection_report import RULES
from op3_fall.detection_watch import OURS
from op3_fall.detectors import DetectorConfig
from op3_fall.fall_graphs import STYLE, save

__all__ = ["EpisodeTrace", "draw_episode"]

Array = NDArray[np.float64]

_CUT = {True: (-8.0, 20.0), False: (0.0, 2.0)}
"""Of the margin in cm and of the other scores: what is beyond is a fall that nothing saves."""
_CLEARANCE_CM = (-12.0, 20.0)
_LABELS = {"fall": "a fall", "non_fall": "no fall",
           "neither": "touched the floor, counts for nothing"}  # fmt: skip
_BEFORE_S, _AFTER_S = 0.3, 0.6
_NEAR_S = (-0.12, 0.3)
"""Before and at least after the first contact."""
_LINES = {
    "event_s": ("disturbance", "0.45", "--"),
    "no_return_s": ("point of no return", "#E69F00", "-."),
    "contact_s": ("first contact (truth)", "k", "-"),
}
_FELT = {"extended": ("#56B4E9", "v"), "stock": ("#CC79A7", "^")}


@dataclass(frozen=True)
class EpisodeTrace:
    """One episode, a driver cycle a row; the detectors' numbers are from extended readings."""

    time_s: Array
    """(t,)."""
    qpos: Array
    """Configurations of the model, (t, nq)."""
    true_tilt_rad: Array
    """(t,)."""
    tilt_rad: Array
    """Estimated, (t,)."""
    clearance_m: Array
    """Estimated height of the lowest part other than the feet, NaN while normal, (t,)."""
    torque_load_n_m: Array
    """(t,)."""
    spike_n_m: Array
    """Change of the gears' torque of arms and head, (t,)."""
    scores: Mapping[str, Array]
    """Of each rule, (t,); ours is the margin in m."""


def draw_episode(
    path: Path, trace: EpisodeTrace, times: Mapping[str, Any], config: DetectorConfig
) -> None:
    """Tilt and scores over the episode, torque and clearance around the contact.

    Args:
        path: the picture.
        trace: what was logged.
        times: what `replay` returns; a time that does not exist is None.
        config: of our detectors.
    """
    with mpl.rc_context(STYLE):
        figure = Figure((9, 9.6), layout="constrained")
        shares = [1.4, 1, 1, 1.4, 1]
        tilt, margin, known, torque, height = panels = figure.subplots(5, height_ratios=shares)
        for axes, below in ((tilt, known), (margin, known), (torque, height)):
            axes.sharex(below)
            axes.tick_params(labelbottom=False)
        _draw_tilt(tilt, trace)
        _draw_scores(margin, known, trace, config)
        _draw_torque(torque, trace, times, config)
        _draw_clearance(height, trace, config)
        for axes in panels:
            _mark(axes, times, named=axes is tilt)
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
        what = _LABELS[times["label"]]
        tilt.set(title=f"Episode {times['seed']}, {times['kind']}: {what}", ylim=(0, None))
        known.set(xlabel="time (s)", xlim=_span(trace, times))
        zoomed = ", around the first contact" if times["contact_s"] is not None else ""
        height.set(xlabel=f"time (s){zoomed}", xlim=_near(trace, times))
        save(figure, path)


def _span(trace: EpisodeTrace, times: Mapping[str, Any]) -> tuple[float, float]:
    """All of an episode without a fall, else from shortly before the disturbance on."""
    if times["contact_s"] is None:
        return float(trace.time_s[0]), float(trace.time_s[-1])
    last = max(times["contact_s"], times["alarm_s"][OURS] or 0.0) + _AFTER_S
    return max(times["event_s"] - _BEFORE_S, 0.0), min(last, float(trace.time_s[-1]))


def _near(trace: EpisodeTrace, times: Mapping[str, Any]) -> tuple[float, float]:
    """Around the first contact, until an impact was felt."""
    if times["contact_s"] is None:
        return _span(trace, times)
    felt = [t + 0.1 for profile in times["felt_s"].values() for t in profile[:1]]
    end = min(max(times["contact_s"] + _NEAR_S[1], *felt, 0.0), _span(trace, times)[1])
    return times["contact_s"] + _NEAR_S[0], end


def _mark(axes: Axes, times: Mapping[str, Any], *, named: bool) -> None:
    """What really happened, and the rules' first alarms."""
    lines = [(times[name], *look) for name, look in _LINES.items()]
    lines += [(times["alarm_s"][name], f"alarm: {RULES[name]}", colour, dashes)
              for name, (colour, dashes, _) in RULE_LOOKS.items()]  # fmt: skip
    for when, label, colour, dashes in lines:
        if when is not None:
            axes.axvline(when, color=colour, ls=dashes, lw=1.4, zorder=1,
                         label=label if named else None)  # fmt: skip


def _threshold(axes: Axes, value: float, label: str) -> None:
    axes.axhline(value, color="0.3", lw=1, ls=(0, (4, 2)), label=label)


def _draw_tilt(axes: Axes, trace: EpisodeTrace) -> None:
    axes.plot(trace.time_s, np.degrees(trace.true_tilt_rad), color="0.7", lw=3, label="true tilt")
    axes.plot(trace.time_s, np.degrees(trace.tilt_rad), color="k", lw=1, label="estimated tilt")
    axes.set(ylabel="tilt (deg)")


def _draw_scores(
    margin: Axes, known: Axes, trace: EpisodeTrace, config: DetectorConfig
) -> None:  # fmt: skip
    for name, score in trace.scores.items():
        colour, dashes, _ = RULE_LOOKS[name]
        axes, shown = (margin, 100 * score) if name == OURS else (known, score)
        axes.plot(trace.time_s, np.clip(shown, *_CUT[axes is margin]), color=colour, ls=dashes,
                  lw=1.2, label=RULES[name])  # fmt: skip
    rule = config.fall
    _threshold(margin, 100 * rule.margin_m,
               f"alarm: beyond {100 * rule.margin_m:g} cm\nfor {1e3 * rule.hold_s:g} ms",
               )  # fmt: skip
    _threshold(known, 1.0, "alarm: above 1")
    margin.set(ylabel="capture point\nbeyond soles (cm)", ylim=_CUT[True])
    known.set(ylabel="known rules:\nscore", ylim=_CUT[False])


def _draw_torque(
    axes: Axes, trace: EpisodeTrace, times: Mapping[str, Any], config: DetectorConfig
) -> None:
    dots = {"marker": "" if times["contact_s"] is None else ".", "ms": 3, "lw": 1}
    axes.plot(trace.time_s, trace.torque_load_n_m, color="0.6", label="torque load, all joints",
              **dots)  # fmt: skip
    axes.plot(trace.time_s, trace.spike_n_m, color="k",
              label="jump of the gears' torque,\narms and head", **dots)  # fmt: skip
    level = config.impact.gear_n_m
    _threshold(axes, level, f"blow: jump above {level:g} N m")
    for row, (profile, felt_s) in enumerate(times["felt_s"].items()):
        colour, marker = _FELT[profile]
        if felt_s:
            axes.plot(felt_s, np.full(len(felt_s), 0.96 - 0.09 * row), marker, color=colour,
                      mec="k", ms=7, transform=axes.get_xaxis_transform(),
                      label=f"impact felt, {profile} readings")  # fmt: skip
    axes.set(ylabel="torque (N m)", ylim=(0, None))


def _draw_clearance(axes: Axes, trace: EpisodeTrace, config: DetectorConfig) -> None:
    axes.plot(trace.time_s, 100 * trace.clearance_m, ".-", color="k", ms=3, lw=1,
              label="estimated clearance,\nfrom the alarm on")  # fmt: skip
    near_cm = 100 * config.impact.near_m
    _threshold(axes, near_cm, f"blows count below {near_cm:g} cm")
    axes.set(ylabel="clearance (cm)", ylim=_CLEARANCE_CM)
