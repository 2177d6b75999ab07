# SPDX-License-Identifier: Apache-2.0
"""What the detectors were to reach, beside what they reached."""

from typing import Any, NamedTuple

from op3_fall.detection_report import STANDING
from op3_fall.detection_watch import PROFILES

__all__ = ["goals"]


class _Goal(NamedTuple):
    name: str
    bound: float
    at_least: bool
    unit: str


_FALLS = (
    (_Goal("falls alarmed before the contact", 0.999, True, "share"),
     ("all", "falls", "recall_share")),
    (_Goal("median lead, pushed standing", 0.25, True, "s"),
     ("by_kind", STANDING, "falls", "median_lead_s")),
    (_Goal("5th percentile of it", 0.12, True, "s"),
     ("by_kind", STANDING, "falls", "p5_lead_s")),
    (_Goal("false alarms, non-falls", 0, False, "in all"), ("false_alarms",)),
    (_Goal("false alarms, near falls", 0, False, "in all"), ("near_falls_set_off",)),
    (_Goal("8 sectors at the alarm", 0.95, True, "share"),
     ("all", "direction_at_alarm", "right_of_8_share")),
    (_Goal("4 sectors at the alarm", 0.99, True, "share"),
     ("all", "direction_at_alarm", "right_of_4_share")),
    (_Goal("8 sectors before the contact", 0.95, True, "share"),
     ("all", "direction_before_contact", "right_of_8_share")),
    (_Goal("4 sectors before the contact", 0.99, True, "share"),
     ("all", "direction_before_contact", "right_of_4_share")),
)  # fmt: skip
_IMPACTS = (
    (_Goal("impacts: precision, all", 0.995, True, "share"), "precision_share"),
    (_Goal("impacts: precision, first", 0.995, True, "share"), "first_precision_share"),
    (_Goal("impacts: recall, first", 0.995, True, "share"), "recall_share"),
    (_Goal("impacts: latency, median", 0.008, False, "s"), "median_latency_s"),
    (_Goal("impacts: latency, 95th percentile", 0.016, False, "s"), "p95_latency_s"),
)
_ATTITUDE = _Goal("attitude at contact, 95th percentile", 3.0, False, "deg")


def goals(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Goal, bound, value and whether it was met, of both sensor profiles."""
    rows = [_row(_ATTITUDE, "both", report["attitude"]["first_contact"]["p95_error_deg"])]
    for profile in PROFILES:
        rows += [_row(g, profile, _at(report["ours"][profile], path)) for g, path in _FALLS]
        for goal, key in _IMPACTS:
            for part, found in report["impacts"][profile].items():
                rows.append(_row(goal._replace(name=f"{goal.name}, {part}"), profile, found[key]))
    return rows


def _at(values: Any, path: tuple[str, ...]) -> float:
    for key in path:
        values = values[key]
    return float(values)


def _row(goal: _Goal, profile: str, value: float) -> dict[str, Any]:
    # Rounding: 16 ms is 0.016000000000000014 s.
    met = value >= goal.bound - 1e-9 if goal.at_least else value <= goal.bound + 1e-9
    return {
        "goal": goal.name, "profile": profile, "bound": goal.bound, "at_least": goal.at_least,
        "value": value, "unit": goal.unit, "met": bool(met),
    }  # fmt: skip
