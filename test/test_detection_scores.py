# SPDX-License-Identifier: Apache-2.0
"""Scores of detectors against cases worked out by hand, tables and laws."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from signal_samples import fall_estimate

from op3_fall.detection_scores import (
    count_alarms,
    direction_confusion,
    direction_scores,
    fall_scores,
    false_alarm_scores,
    first_alarm,
    impact_scores,
    match_impacts,
    time_to_impact_scores,
)
from op3_fall.fall_detection import FallPhase
from op3_fall.intervals import poisson_interval, wilson_interval
from op3_fall.results import write_json

Array = NDArray[np.float64]
CYCLE_S = 0.008
nan = math.nan


def column(*values: float) -> Array:
    return np.array(values, dtype=float)[:, None]


def ticks(n: int) -> Array:
    return column(*np.arange(n) * 0.01)


@st.composite
def series(draw: st.DrawFn) -> tuple[Array, Array]:
    """Times with uneven steps, and scores with gaps, (t, n) each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t, n = draw(st.integers(1, 60)), draw(st.integers(1, 4))
    times = np.cumsum(rng.integers(0, 3, (t, n)) * CYCLE_S, axis=0)
    scores = np.cumsum(rng.normal(size=(t, n)), axis=0)
    scores[rng.random((t, n)) < 0.05] = nan
    return np.asarray(times, dtype=np.float64), scores


def agreed(times: Array, flags: NDArray[np.bool_], k: int, for_s: float) -> bool:
    """All flags (t,) within the window that ends at reading k, which the record covers."""
    window = flags[: k + 1][times[: k + 1] > times[k] - for_s + 1e-6]
    return bool(flags[k] and window.all() and times[k] - times[0] >= for_s - 1e-6)


def slow_alarms(
    times: Array, scores: Array, threshold: float, hold_s: float, rearm_s: float
) -> list[float]:
    """One robot (t,), a reading at a time."""
    found, armed, above = [], True, scores > threshold
    for k in range(len(times)):
        if armed and agreed(times, above, k, hold_s):
            found, armed = [*found, float(times[k])], False
        elif agreed(times, ~above, k, rearm_s):
            armed = True
    return found


@pytest.mark.parametrize(
    ("scores", "hold_s", "alarm_s"),
    [
        ([0, 0, 2, 2, 2, 2], 0.0, 0.02),
        ([0, 0, 2, 2, 2, 2], 0.03, 0.04),  # three readings, as many as 30 ms hold
        ([0, 0, 2, 2, 1, 2], 0.03, nan),  # at the threshold is not above it
        ([0, 0, 2, 2, nan, 2], 0.03, nan),
        ([2, 2, 2, 2, 2, 2], 0.03, 0.03),  # nothing is known of the time before the record
        ([0, 2, 0, 2, 2, 0], 0.02, 0.04),
        ([nan] * 6, 0.0, nan),
    ],
)
def test_the_first_alarm(scores: list[float], hold_s: float, alarm_s: float) -> None:
    found = first_alarm(ticks(6), column(*scores), 1.0, hold_s)
    assert found == pytest.approx([alarm_s], nan_ok=True)


@pytest.mark.parametrize(
    ("scores", "hold_s", "rearm_s", "alarms"),
    [
        ([0, 2, 2, 0, 2, 2, 0, 0], 0.0, 0.0, 2),
        ([0, 2, 2, 0, 2, 2, 0, 0], 0.0, 0.02, 1),  # one reading below is 10 ms
        ([0, 2, 0, 0, 2, 0, 2, 0], 0.0, 0.02, 2),
        ([0, 2, 2, 0, 0, 2, 0, 0], 0.02, 0.02, 1),  # the second is too short
        ([2, 2, 2, 2, 2, 2, 2, 2], 0.0, 0.0, 1),
        ([0, 0, 0, 0, 0, 0, 0, nan], 0.0, 0.0, 0),
        ([2, nan, 2, 0, 2, 1, 2, 0], 0.0, 0.0, 4),
    ],
)
def test_the_number_of_alarms(
    scores: list[float], hold_s: float, rearm_s: float, alarms: int
) -> None:
    assert count_alarms(ticks(8), column(*scores), 1.0, hold_s, rearm_s).tolist() == [alarms]


@given(series(), st.floats(-3, 3), st.sampled_from([0, 0.016, 0.05]), st.sampled_from([0, 0.03]))
def test_alarms_are_those_of_a_detector_that_goes_reading_by_reading(
    recorded: tuple[Array, Array], threshold: float, hold_s: float, rearm_s: float
) -> None:
    times, scores = recorded
    slow = [
        slow_alarms(times[:, k], scores[:, k], threshold, hold_s, rearm_s)
        for k in range(times.shape[1])
    ]
    first = first_alarm(times, scores, threshold, hold_s)
    assert np.array_equal(first, [s[0] if s else nan for s in slow], equal_nan=True)
    counts = count_alarms(times, scores, threshold, hold_s, rearm_s)
    assert counts.tolist() == [len(s) for s in slow]


@given(series(), st.lists(st.floats(-3, 3), min_size=1, max_size=4), st.sampled_from([0, 0.04]))
def test_many_thresholds_at_once_and_a_higher_one_never_alarms_earlier(
    recorded: tuple[Array, Array], thresholds: list[float], hold_s: float
) -> None:
    times, scores = recorded
    ordered = sorted(thresholds)
    found = first_alarm(times, scores, ordered, hold_s)
    counts = count_alarms(times, scores, ordered, hold_s, 0.02)
    assert found.shape == counts.shape == (len(ordered), times.shape[1])
    for k, threshold in enumerate(ordered):
        alone = first_alarm(times, scores, threshold, hold_s)
        assert np.array_equal(found[k], alone, equal_nan=True)
        assert np.array_equal(counts[k], count_alarms(times, scores, threshold, hold_s, 0.02))
    never_is_last = np.where(np.isnan(found), np.inf, found)
    assert (never_is_last[1:] >= never_is_last[:-1]).all()


@given(series(), st.sampled_from([-50.0, 0.001, 1e6]))
def test_a_shift_in_time_shifts_the_alarm(recorded: tuple[Array, Array], shift_s: float) -> None:
    times, scores = recorded
    found = first_alarm(times, scores, 0.5, 0.016)
    later = first_alarm(times + shift_s, scores, 0.5, 0.016)
    assert later - shift_s == pytest.approx(found, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("events", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.624, 11.668), (10, 4.795, 18.390),
     (100, 81.364, 121.627)],
)  # fmt: skip
def test_the_poisson_interval_is_that_of_the_tables(events: int, low: float, high: float) -> None:
    assert poisson_interval(events) == pytest.approx((low, high), abs=6e-4)


def test_the_poisson_interval_of_many_events_nears_the_normal_one() -> None:
    low, high = poisson_interval(100_000)
    assert low == pytest.approx(100_000 - 1.96 * math.sqrt(100_000), abs=2)
    assert high == pytest.approx(100_000 + 1.96 * math.sqrt(100_000), abs=4)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # 8 of 10 by hand: z^2 = 3.8415, (0.8 + 0.19207 -+ 1.96 sqrt(0.016 + 0.0096037)) / 1.38415
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, nan, nan)],
)
def test_the_wilson_interval(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=1e-4, nan_ok=True)


@given(st.integers(1, 10**6))
def test_all_or_nothing_is_within_its_interval(trials: int) -> None:
    assert wilson_interval(0, trials)[0] == 0.0
    assert wilson_interval(trials, trials)[1] == 1.0


def test_falls_found_late_and_missed() -> None:
    """In time with leads 0.3 and 0.1, one 0.2 late, one missed, one that touched nothing."""
    found = fall_scores(
        [1.0, 1.2, 1.5, nan, 2.0], [1.3, 1.3, 1.3, 1.3, nan], [1.1, 1.1, nan, 1.1, 1.9]
    )
    low, high = wilson_interval(3, 5)
    assert found == pytest.approx({
        "falls": 5, "recall_share": 0.6, "low_recall_share": low, "high_recall_share": high,
        "late_share": 0.2, "alarmed_share": 0.8, "median_lead_s": 0.0, "p5_lead_s": 0.0,
        "before_no_return_share": 1 / 3, "median_after_no_return_s": 0.1,
    })  # fmt: skip


def test_false_alarms_per_hour() -> None:
    found = false_alarm_scores(5, 2.0)
    assert found["false_alarms_per_hour"] == 2.5
    assert found["low_false_alarms_per_hour"] == pytest.approx(0.812, abs=1e-3)
    assert found["high_false_alarms_per_hour"] == pytest.approx(5.834, abs=1e-3)
    assert math.isnan(false_alarm_scores(0, 0.0)["high_false_alarms_per_hour"])


def test_directions_wrap_and_fall_into_sectors() -> None:
    """Errors of 2, 30, 0 and 20 degrees; 30 off front is sector 1 of 8 and still front of 4."""
    told = np.radians([179.0, 30.0, -90.0, 65.0, nan])
    true = np.radians([-179.0, 0.0, -90.0, 45.1, 0.0])
    found = direction_scores(told, true)
    assert found["directions"] == 4
    assert found["median_direction_error_deg"] == pytest.approx((2 + 19.9) / 2)
    assert found["p95_direction_error_deg"] == pytest.approx(19.9 + 0.85 * 10.1)
    assert (found["right_of_4_share"], found["right_of_8_share"]) == (1.0, 0.75)
    counts = direction_confusion(told, true)
    assert counts.sum() == 4
    assert counts[4, 4] == counts[0, 1] == counts[6, 6] == counts[1, 1] == 1


@given(st.floats(-math.pi, math.pi))
def test_the_eight_sectors_are_those_of_the_estimate(angle: float) -> None:
    told = np.array(angle)
    estimate = fall_estimate(phase=np.array(int(FallPhase.FALLING)), fall_angle=told)
    column = direction_confusion([angle], [angle]).diagonal().argmax()
    assert estimate.direction == column + 1


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9), st.floats(-9, 9))
def test_turning_all_directions_changes_no_error(angles: list[float], turn: float) -> None:
    told = np.array(angles)
    plain = direction_scores(told, told * 0.9)["p95_direction_error_deg"]
    turned = direction_scores(told + turn, told * 0.9 + turn)["p95_direction_error_deg"]
    assert turned == pytest.approx(plain, abs=1e-6)


def test_errors_of_the_time_to_impact() -> None:
    found = time_to_impact_scores([0.3, 0.2, nan, 0.1], [0.2, 0.25, 0.3, 0.1])
    assert found == pytest.approx({
        "predictions": 3, "bias_s": 0.05 / 3, "median_absolute_error_s": 0.05,
        "p95_absolute_error_s": 0.095,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("felt", "true", "pairs"),
    [
        ([1.008], [1.0], [(0, 0)]),
        ([1.05], [1.0], [(0, 0)]),  # the window's ends belong to it
        ([1.051, 0.994], [1.0], []),
        ([1.008, 1.016], [1.0], [(0, 0)]),  # felt twice: one is false
        ([1.03], [1.0, 1.02], [(0, 0)]),  # two blows felt as one: the earlier is taken
        ([1.04, 1.01], [1.02, 1.0], [(1, 1), (0, 0)]),
        ([nan, 1.01], [1.0, nan], [(1, 0)]),
        ([], [1.0], []),
    ],
)
def test_matching_impacts(
    felt: list[float], true: list[float], pairs: list[tuple[int, int]]
) -> None:
    found = match_impacts(felt, true, (-0.005, 0.05))
    assert [tuple(pair) for pair in found.pairs.tolist()] == pairs
    assert found.latency_s == pytest.approx([felt[i] - true[j] for i, j in pairs])
    assert found.felt == np.isfinite(felt).sum() and found.true == np.isfinite(true).sum()


@given(st.lists(st.floats(0, 1), max_size=6), st.lists(st.floats(0, 1), max_size=6))
def test_matching_is_one_to_one_and_the_largest_possible(
    felt: list[float], true: list[float]
) -> None:
    low, high = -0.05, 0.2

    def most(felt: list[float], true: list[float]) -> int:
        if not true:
            return 0
        first, rest = true[0], true[1:]
        taken = [
            1 + most(felt[:i] + felt[i + 1 :], rest)
            for i, time_s in enumerate(felt)
            if low - 1e-6 <= time_s - first <= high + 1e-6
        ]
        return max([most(felt, rest), *taken])

    found = match_impacts(felt, true, (low, high))
    assert all(len(set(column)) == len(column) for column in found.pairs.T.tolist())
    assert len(found.pairs) == most(felt, true)


def test_impacts_of_many_falls_are_pooled() -> None:
    window = (0.0, 0.05)
    found = impact_scores([
        match_impacts([1.008, 1.3], [1.0], window),
        match_impacts([2.016], [2.0, 2.5], window),
        match_impacts([], [3.0], window),
    ])  # fmt: skip
    assert found["precision_share"] == pytest.approx(2 / 3)
    assert found["recall_share"] == pytest.approx(2 / 4)
    assert found["high_recall_share"] == pytest.approx(wilson_interval(2, 4)[1])
    assert found["median_latency_s"] == pytest.approx(0.012)
    assert found["p95_latency_s"] == pytest.approx(0.0156)


def test_nothing_to_judge_is_nan_and_goes_into_a_file(tmp_path: Path) -> None:
    scored = {
        **fall_scores([], [], []), **direction_scores([], []), **time_to_impact_scores([], []),
        **impact_scores([]), **false_alarm_scores(0, 10.0),
    }  # fmt: skip
    write_json(tmp_path / "scores.json", scored)
    told = json.loads((tmp_path / "scores.json").read_text())
    assert told["recall_share"] is None and told["median_lead_s"] is None
    assert told["high_false_alarms_per_hour"] == pytest.approx(0.3689, abs=1e-4)
