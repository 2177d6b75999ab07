# SPDX-License-Identifier: Apache-2.0
"""Draw falls, simulated or recorded: one over time, many as envelopes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from op3_fall.fall_detection import FallRule
from op3_fall.whole_file import whole_file

__all__ = ["COMPLIANT", "ENVELOPE_S", "STIFF", "STYLE", "Curve", "EnvelopePanel", "FallPicture",
           "draw_envelopes", "draw_fall", "save"]  # fmt: skip

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
MODES = (
    ("stiff", STIFF, "stiff"),
    ("compliant", COMPLIANT, "compliant"),
    ("unknown", "0.45", "gains not recorded"),
)
STYLE: dict[Any, Any] = {
    "figure.dpi": 100, "savefig.dpi": 160, "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "legend.edgecolor": "none",
    "legend.framealpha": 0.9,
}  # fmt: skip
_MARGIN_CM = (-12.0, 20.0)
"""From the middle of the soles to a fall that nothing saves; what is beyond is cut off."""
ENVELOPE_S = (-0.3, 1.8)
"""The envelopes' time before and after the impact, s."""


class Curve(NamedTuple):
    """Values over time."""

    times_s: Array
    values: Array


@dataclass(frozen=True)
class FallPicture:
    """What is known of one fall; a panel is drawn for each thing that is not None."""

    title: str
    span_s: tuple[float, float]
    """From when to when to draw."""
    events: Mapping[str, float] = field(default_factory=dict)
    """When what happened, s, NaN if it did not; keys of `EVENTS`."""
    load_n_m: Curve | None = None
    """Torque load from effort readings."""
    load_peak_n_m: Curve | None = None
    """Ground truth: the largest within each cycle."""
    push_s: tuple[float, float] | None = None
    """When the robot was pushed."""
    contact_s: float = np.nan
    """Ground truth: the first contact."""
    scales: tuple[Curve, Curve] | None = None
    """Stiffness and damping."""
    tilt_rad: Curve | None = None
    margin_m: Curve | None = None
    """How far the capture point is outside of the soles."""
    head_acceleration_g: Curve | None = None
    """Ground truth."""
    head_contact_s: float = np.nan
    """Ground truth."""
    angles_rad: Curve | None = None
    """Joint angles (t, j), drawn where there is nothing else."""


def save(figure: Figure, path: Path) -> None:
    """Write at once or not at all, without the software's version in the file."""
    with whole_file(path) as file:
        figure.savefig(file, metadata={"Software": None})


def draw_fall(path: Path, fall: FallPicture) -> None:
    """Torque load over time with what happened, the scales and the rest below."""
    panels: list[tuple[float, Callable[[Axes, FallPicture], None]]] = []
    for share, draw, known in (
        (3, _draw_load, fall.load_n_m),
        (1, _draw_scales, fall.scales),
        (1.2, _draw_tilt, fall.tilt_rad),
        (1.2, _draw_margin, fall.margin_m),
        (1.2, _draw_head, fall.head_acceleration_g),
    ):
        if known is not None:
            panels.append((share, draw))
    panels = panels or [(3, _draw_angles)]
    with mpl.rc_context(STYLE):
        figure = Figure((7.2, 6.4), layout="constrained")
        shares = [share for share, _ in panels]
        rows = figure.subplots(len(panels), 1, sharex=True, height_ratios=shares, squeeze=False)
        for axes, (_, draw) in zip(rows[:, 0], panels, strict=True):
            draw(axes, fall)
        top, bottom = rows[0, 0], rows[-1, 0]
        _mark(top, fall)
        top.set(title=fall.title)
        bottom.set(xlabel="time (s)", xlim=fall.span_s)
        save(figure, path)


def _mark(axes: Axes, fall: FallPicture) -> None:
    """What happened when, and the legend of the uppermost panel."""
    if fall.push_s is not None:
        axes.axvspan(*fall.push_s, color="0.92", label="push")
    if np.isfinite(fall.contact_s):
        axes.axvline(fall.contact_s, color="k", ls=":", lw=1, label="first contact (truth)")
    for name, label, colour, dashes in EVENTS:
        when = fall.events.get(name, np.nan)
        if np.isfinite(when):
            axes.axvline(when, color=colour, ls=dashes, lw=1.4, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, ncols=2, loc="upper right")


def _draw_load(axes: Axes, fall: FallPicture) -> None:
    assert fall.load_n_m
    if fall.load_peak_n_m:
        axes.fill_between(*fall.load_peak_n_m, color="0.8", lw=0,
                          label="largest within the cycle (physics rate)")  # fmt: skip
    axes.plot(*fall.load_n_m, color="k", lw=1.2, label="from effort readings")
    axes.set(ylabel="torque load (N m)", ylim=(0, None))


def _draw_scales(axes: Axes, fall: FallPicture) -> None:
    assert fall.scales
    stiffness, damping = fall.scales
    axes.plot(*stiffness, color=COMPLIANT, label="stiffness")
    axes.plot(*damping, color=STIFF, ls="--", label="damping")
    axes.set(ylabel="scale", ylim=(0, max(1.2, damping.values.max() + 0.2)))
    axes.legend(fontsize=7, ncols=2, loc="lower right")


def _draw_tilt(axes: Axes, fall: FallPicture) -> None:
    assert fall.tilt_rad
    axes.plot(fall.tilt_rad.times_s, np.degrees(fall.tilt_rad.values), color="k", lw=1)
    axes.set(ylabel="tilt (deg)", ylim=(0, None))


def _draw_margin(axes: Axes, fall: FallPicture) -> None:
    assert fall.margin_m
    centimetres = np.clip(100 * fall.margin_m.values, *_MARGIN_CM)
    axes.plot(fall.margin_m.times_s, centimetres, color="k", lw=1)
    alarm_cm = 100 * FallRule().margin_m
    axes.axhline(alarm_cm, color=EVENTS[0][2], lw=1, ls="--", label=f"alarm at {alarm_cm:g} cm, "
                 "the default")  # fmt: skip
    axes.set(ylabel="capture point\noutside (cm)", ylim=_MARGIN_CM)
    axes.legend(fontsize=7, loc="lower right")


def _draw_head(axes: Axes, fall: FallPicture) -> None:
    assert fall.head_acceleration_g
    axes.plot(*fall.head_acceleration_g, color="k", lw=1)
    if np.isfinite(fall.head_contact_s):
        axes.axvline(fall.head_contact_s, color=STIFF, lw=1.4, label="head contact")
        axes.legend(fontsize=7, loc="upper right")
    axes.set(ylabel="head\nacceleration (g)")


def _draw_angles(axes: Axes, fall: FallPicture) -> None:
    if fall.angles_rad:
        axes.plot(*fall.angles_rad, lw=0.8)
    axes.set(ylabel="joint angles (rad)")


@dataclass(frozen=True)
class EnvelopePanel:
    """One quantity over all falls."""

    label: str
    curves: Sequence[Curve | None]
    """One a fall, None where it has none."""


def draw_envelopes(
    path: Path,
    panels: Sequence[EnvelopePanel],
    impact_s: Sequence[float] | Array,
    modes: Sequence[str],
    since: str,
) -> None:
    """Median line and min-max band of each mode's falls, each fall's clock starting at its impact.

    Args:
        path: the picture.
        panels: from the top.
        impact_s: one a fall; those without (NaN) are left out.
        modes: one a fall, of `MODES`.
        since: what happens at time zero.
    """
    with mpl.rc_context(STYLE):
        figure = Figure((7.2, 6.4), layout="constrained")
        shares = [2.2] + [1] * (len(panels) - 1)
        rows = figure.subplots(len(panels), 1, sharex=True, height_ratios=shares, squeeze=False)
        for axes, panel in zip(rows[:, 0], panels, strict=True):
            for mode, colour, name in MODES:
                falls = [
                    (curve, start)
                    for curve, start, its in zip(panel.curves, impact_s, modes, strict=True)
                    if its == mode and curve is not None and np.isfinite(start)
                ]
                if falls:
                    many = "fall" if len(falls) == 1 else "falls"
                    _draw_envelope(axes, falls, colour, f"{name}, {len(falls)} {many}")
            axes.axvline(0, color="k", ls=":", lw=1)
            axes.set(ylabel=panel.label, ylim=(0, None))
        top, bottom = rows[0, 0], rows[-1, 0]
        top.set_title("OP3 falling: median and min-max over all falls")
        if top.get_legend_handles_labels()[0]:
            top.legend(loc="upper right")
        bottom.set(xlabel=f"time since {since} (s)", xlim=ENVELOPE_S)
        save(figure, path)


def _draw_envelope(
    axes: Axes, falls: Sequence[tuple[Curve, float]], colour: str, label: str
) -> None:
    grid = np.arange(*ENVELOPE_S, 0.004)
    aligned = np.ma.masked_invalid(np.stack([
        np.interp(grid + start, *curve, left=np.nan, right=np.nan) for curve, start in falls
    ]))  # fmt: skip
    low, high, middle = aligned.min(0), aligned.max(0), np.ma.median(aligned, 0)
    axes.fill_between(grid, low, high, color=colour, alpha=0.22, lw=0)
    axes.plot(grid, middle, color=colour, lw=1.6, label=label)
