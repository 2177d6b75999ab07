# SPDX-License-Identifier: Apache-2.0
"""Pictures of the fall rules in the benchmark: false alarms against lead time, and lead times."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from op3_fall.detection_report import RULES, STANDING, Curve, Operated, alarms_of, operated
from op3_fall.detection_set import Observations
from op3_fall.detection_watch import OURS, PROFILES, Label, Observed
from op3_fall.estimate_plots import plot_confusion, plot_impacts
from op3_fall.fall_detection import FallRule
from op3_fall.fall_graphs import COMPLIANT, STIFF, STYLE, save
from op3_fall.known_rules import GravityLookAhead, StockDemo, TiltScaledRate
from op3_fall.recipes import FALLS

__all__ = ["RULE_LOOKS", "plot_all", "plot_curves", "plot_leads"]

Array = NDArray[np.float64]

RULE_LOOKS: dict[str, tuple[str, str, str]] = {
    OURS: (COMPLIANT, "-", "o"),
    GravityLookAhead.name: ("#CC79A7", "-.", "^"),
    TiltScaledRate.name: ("#009E73", "--", "s"),
    StockDemo.name: (STIFF, ":", "D"),
}
"""Colour, dashes and marker of each rule, in the order of the legends."""
_MEDIAN_GOAL_S, _P5_GOAL_S = 0.25, 0.12
"""Lead time of pushes from standing that the detectors are made for."""
_GOAL, _GOAL_INK = "#E69F00", "#8A5A00"
_EVER_S = 1e3
"""Beyond every axis."""


def plot_all(
    out: Path, seen: Observations, report: Mapping[str, Any], curves: Mapping[str, Curve],
    rule: FallRule,
) -> None:  # fmt: skip
    """Every picture of the benchmark: `curves.png`, `leads.png`, `directions.png`, `impacts.png`.

    Args:
        out: the folder.
        seen: the set.
        report: what `detection_report` says of it.
        curves: of each rule, by name.
        rule: ours.
    """
    told = report["ours"][PROFILES[0]]
    plot_curves(out / "curves.png", curves, operated(rule))
    plot_leads(out / "leads.png", seen.held, rule)
    plot_confusion(
        out / "directions.png", told["confusion_at_alarm"], told["confusion_before_contact"]
    )
    plot_impacts(out / "impacts.png", seen, report["impacts"])


def plot_curves(path: Path, curves: Mapping[str, Curve], at: Mapping[str, Operated]) -> None:
    """False alarms, and disturbances survived that set a rule off, against its lead time.

    Args:
        path: the picture.
        curves: of each rule, by name.
        at: the threshold of each that its marker shows.
    """
    with mpl.rc_context(STYLE):
        figure = Figure((10, 6.8), layout="constrained")
        markers = "Markers: ours as configured, the others as published"
        panels = _below_legend(figure, curves, markers).subplots(2, 2, sharex="col", sharey="row")
        for name in _in_order(curves):
            curve, level = curves[name], at[name].threshold
            for axes, lead_s, cost in (
                (panels[0, 0], curve.median_lead_s, curve.false_alarms_per_hour),
                (panels[0, 1], curve.p5_lead_s, curve.false_alarms_per_hour),
                (panels[1, 0], curve.median_lead_s, curve.near_share),
                (panels[1, 1], curve.p5_lead_s, curve.near_share),
            ):
                _draw_curve(axes, name, 1e3 * np.maximum(lead_s, 0.0), cost,
                            beyond=np.asarray(curve.threshold) - level)  # fmt: skip
        _scale_rates(panels[0, 0], [c.false_alarms_per_hour for c in curves.values()])
        panels[0, 0].set(ylabel="false alarms per hour\nof what is no fall")
        panels[1, 0].set(ylabel="robots that recovered from a\ndisturbance but set the alarm off",
                         ylim=(-0.02, 1))  # fmt: skip
        panels[1, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[0, 0].annotate("better", (0.99, 0.06), (0.88, 0.2), xycoords="axes fraction",
                              color="0.35", arrowprops={"arrowstyle": "->", "color": "0.35"},
                              )  # fmt: skip
        columns = (("median", _MEDIAN_GOAL_S), ("5th percentile", _P5_GOAL_S))
        for (top, bottom), (name, goal_s) in zip(panels.T, columns, strict=True):
            bottom.set(xlabel=f"lead time, {name} of pushes from standing (ms)\n"
                       "0: at the first contact, later or never", xlim=(-5, None))  # fmt: skip
            top.set_title(f"{name} lead time; goal: {1e3 * goal_s:g} ms, no false alarm",
                          fontsize=9, color=_GOAL_INK)  # fmt: skip
            for axes in (top, bottom):
                axes.axvline(1e3 * goal_s, color=_GOAL, lw=1.2, ls="--", zorder=1)
        save(figure, path)


def _draw_curve(axes: Axes, name: str, lead_ms: Array, cost: Array, beyond: Array) -> None:
    """The curve, and a marker where its threshold is `beyond` the rule's own by nothing."""
    colour, dashes, marker = RULE_LOOKS[name]
    axes.plot(lead_ms, cost, color=colour, ls=dashes, lw=1.6)
    own = [np.interp(0.0, beyond, values) for values in (lead_ms, cost)]
    axes.plot(*own, marker, color=colour, mec="k", ms=8, zorder=3, clip_on=False)


def _in_order(names: Mapping[str, Any]) -> list[str]:
    return [name for name in RULE_LOOKS if name in names]


def _scale_rates(axes: Axes, rates: Sequence[Array]) -> None:
    """Logarithmic down to the smallest rate that the set can show, zero below it."""
    together = np.concatenate([*rates, [100.0]])
    smallest = float(together[together > 0].min())
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.5)
    axes.set_ylim(-0.15 * smallest, 1.5 * float(together.max()))
    decades = 10.0 ** np.arange(np.ceil(np.log10(smallest)), np.log10(together.max()) + 0.2)
    axes.set_yticks([0.0, *decades], ["0", *(f"{d:g}" for d in decades)])
    axes.minorticks_off()


def _below_legend(figure: Figure, names: Mapping[str, Any], markers: str = "") -> Any:
    """The part of the figure below a legend of the rules; `markers` says what theirs mean."""
    parts: Any = figure.subfigures(2, 1, height_ratios=[0.06, 0.94])
    top, bottom = parts
    handles = [
        Line2D([], [], color=RULE_LOOKS[name][0], ls=RULE_LOOKS[name][1], lw=1.8,
               marker=RULE_LOOKS[name][2] if markers else "", mec="k", ms=7, label=RULES[name])
        for name in _in_order(names)
    ]  # fmt: skip
    top.legend(handles=handles, loc="center", ncols=4, fontsize=8.5, title=markers,
               title_fontsize=8.5)  # fmt: skip
    return bottom


def plot_leads(path: Path, held: Observed, rule: FallRule) -> None:
    """How early each rule notices falls, before the contact and after the point of no return.

    Args:
        path: the picture.
        held: falls of robots that go on with what they did.
        rule: ours.
    """
    fell = held.label == Label.FALL
    standing = fell & (held.episodes.kind == STANDING)
    alarms = {name: alarms_of(held, name, at, rule.settle_s)
              for name, at in operated(rule).items()}  # fmt: skip
    leads = {name: held.contact_s - alarm for name, alarm in alarms.items()}
    with mpl.rc_context(STYLE):
        figure = Figure((10, 7.6), layout="constrained")
        (some, every), (after, kinds) = _below_legend(figure, alarms).subplots(2, 2)
        for axes, which, what in ((some, standing, "pushes from standing"),
                                  (every, fell, "all falls")):  # fmt: skip
            _draw_shares(axes, {name: -lead[which] for name, lead in leads.items()})
            axes.set(title=f"Before the first contact: {what}", xlim=(-600, 100),
                     xlabel="alarm before the first contact (ms)")  # fmt: skip
        _mark_goals(some)
        _draw_shares(after, {name: (alarm - held.no_return_s)[fell]
                             for name, alarm in alarms.items()})  # fmt: skip
        after.set(title="After the point of no return: all falls", xlim=(-100, 1000),
                  xlabel="alarm after the point of no return (ms)")  # fmt: skip
        _draw_kinds(kinds, held, leads[OURS])
        for axes in (some, every, kinds):  # the time before the contact, without its sign
            axes.xaxis.set_major_formatter(lambda ms, _: f"{-ms:g}" if ms else "0")
        save(figure, path)


def _mark_goals(axes: Axes) -> None:
    """Curves should pass on the left of the stars."""
    for goal_s, share in ((_MEDIAN_GOAL_S, 0.5), (_P5_GOAL_S, 0.95)):
        axes.plot(-1e3 * goal_s, share, "*", color=_GOAL, mec="k", ms=13, zorder=4)
        axes.annotate(f"goal: {share:.0%} by {1e3 * goal_s:g} ms", (-1e3 * goal_s, share),
                      xytext=(8, -12), textcoords="offset points", fontsize=8, zorder=4,
                      bbox={"fc": "w", "ec": "none", "pad": 1, "alpha": 0.85})  # fmt: skip


def _draw_shares(axes: Axes, times_s: Mapping[str, Array]) -> None:
    """Share of falls that each rule has noticed until then; NaN is never."""
    for name in _in_order(times_s):
        colour, dashes, _ = RULE_LOOKS[name]
        order = np.sort(times_s[name][np.isfinite(times_s[name])])
        share = np.arange(len(order) + 1) / max(len(times_s[name]), 1)
        axes.step(1e3 * np.concatenate([[-_EVER_S], order, [_EVER_S]]), [*share, share[-1]],
                  where="post", color=colour, ls=dashes, lw=1.6)  # fmt: skip
    count = len(next(iter(times_s.values())))
    axes.axvline(0, color="k", ls=":", lw=1)
    axes.set(ylabel=f"share of falls noticed by then (n = {count})", ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _draw_kinds(axes: Axes, held: Observed, lead_s: Array) -> None:
    """Lead time of ours by kind of fall: every fall a dot, and percentiles."""
    rng = np.random.default_rng(0)
    labels = []
    for row, kind in enumerate(FALLS):
        which = (held.label == Label.FALL) & (held.episodes.kind == kind)
        at = -1e3 * lead_s[which & np.isfinite(lead_s)]
        labels.append(f"{kind} ({len(at)})")
        if len(at):
            scatter = row + rng.uniform(-0.3, 0.3, len(at))
            dim = min(max(20 / len(at), 0.15), 0.7)
            axes.plot(at, scatter, ".", ms=4, mew=0, zorder=1, color=COMPLIANT, alpha=dim)
            low, quarter, middle, three_quarters, high = np.percentile(at, (5, 25, 50, 75, 95))
            axes.plot([low, high], [row, row], "k-", lw=1)
            axes.plot([quarter, three_quarters], [row, row], "k-", lw=5, solid_capstyle="butt")
            axes.plot(middle, row, "o", ms=6, mfc="w", mec="k", zorder=3)
    axes.axvline(0, color="k", ls=":", lw=1)
    axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.4, -0.6),
             title="Ours by kind of fall: median, quartiles, 5 to 95 %", xlim=(-600, 400),
             xlabel="alarm before the first contact (ms)")  # fmt: skip
