# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of the detectors found, as numbers: `summary.json`."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall.detection_scores import (
    count_alarms,
    direction_confusion,
    direction_scores,
    fall_scores,
    false_alarm_scores,
    first_alarm,
    time_to_impact_scores,
)
from op3_fall.detection_set import Observations, hours
from op3_fall.detection_watch import OURS, PROFILES, Label, Observed
from op3_fall.fall_detection import FallRule
from op3_fall.impact_report import felt_in_quiet, impact_report
from op3_fall.known_rules import KNOWN_RULES
from op3_fall.recipes import FALLS, NON_FALLS

__all__ = ["RULES", "STANDING", "Curve", "Operated", "alarms_of", "curve", "detection_report",
           "false_alarms_of", "operated", "shares"]  # fmt: skip

Array = NDArray[np.float64]

STANDING = "pushed standing"
_REARM_S = 1.0
RULES = {OURS: "capture point (ours)", **{rule.name: rule.label for rule in KNOWN_RULES}}
"""Names and labels."""


class Operated(NamedTuple):
    """A rule at one threshold."""

    threshold: float
    hold_s: float


def operated(rule: FallRule) -> dict[str, Operated]:
    """Each rule as published, ours as configured."""
    known = {r.name: Operated(1.0, r.hold_s) for r in KNOWN_RULES}
    return {OURS: Operated(rule.margin_m, rule.hold_s), **known}


def alarms_of(observed: Observed, rule: str, at: Operated, settle_s: float) -> Array:
    """First alarm of each fall from its event on, s, NaN if none, (n,)."""
    times, scores = observed.time_s[:, None], observed.scores[rule].astype(float)
    event = np.maximum(observed.episodes.event_s, settle_s)
    alarm = first_alarm(times, np.where(times >= event, scores, np.nan), at.threshold, at.hold_s)
    # What was above before the disturbance began has not found it.
    before = scores[np.searchsorted(observed.time_s, event) - 1, np.arange(scores.shape[1])]
    return np.where(before > np.asarray(at.threshold)[..., None], np.nan, alarm)


def false_alarms_of(observed: Observed, rule: str, at: Operated, settle_s: float) -> NDArray:
    """False alarms in each episode, (n,), or (k, n) for thresholds (k,)."""
    heard = observed.time_s[:, None] >= settle_s
    scores = np.where(heard, observed.scores[rule].astype(float), np.nan)
    return count_alarms(observed.time_s[:, None], scores, at.threshold, at.hold_s, _REARM_S)


class Curve(NamedTuple):
    """One rule over thresholds (k,)."""

    threshold: Array
    false_alarms_per_hour: Array
    near_share: Array
    """Share of disturbed robots that recover but set it off."""
    recall: Array
    median_lead_s: Array
    """Of pushes from standing."""
    p5_lead_s: Array
    """Likewise."""


def curve(seen: Observations, rule: str, hold_s: float, settle_s: float) -> Curve:
    """False alarms against lead time as the threshold goes from eager to careful."""
    levels = np.linspace(-0.03, 0.15, 37) if rule == OURS else np.linspace(0.2, 1.8, 33)
    at = Operated(levels, hold_s)  # type: ignore[arg-type]
    quiet, near = seen.quiet.label == Label.NON_FALL, seen.held.label == Label.NON_FALL
    fell = seen.held.label == Label.FALL
    standing = fell & (seen.held.episodes.kind == STANDING)
    lead = seen.held.contact_s - alarms_of(seen.held, rule, at, settle_s)
    lead = np.fmax(lead, 0.0)  # a late or missed alarm leads by nothing, as in `fall_scores`
    false = false_alarms_of(seen.quiet, rule, at, settle_s)[:, quiet].sum(axis=1)
    set_off = false_alarms_of(seen.held, rule, at, settle_s)[:, near] > 0
    early = lead[:, standing] if standing.any() else np.full((len(levels), 1), np.nan)
    return Curve(
        levels, false / max(hours(seen.quiet), 1e-9), shares(set_off), shares(lead[:, fell] > 0),
        np.percentile(early, 50, axis=1), np.percentile(early, 5, axis=1),
    )  # fmt: skip


def shares(flags: NDArray[np.bool_]) -> Array:
    """Of flags (k, n) that are set, (k,); NaN of none."""
    return flags.sum(axis=1) / (flags.shape[1] or np.nan)


def detection_report(seen: Observations, rule: FallRule) -> dict[str, Any]:
    """Every figure of the benchmark; see docs/detection.md for what they mean."""
    held, fell = seen.held, seen.held.label == Label.FALL
    near = held.label == Label.NON_FALL
    quiet = seen.quiet.label == Label.NON_FALL
    rules: dict[str, Any] = {}
    for name, at in operated(rule).items():
        alarm = alarms_of(held, name, at, rule.settle_s)
        false = false_alarms_of(seen.quiet, name, at, rule.settle_s)
        upset = false_alarms_of(held, name, at, rule.settle_s)[near] > 0
        rules[name] = {
            "label": RULES[name], "threshold": at.threshold, "hold_s": at.hold_s,
            "falls": _falls(held, alarm, fell),
            "by_kind": {k: _falls(held, alarm, fell & (held.episodes.kind == k)) for k in FALLS},
            **false_alarm_scores(int(false[quiet].sum()), hours(seen.quiet)),
            "false_alarms_by_kind": {
                k: int(false[quiet & (seen.quiet.episodes.kind == k)].sum()) for k in NON_FALLS
            },
            "near_falls": int(near.sum()), "near_falls_set_off": int(upset.sum()),
            "alarms_before_event": int(_early(held, name, at, rule.settle_s)[fell].sum()),
        }  # fmt: skip
    return {
        "episodes": _counts(seen),
        "rules": rules,
        "ours": {profile: _ours(seen, profile) for profile in PROFILES},
        "impacts": impact_report(seen),
        "attitude": _attitude(seen),
        "worst": _worst(seen, rule),
    }


def _early(held: Observed, rule: str, at: Operated, settle_s: float) -> NDArray[np.int64]:
    """Alarms before the disturbance of each fall, (n,)."""
    times = held.time_s[:, None]
    quiet = (times >= settle_s) & (times < held.episodes.event_s)
    scores = np.where(quiet, held.scores[rule].astype(float), np.nan)
    return count_alarms(times, scores, at.threshold, at.hold_s, _REARM_S)


def _falls(held: Observed, alarm: Array, which: NDArray[np.bool_]) -> dict[str, float]:
    return fall_scores(alarm[which], held.contact_s[which], held.no_return_s[which])


def _counts(seen: Observations) -> dict[str, Any]:
    parts = {"held": seen.held, "braced": seen.braced, "quiet": seen.quiet}
    return {
        name: {label.name.lower(): int((part.label == label).sum()) for label in Label}
        for name, part in parts.items()
    }


def _ours(seen: Observations, profile: str) -> dict[str, Any]:
    """Our detector's own outputs on one profile."""
    held, fell = seen.held, seen.held.label == Label.FALL
    told = held.verdict[profile]
    quiet = seen.quiet.label == Label.NON_FALL
    timely = fell & (told.alarm_s < held.contact_s)

    def judged(which: NDArray[np.bool_]) -> dict[str, Any]:
        both = which & timely
        return {
            "falls": _falls(held, told.alarm_s, which),
            "direction_at_alarm": direction_scores(told.side_rad[both], held.side_rad[both]),
            "direction_before_contact": direction_scores(
                told.last_side_rad[both], held.side_rad[both]
            ),
            "time_to_impact": time_to_impact_scores(
                told.remaining_s[both], (held.contact_s - told.alarm_s)[both]
            ),
        }

    return {
        "all": judged(fell),
        "by_kind": {k: judged(fell & (held.episodes.kind == k)) for k in FALLS},
        **false_alarm_scores(
            int(seen.quiet.verdict[profile].alarms[quiet].sum()), hours(seen.quiet)
        ),
        "impacts_felt_in_non_falls": felt_in_quiet(seen, profile),
        "largest_margin_m": float(seen.quiet.scores[OURS][:, quiet][seen.quiet.time_s > 0.3].max())
        if quiet.any()
        else np.nan,
        "near_falls_set_off": int((told.alarms[held.label == Label.NON_FALL] > 0).sum()),
        "alarms_before_event": int(told.alarms[fell].sum()),
        "confusion_at_alarm": direction_confusion(told.side_rad[timely], held.side_rad[timely]),
        "confusion_before_contact": direction_confusion(
            told.last_side_rad[timely], held.side_rad[timely]
        ),
    }


def _attitude(seen: Observations) -> dict[str, Any]:
    """Error of the gravity direction at the first contact, and of robots that do not fall."""
    held, fell = seen.held, np.nonzero(seen.held.label == Label.FALL)[0]
    before = np.searchsorted(held.time_s, held.contact_s[fell]) - 1
    quiet, settled = seen.quiet, seen.quiet.time_s > 1.0

    def spread(error: Array) -> dict[str, float]:
        return {
            f"{name}_error_deg": float(np.degrees(np.percentile(error, percent)))
            if error.size
            else np.nan
            for name, percent in (("median", 50), ("p95", 95), ("largest", 100))
        }

    during = (held.time_s[:, None] >= held.episodes.event_s) & (
        held.time_s[:, None] < held.contact_s
    )

    def in_falls(kind: str) -> dict[str, float]:
        of_kind = (held.label == Label.FALL) & (held.episodes.kind == kind)
        return spread(held.attitude_rad[:, of_kind][during[:, of_kind]])

    return {
        "first_contact": spread(held.attitude_rad[np.maximum(before, 0), fell]),
        "until_contact": {kind: in_falls(kind) for kind in FALLS},
        **{
            kind: spread(quiet.attitude_rad[settled][
                :, (quiet.label == Label.NON_FALL) & (quiet.episodes.kind == kind)])
            for kind in NON_FALLS
            if ((quiet.label == Label.NON_FALL) & (quiet.episodes.kind == kind)).any()
        },
    }  # fmt: skip


def _worst(seen: Observations, rule: FallRule, most: int = 5) -> dict[str, Any]:
    """Seeds of the latest alarms, of the false ones and of the worst told sides."""
    held, told = seen.held, seen.held.verdict[PROFILES[0]]
    fell = held.label == Label.FALL
    lead = np.where(fell, held.contact_s - np.nan_to_num(told.alarm_s, nan=np.inf), np.inf)
    wrong = np.abs((told.side_rad - held.side_rad + np.pi) % (2 * np.pi) - np.pi)
    wrong = np.where(fell & np.isfinite(wrong), wrong, -1.0)
    false = [
        {"seed": int(part.episodes.seed[k]), "kind": str(part.episodes.kind[k])}
        for part in (seen.quiet, held)
        for k in np.nonzero((part.label == Label.NON_FALL)
                            & (part.verdict[PROFILES[0]].alarms > 0))[0]
    ]  # fmt: skip

    def case(k: int, **value: float) -> dict[str, Any]:
        return {"seed": int(held.episodes.seed[k]), "kind": str(held.episodes.kind[k]), **value}

    return {
        "latest_alarms": [
            case(k, lead_s=float(lead[k])) for k in np.argsort(lead)[:most] if fell[k]
        ],
        "false_alarms": false[:most],
        "wrong_sides": [
            case(k, error_deg=float(np.degrees(wrong[k])))
            for k in np.argsort(-wrong)[:most]
            if wrong[k] >= 0
        ],
    }
