# SPDX-License-Identifier: Apache-2.0
"""The benchmark's pictures show the numbers they are given, and stand groups that are empty."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from op3_fall import detection_plots, estimate_plots
from op3_fall.detection_plots import RULE_LOOKS, plot_all, plot_curves, plot_leads
from op3_fall.detection_report import RULES, Curve, Operated
from op3_fall.detection_set import Observations
from op3_fall.detection_watch import OURS, PROFILES, Felt, Label, Observed, Verdict
from op3_fall.episodes import draw
from op3_fall.estimate_plots import plot_confusion, plot_impacts
from op3_fall.fall_detection import FallRule
from op3_fall.impact_report import impact_report

pytestmark = pytest.mark.filterwarnings("error")

CYCLE_S, CONTACT_S = 0.008, 2.4


def observed(leads_s: list[float | None], label: int, felt_after_s: float = 0.012) -> Observed:
    """Pushes from standing (seeds of that kind) that ours notices so long before the contact."""
    n, times = len(leads_s), np.arange(1.0, 400.0) * CYCLE_S
    episodes = draw(18 * np.arange(n))
    leads = np.array([np.nan if lead is None else lead for lead in leads_s])
    alarm = CONTACT_S - leads
    # Above the threshold from two cycles before the alarm on: three readings in 24 ms.
    above = times[:, None] >= alarm - 2.5 * CYCLE_S
    nothing = np.zeros((len(times), n))
    verdict = Verdict(
        alarm_s=alarm, side_rad=np.zeros(n), last_side_rad=np.zeros(n), remaining_s=leads,
        alarms=np.zeros(n, dtype=np.int64),
        felt=[[Felt(CONTACT_S + felt_after_s, 1, True)] for _ in range(n)],
    )  # fmt: skip
    return Observed(
        episodes=episodes, duration_s=4.5, label=np.full(n, label),
        contact_s=np.full(n, CONTACT_S), no_return_s=np.full(n, CONTACT_S - 0.5),
        side_rad=np.zeros(n), blows=[[] for _ in range(n)], time_s=times,
        scores={name: np.where(above, 0.1, -0.05) if name == OURS else nothing for name in RULES},
        attitude_rad=nothing, verdict=dict.fromkeys(PROFILES, verdict),
    )  # fmt: skip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What would have been written."""
    seen: list[Figure] = []
    for module in (detection_plots, estimate_plots):
        monkeypatch.setattr(module, "save", lambda figure, path: seen.append(figure))
    return seen


def curve(**changes: Any) -> Curve:
    values: dict[str, NDArray[np.float64]] = {
        "threshold": np.array([0.0, 1.0, 2.0]),
        "false_alarms_per_hour": np.array([30.0, 0.2, 0.0]),
        "near_share": np.array([0.5, 0.1, 0.0]),
        "recall": np.ones(3),
        "median_lead_s": np.array([0.4, 0.3, 0.1]),
        "p5_lead_s": np.array([0.2, 0.1, -0.3]),
    }
    return Curve(**values | changes)


def lines(axes: Any, name: str) -> list[Any]:
    return [line for line in axes.lines if line.get_color() == RULE_LOOKS[name][0]]


def test_the_marker_is_on_the_curve_at_the_rules_threshold(figures: list[Figure]) -> None:
    plot_curves(Path("x.png"), {OURS: curve()}, {OURS: Operated(1.5, 0.0)})
    median, p5, near, _ = figures[0].axes
    line, marker = lines(median, OURS)
    assert line.get_xdata() == pytest.approx([400, 300, 100])
    assert line.get_ydata() == pytest.approx([30, 0.2, 0])
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == pytest.approx((200, 0.1))
    assert lines(near, OURS)[1].get_ydata()[0] == pytest.approx(0.05)
    # A fall that is noticed after the contact leads by nothing.
    assert lines(p5, OURS)[0].get_xdata() == pytest.approx([200, 100, 0])


@pytest.mark.parametrize("rate", [0.0, 0.01, 5000.0])
def test_every_rate_and_zero_are_on_the_axis(figures: list[Figure], rate: float) -> None:
    rates = np.array([rate, 0.0, 0.0])
    plot_curves(
        Path("x.png"), {OURS: curve(false_alarms_per_hour=rates)}, {OURS: Operated(1.0, 0.0)}
    )
    axes = figures[0].axes[0]
    low, high = axes.get_ylim()
    assert low < 0 < rate + 1e-9 < high
    assert axes.get_yticklabels()[0].get_text() == "0"


def test_decades_are_equally_far_apart(figures: list[Figure]) -> None:
    rates = np.array([200.0, 0.01, 0.0])
    plot_curves(
        Path("x.png"), {OURS: curve(false_alarms_per_hour=rates)}, {OURS: Operated(1.0, 0.0)}
    )
    axes = figures[0].axes[0]
    ticks = axes.get_yticks()
    assert ticks == pytest.approx([0, 0.01, 0.1, 1, 10, 100])
    steps = np.diff(axes.transData.transform([(0, tick) for tick in ticks])[:, 1])
    assert steps[1:] == pytest.approx(np.full(4, steps[1]), rel=1e-3)


def share_at(axes: Any, ms: float) -> float:
    x, y = lines(axes, OURS)[0].get_data()
    return y[np.searchsorted(x, ms, side="right") - 1]


def test_shares_count_the_falls_that_are_never_noticed(figures: list[Figure]) -> None:
    held = observed([0.4, 0.2, -0.08, None], Label.FALL)
    plot_leads(Path("x.png"), held, FallRule())
    standing, every, after, kinds = figures[0].axes
    for axes in (standing, every):
        assert [share_at(axes, ms) for ms in (-500, -399, -250, -150, 0, 200)] == [
            0, 0.25, 0.25, 0.5, 0.5, 0.75,
        ]  # fmt: skip
        assert axes.get_ylabel() == "share of falls noticed by then (n = 4)"
    # The point of no return is 0.5 s before the contact.
    assert [share_at(after, ms) for ms in (0, 101, 301, 600)] == [0, 0.25, 0.5, 0.75]
    assert kinds.get_yticklabels()[0].get_text() == "pushed standing (3)"
    assert kinds.get_yticklabels()[1].get_text() == "pushed crouched (0)"


def test_counts_and_rows_of_the_confusion(figures: list[Figure]) -> None:
    counts = np.zeros((8, 8), dtype=np.int64)
    counts[0, :2], counts[3, 3] = (3, 1), 7
    plot_confusion(Path("x.png"), counts, np.zeros((8, 8), dtype=np.int64))
    alarm, contact = figures[0].axes[:2]
    assert {(t.get_position(), t.get_text()) for t in alarm.texts} == {
        ((0, 0), "3"), ((1, 0), "1"), ((3, 3), "7"),
    }  # fmt: skip
    shown = np.asarray(alarm.images[0].get_array())
    assert shown[0, 0] == 0.75 and shown[3, 3] == 1 and shown.sum() == 2
    assert alarm.get_title().endswith("11 falls, 90.9% in the true sector")
    assert contact.get_title().endswith("0 falls, none in the true sector")


@pytest.mark.parametrize(("latency_s", "bar"), [(0.010, 8), (0.012, 10), (0.016, 14), (0.018, 16)])
def test_a_latency_is_in_its_bar(figures: list[Figure], latency_s: float, bar: float) -> None:
    falls = observed([0.3, 0.2], Label.FALL, latency_s)
    seen = Observations(falls, falls, observed([None], Label.NON_FALL))
    plot_impacts(Path("x.png"), seen, impact_report(seen))
    for axes in figures[0].axes:
        bars = [patch.get_bbox() for patch in axes.patches if isinstance(patch, Rectangle)]
        full = [box for box in bars if box.y1 == 1.0 and box.width == pytest.approx(2)]
        assert [box.x0 for box in full] == [pytest.approx(bar, abs=0.02)]
        said = axes.texts[0].get_text()
        assert said.startswith("100.0% of 2 contacts felt\nmedian "), said
        assert f"median {1e3 * latency_s:.0f} ms" in said


def test_contacts_that_were_never_felt_have_no_latency(figures: list[Figure]) -> None:
    falls = observed([0.3, 0.2], Label.FALL, felt_after_s=0.5)
    seen = Observations(falls, falls, falls)
    plot_impacts(Path("x.png"), seen, impact_report(seen))
    assert [axes.texts[0].get_text() for axes in figures[0].axes] == [
        "0.0% of 2 contacts felt"
    ] * 4


def test_a_set_without_falls_gives_pictures(tmp_path: Path) -> None:
    none = observed([None, None], Label.NON_FALL)
    seen = Observations(none, none, none)
    missing = np.full(3, np.nan)
    empty = curve(near_share=missing, median_lead_s=missing, p5_lead_s=missing)
    told = dict.fromkeys(("confusion_at_alarm", "confusion_before_contact"), np.zeros((8, 8)))
    report = {"ours": {"extended": told}, "impacts": impact_report(seen)}
    plot_all(tmp_path, seen, report, {OURS: empty}, FallRule())
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.png", "leads.png", "directions.png", "impacts.png",
    }  # fmt: skip
    for path in tmp_path.iterdir():
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.shape[1] >= 1440 and (pixels < 128).mean() > 0.002, path
