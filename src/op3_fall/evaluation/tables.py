# SPDX-License-Identifier: Apache-2.0
"""An evaluation's figures as tables: on the screen, and in full as Markdown."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from op3_fall.evaluation.controllers import POLICY
from op3_fall.evaluation.runs import WATCHED_S
from op3_fall.evaluation.scores import LABELS
from op3_fall.metrics import unit
from op3_fall.results import print_table

__all__ = ["markdown", "print_report"]

Table = tuple[list[str], list[list[str]]]

_DAMAGE = "damage_index"


def print_report(summary: dict[str, Any]) -> None:
    """The first situation in full, the damage index in all of them, the goals."""
    name, first = next(iter(summary["scenarios"].items()))
    falls = summary["settings"]["falls"]
    print_table(f"{name}: {first['text']}, {falls} falls", *_score_table(first, _plus_minus))
    print(f"Means, ± half their 95 % interval; from the first contact on, {WATCHED_S:g} s")
    print_table("Damage index: above 1 something took more than it should",
                *_damage_table(summary, _mean))  # fmt: skip
    if POLICY in summary["settings"]["controllers"]:
        print("change: of the policy against the best of the others")
    if summary["goals"]:
        print_table(f"Goals of the {POLICY}", *_goal_table(summary["goals"]))
    for line in _notes(summary):
        print(line)


def markdown(summary: dict[str, Any]) -> str:
    """Every table with its intervals."""
    settings = summary["settings"]
    lines = [
        "# Evaluation", "",
        f"{settings['falls']} falls in each situation, seed {summary['seed']}, profile "
        f"{settings['profile']}, model {settings['model'] or 'own'}, commit "
        f"{summary['commit'][:12]}.",
        f"Means and their 95 % intervals, from the first contact on for {WATCHED_S:g} s.", "",
    ]  # fmt: skip
    if summary["goals"]:
        lines += ["## Goals", "", *_markdown_table(*_goal_table(summary["goals"])), ""]
    lines += ["## Damage index", "", *_markdown_table(*_damage_table(summary, _interval)), ""]
    for name, of in summary["scenarios"].items():
        lines += [f"## {name}: {of['text']}", ""]
        lines += [*_markdown_table(*_score_table(of, _interval)), ""]
        lines += [*_markdown_table(*_worst_table(of)), ""]
    return "\n".join([*lines, *_notes(summary)]).rstrip() + "\n"


def _score_table(of: dict[str, Any], shown: Callable[[dict[str, float], float], str]) -> Table:
    controllers = of["controllers"]
    rows = []
    for score, label in LABELS.items():
        its = unit(score)
        scale, its = (100, "%") if its == "share" else (1, its)
        name = label if its == "1" else f"{label} ({its})"
        rows.append([name, *(shown(one["scores"][score], scale) for one in controllers.values())])
    return ["mean", *(_short(c) for c in controllers)], rows


def _damage_table(
    summary: dict[str, Any], shown: Callable[[dict[str, float], float], str]
) -> Table:
    rows = []
    for name, of in summary["scenarios"].items():
        scores = {c: one["scores"] for c, one in of["controllers"].items()}
        row = [name, *(shown(one[_DAMAGE], 1) for one in scores.values())]
        best = summary["best_baseline"][name]
        if POLICY in scores and best is not None:
            change = scores[POLICY][_DAMAGE]["mean"] / scores[best][_DAMAGE]["mean"] - 1
            row.append(f"{change:+.0%}")
        rows.append(row)
    header = ["situation", *(_short(c) for c in summary["settings"]["controllers"])]
    return [*header, "change"][: len(rows[0])], rows


def _goal_table(goals: Sequence[dict[str, Any]]) -> Table:
    return ["goal", "bound", "reached", ""], [
        [g["goal"], f"{'at least' if g['at_least'] else 'below'} {100 * g['bound']:.3g} %",
         _percent(g["value"]), "met" if g["met"] else "missed"]
        for g in goals
    ]  # fmt: skip


def _worst_table(of: dict[str, Any]) -> Table:
    controllers = of["controllers"]
    labels = {
        "joint_torque": "joint with most torque", "gear_load": "gear with most load",
        "floor_force": "part hit hardest", "damage": "what decides the damage index",
    }  # fmt: skip
    rows = [
        [label, *(_most(one["worst"][what]) for one in controllers.values())]
        for what, label in labels.items()
    ]
    return ["most often", *(_short(c) for c in controllers)], rows


def _most(shares: dict[str, float]) -> str:
    return next((f"{name} {share:.0%}" for name, share in shares.items()), "-")


def _notes(summary: dict[str, Any]) -> list[str]:
    lines = []
    for name, of in summary["scenarios"].items():
        for c, one in of["controllers"].items():
            if one["falls_diverged"]:
                lines.append(f"{one['falls_diverged']} falls of {name} diverged under {c} and are "
                             "left out of its means")  # fmt: skip
    return lines


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [line(header), line(["---", *["---:"] * (len(header) - 1)]), *map(line, rows)]


def _short(controller: str) -> str:
    return controller.removeprefix("scripted_")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _mean(interval: dict[str, float], scale: float) -> str:
    return _number(scale * interval["mean"]) if interval["pairs"] else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None or not math.isfinite(share) else f"{_number(100 * share)} %"


def _plus_minus(interval: dict[str, float], scale: float) -> str:
    if not interval["pairs"]:
        return "-"
    mean, half = scale * interval["mean"], scale * (interval["high"] - interval["low"]) / 2
    if not half > 0:
        return f"{_number(mean)}±0"
    # Down to the first digit that the interval leaves open.
    digits = -math.floor(math.log10(half))
    return "±".join(f"{round(value, digits):.{max(0, digits)}f}" for value in (mean, half))


def _interval(interval: dict[str, float], scale: float) -> str:
    if not interval["pairs"]:
        return "-"
    mean, low, high = (_number(scale * interval[key]) for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
