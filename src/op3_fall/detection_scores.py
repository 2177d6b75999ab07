# SPDX-License-Identifier: Apache-2.0
"""Score detectors: alarms against falls and non-falls, felt impacts against true contacts.

Shares come with the 95 % Wilson interval, false alarms with the exact Poisson interval. The names
end in the unit; NaN where there is nothing to judge.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall.intervals import poisson_interval, wilson_interval

__all__ = [
    "ImpactMatches",
    "count_alarms",
    "direction_confusion",
    "direction_scores",
    "fall_scores",
    "false_alarm_scores",
    "first_alarm",
    "impact_scores",
    "match_impacts",
    "share",
    "time_to_impact_scores",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Scores = dict[str, float]

_ROUNDING_S = 1e-6


def first_alarm(times: ArrayLike, scores: ArrayLike, threshold: ArrayLike, hold_s: float) -> Array:
    """When the score has first been above the threshold for `hold_s`, s, NaN if never.

    That is in every reading of (now - hold_s, now], all within the record. NaN is not above.

    Args:
        times: of the readings, s, (t, n).
        scores: (t, n).
        threshold: () gives (n,), (k,) gives (k, n).
        hold_s: 0 for the first reading above.
    """

    def first(times: Array, above: Flags) -> Array:
        held = _held(times, above, hold_s)
        found = np.take_along_axis(times, held.argmax(axis=0)[None], axis=0)[0]
        return np.where(held.any(axis=0), found, np.nan)

    return _by_threshold(first, times, scores, threshold, never=np.nan)


def count_alarms(
    times: ArrayLike, scores: ArrayLike, threshold: ArrayLike, hold_s: float, rearm_s: float
) -> NDArray[np.int64]:
    """Separate alarms, (n,) or (k, n): a new one only after `rearm_s` not above the threshold.

    The arguments are those of `first_alarm`.
    """

    def count(times: Array, above: Flags) -> NDArray[np.int64]:
        held = _held(times, above, hold_s)
        told = held | _held(times, ~above, rearm_s)
        last = np.maximum.accumulate(np.where(told, np.arange(len(told))[:, None], -1), axis=0)
        before = np.vstack([np.full_like(last[:1], -1), last[:-1]])
        alarmed = (before >= 0) & np.take_along_axis(held, np.maximum(before, 0), axis=0)
        return (held & ~alarmed).sum(axis=0)

    return _by_threshold(count, times, scores, threshold, never=0)


def _by_threshold(
    judge: Callable[[Array, Flags], NDArray],
    times: ArrayLike,
    scores: ArrayLike,
    threshold: ArrayLike,
    *,
    never: float,
) -> NDArray:
    """`judge` of the columns that exceed each threshold at all; most of a long record does not."""
    scores, levels = np.asarray(scores, dtype=float), np.asarray(threshold, dtype=float)
    times = np.broadcast_to(np.asarray(times, dtype=float), scores.shape)
    peak = np.fmax.reduce(scores, axis=0, initial=-np.inf)
    judged = np.full((levels.size, scores.shape[1]), never)
    for row, level in zip(judged, levels.ravel(), strict=True):
        live = peak > level
        if live.any():
            row[live] = judge(times[:, live], scores[:, live] > level)
    return judged.reshape(*levels.shape, -1)


def _held(times: Array, condition: Flags, for_s: float) -> Flags:
    """Where the condition holds in every reading of the window, (t, n)."""
    broken = np.maximum.accumulate(np.where(condition, -np.inf, times), axis=0)
    return condition & (times - np.maximum(broken, times[0]) >= for_s - _ROUNDING_S)


def fall_scores(alarm_s: ArrayLike, contact_s: ArrayLike, no_return_s: ArrayLike) -> Scores:
    """How many of n falls were found in time, and how early.

    Recall counts alarms before the contact; an alarm after it is late. A late or missed alarm
    leads by nothing.

    Args:
        alarm_s: first alarm, s, NaN if none, (n,).
        contact_s: first contact of a part other than the feet, s, NaN if none, (n,).
        no_return_s: earliest time from which the robot falls anyway, s, NaN if unknown, (n,).
    """
    alarm, contact, no_return = (np.asarray(v, float) for v in (alarm_s, contact_s, no_return_s))
    late, found = alarm >= contact, np.isfinite(alarm)
    after, lead = alarm - no_return, np.fmax(contact - alarm, 0.0)
    return {
        "falls": alarm.size,
        **share("recall", int((found & ~late).sum()), alarm.size),
        "late_share": _mean(late),
        "alarmed_share": _mean(found),
        "median_lead_s": _percentile(lead, 50),
        "p5_lead_s": _percentile(lead, 5),
        "before_no_return_share": _mean(after[np.isfinite(after)] < 0),
        "median_after_no_return_s": _percentile(after, 50),
    }


def false_alarm_scores(alarms: int, hours: float) -> Scores:
    """Alarms in that many hours without a fall."""
    low, high = poisson_interval(alarms)
    per_hour = 1 / hours if hours > 0 else math.nan
    return {
        "false_alarms": alarms,
        "non_fall_hours": hours,
        "false_alarms_per_hour": alarms * per_hour,
        "low_false_alarms_per_hour": low * per_hour,
        "high_false_alarms_per_hour": high * per_hour,
    }


def direction_scores(told_rad: ArrayLike, true_rad: ArrayLike) -> Scores:
    """Error of fall angles (n,) and shares in the right sector; a pair with NaN does not count."""
    told, true = _pairs(told_rad, true_rad)
    error = np.abs((told - true + math.pi) % (2 * math.pi) - math.pi)
    right = {n: int((_sector(told, n) == _sector(true, n)).sum()) for n in (4, 8)}
    return {
        "directions": told.size,
        "median_direction_error_deg": math.degrees(_percentile(error, 50)),
        "p95_direction_error_deg": math.degrees(_percentile(error, 95)),
        **share("right_of_4", right[4], told.size),
        **share("right_of_8", right[8], told.size),
    }


def direction_confusion(told_rad: ArrayLike, true_rad: ArrayLike) -> NDArray[np.int64]:
    """How often each true sector (rows) was told as which (columns), (8, 8), front first."""
    told, true = _pairs(told_rad, true_rad)
    counts = np.zeros((8, 8), dtype=np.int64)
    np.add.at(counts, (_sector(true, 8), _sector(told, 8)), 1)
    return counts


def time_to_impact_scores(predicted_s: ArrayLike, true_s: ArrayLike) -> Scores:
    """Error of predicted times to impact, predicted minus true, (n,); NaN does not count."""
    predicted, true = _pairs(predicted_s, true_s)
    error = predicted - true
    return {
        "predictions": error.size,
        "bias_s": _mean(error),
        "median_absolute_error_s": _percentile(np.abs(error), 50),
        "p95_absolute_error_s": _percentile(np.abs(error), 95),
    }


@dataclass(frozen=True)
class ImpactMatches:
    """Which felt impact is which true one, in one fall."""

    pairs: NDArray[np.int64]
    """Indices of the felt and of the true impact, (m, 2)."""
    latency_s: Array
    """Felt minus true, s, (m,)."""
    felt: int
    """Impacts felt."""
    true: int
    """Impacts that happened."""


def match_impacts(
    felt_s: ArrayLike, true_s: ArrayLike, window_s: tuple[float, float]
) -> ImpactMatches:
    """Match impacts one to one, earliest first.

    Args:
        felt_s: when impacts were felt, s, in any order; NaN is none.
        true_s: when they happened, likewise.
        window_s: the lowest and highest latency of a match, s.
    """
    felt, true = (np.asarray(v, dtype=float).ravel() for v in (felt_s, true_s))
    free, order = ([int(i) for i in np.argsort(v) if np.isfinite(v[i])] for v in (felt, true))
    low, high = window_s[0] - _ROUNDING_S, window_s[1] + _ROUNDING_S
    found = {}
    for j in order:
        near = (i for i in free if i not in found and low <= felt[i] - true[j] <= high)
        if (match := next(near, None)) is not None:
            found[match] = j
    pairs = np.array(list(found.items()), dtype=np.int64).reshape(-1, 2)
    latency = felt[pairs[:, 0]] - true[pairs[:, 1]]
    return ImpactMatches(pairs, latency, len(free), len(order))


def impact_scores(matches: Iterable[ImpactMatches]) -> Scores:
    """Precision, recall and latency of the impacts of all these falls together."""
    falls = list(matches)
    latency = np.concatenate([np.zeros(0), *(fall.latency_s for fall in falls)])
    felt, true = sum(fall.felt for fall in falls), sum(fall.true for fall in falls)
    return {
        "felt_impacts": felt,
        "true_impacts": true,
        **share("precision", latency.size, felt),
        **share("recall", latency.size, true),
        "median_latency_s": _percentile(latency, 50),
        "p95_latency_s": _percentile(latency, 95),
    }


def share(name: str, hits: int, trials: int) -> Scores:
    """`NAME_share` and its interval, `low_` and `high_`; NaN of no trials."""
    low, high = wilson_interval(hits, trials)
    found = hits / trials if trials else math.nan
    return {f"{name}_share": found, f"low_{name}_share": low, f"high_{name}_share": high}


def _sector(angle: Array, sectors: int) -> NDArray[np.int64]:
    return np.rint(angle * sectors / (2 * math.pi)).astype(np.int64) % sectors


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """The elements (m,) of both (n,) where both are finite."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def _mean(values: NDArray) -> float:
    return float(values.mean()) if values.size else math.nan


def _percentile(values: Array, percent: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else math.nan
