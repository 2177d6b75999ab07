# SPDX-License-Identifier: Apache-2.0
"""The benchmark's figures as tables on the screen."""

from typing import Any

import numpy as np

from op3_fall.detection_watch import OURS, PROFILES
from op3_fall.recipes import FALLS
from op3_fall.results import print_table

__all__ = ["print_report"]


def print_report(summary: dict[str, Any]) -> None:
    """Rules side by side, ours by kind of fall, impacts, goals, and where to look."""
    _print_rules(summary)
    _print_kinds(summary)
    _print_impacts(summary)
    _print_goals(summary)
    _print_worst(summary["worst"])


def _number(value: float | None, scale: float = 1.0, digits: int = 0) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value * scale:.{digits}f}"


def _print_rules(summary: dict[str, Any]) -> None:
    rules = summary["rules"]
    rows = [
        [r["label"], _number(r["falls"]["recall_share"], 100, 1),
         _number(r["falls"]["median_lead_s"], 1e3), _number(r["falls"]["p5_lead_s"], 1e3),
         _number(r["falls"]["median_after_no_return_s"], 1e3), str(r["false_alarms"]),
         str(r["near_falls_set_off"])]
        for r in rules.values()
    ]  # fmt: skip
    ours = rules[OURS]
    title = (f"{ours['falls']['falls']} falls, {ours['non_fall_hours']:.2f} h without one, "
             f"{ours['near_falls']} near falls")  # fmt: skip
    print_table(title, ["rule", "in time %", "lead", "5 %", "PNR+", "false", "near"], rows)
    print("ms; lead: alarm to first contact, PNR+: point of no return to alarm; near: near falls")
    bounds = [f"{_number(r['high_false_alarms_per_hour'], 1, 2)}" for r in rules.values()]
    print(f"false alarms an hour, upper 95 % bounds: {', '.join(bounds)}")


def _print_kinds(summary: dict[str, Any]) -> None:
    ours = summary["ours"][PROFILES[0]]
    rows = []
    for kind in ("all", *FALLS):
        found = ours["all"] if kind == "all" else ours["by_kind"][kind]
        falls, side = found["falls"], found["direction_at_alarm"]
        last, impact = found["direction_before_contact"], found["time_to_impact"]
        rows.append([
            kind, str(falls["falls"]), _number(falls["recall_share"], 100, 1),
            _number(falls["median_lead_s"], 1e3), _number(falls["p5_lead_s"], 1e3),
            _number(side["right_of_8_share"], 100), _number(last["right_of_8_share"], 100),
            _number(impact["median_absolute_error_s"], 1e3),
        ])  # fmt: skip
    header = ["ours", "falls", "in time %", "lead", "5 %", "side %", "last %", "TTI off"]
    print_table("Our alarm by kind of fall", header, rows)
    print("side, last: right of 8 sectors at the alarm, and last; TTI off: time to impact, ms")


def _print_impacts(summary: dict[str, Any]) -> None:
    rows = [
        [f"{profile}, {part}", str(found["noticed_falls"]),
         *(_number(found[f"{share}_share"], 100, 1)
           for share in ("precision", "first_precision", "recall")),
         _number(found["median_latency_s"], 1e3), _number(found["p95_latency_s"], 1e3),
         _number(found["later_recall_share"], 100)]
        for profile, parts in summary["impacts"].items() for part, found in parts.items()
    ]  # fmt: skip
    header = ["impacts", "falls", "real %", "first", "felt %", "ms", "95 %", "later %"]
    print_table("Impacts felt", header, rows)
    print(
        "real: of all felt, of the first felt; felt: first contacts of noticed falls; ms: latency"
    )


def _print_goals(summary: dict[str, Any]) -> None:
    rows: dict[str, list[str]] = {}
    for g in summary["goals"]:
        bound = f"{'>=' if g['at_least'] else '<='} {g['bound']:g} {g['unit']}"
        row = rows.setdefault(g["goal"], [g["goal"], bound])
        row.append(f"{g['value']:.4g}" + ("" if g["met"] else " no"))
    for row in rows.values():
        row += row[2:] if len(row) == 3 else []
    print_table("Goals", ["goal", "bound", *PROFILES], rows.values())


def _print_worst(worst: dict[str, Any]) -> None:
    for name, cases in worst.items():
        told = ", ".join(f"{c['seed']} ({c['kind']})" for c in cases) or "none"
        print(f"{name.replace('_', ' ')}: {told}")
    print("Look at one: op3-fall detect --replay SEED")
