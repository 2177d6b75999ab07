# SPDX-License-Identifier: Apache-2.0
"""`op3-fall detect --tune`: search the detectors' parameters on the training split.

The alarm: of the settings with the fewest false alarms, the one whose lead is longest (5th
percentile, pushes from standing), less 1 s for all near falls that it takes for falls. The impact:
the best mean of precision and recall over falls that are braced for and not, with effort readings
and then without.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from op3_fall.detection_report import STANDING, Operated, alarms_of, false_alarms_of, shares
from op3_fall.detection_runs import observe
from op3_fall.detection_set import FALL_S, SetSize, simulate_training, training_falls
from op3_fall.detection_watch import (
    OURS,
    Label,
    Observed,
    Watch,
    as_profile,
)
from op3_fall.detectors import DetectorConfig
from op3_fall.episode_runs import Moment
from op3_fall.episodes import Episodes, draw
from op3_fall.fall_detection import FallPhase, FallRule
from op3_fall.impact_detection import ImpactDetector, ImpactRule
from op3_fall.robot import Servo

__all__ = ["tune"]

Progress = Callable[[float], None]
Tried = list[dict[str, float]]

_MARGINS_M = np.round(np.arange(-0.01, 0.0601, 0.005), 4)
_HOLDS_S = (0.016, 0.024, 0.032, 0.048)
"""Not one reading alone: whatever glitches would be a fall."""
_GEARS_N_M, _TURNS_RAD_S, _AGAIN = (1.5, 2.0, 3.0), (1.0, 1.5, 2.5), (1.0, 2.0, 3.0, 5.0)
_STOCK_TURNS_RAD_S, _FORCES_M_S2 = (0.5, 0.7, 1.0), (7.0, 10.0, 14.0)
_NEAR_M = (0.01, 0.02, 0.03)
_WORST_LATENCY_S = 0.05
_MOST_FALLS = 480
"""Each of them is met by a hundred impact detectors."""


def tune(
    size: SetSize, config: DetectorConfig, *, seed: int = 0,
    progress: Progress = lambda share: None,
) -> tuple[DetectorConfig, dict[str, Tried]]:  # fmt: skip
    """The best configuration, and all that was tried."""
    held, quiet = simulate_training(
        size, config, seed=seed, progress=lambda share: progress(0.6 * share)
    )
    fall, alarms = _tune_alarm(held, quiet, config.fall)
    seeds = training_falls(size, seed)[:_MOST_FALLS]
    impact, blows = _tune_impact(
        seeds, replace(config, fall=fall), lambda share: progress(0.6 + 0.4 * share)
    )
    return DetectorConfig(fall, impact), {"alarm": alarms, "impact": blows}


def _tune_alarm(held: Observed, quiet: Observed, rule: FallRule) -> tuple[FallRule, Tried]:
    stood = quiet.label == Label.NON_FALL
    near, fell = held.label == Label.NON_FALL, held.label == Label.FALL
    standing = fell & (held.episodes.kind == STANDING)
    tried: Tried = []
    for hold_s in _HOLDS_S:
        at = Operated(_MARGINS_M, hold_s)  # type: ignore[arg-type]
        false = false_alarms_of(quiet, OURS, at, rule.settle_s)[:, stood].sum(axis=1)
        upset = shares(false_alarms_of(held, OURS, at, rule.settle_s)[:, near] > 0)
        lead = held.contact_s - alarms_of(held, OURS, at, rule.settle_s)
        leads = np.nan_to_num(lead[:, standing])
        early = np.percentile(leads, 5, axis=1) if standing.any() else np.zeros(len(leads))
        tried += [
            {"margin_m": float(m), "hold_s": hold_s, "false_alarms": int(f),
             "near_share": float(u), "p5_lead_s": float(e)}
            for m, f, u, e in zip(_MARGINS_M, false, upset, early, strict=True)
        ]  # fmt: skip
    # Of equals the one that waits longer: real noise may be worse than the simulated.
    best = min(
        tried,
        key=lambda t: (
            t["false_alarms"],
            np.nan_to_num(t["near_share"]) - t["p5_lead_s"],
            -t["hold_s"],
        ),
    )
    return replace(rule, margin_m=best["margin_m"], hold_s=best["hold_s"]), tried


class _Listener:
    """Impact detectors with different rules on the same falls, `rules` by sensor profile."""

    def __init__(self, episodes: Episodes, rules: dict[str, list[ImpactRule]]) -> None:
        self._rules, self._servo = rules, Servo()
        self._detectors: dict[tuple[str, int], ImpactDetector] = {}
        counts = {profile: len(some) for profile, some in rules.items()}
        self.felt = {p: np.zeros(k, dtype=int) for p, k in counts.items()}
        self.real = {p: np.zeros(k, dtype=int) for p, k in counts.items()}
        self.first_s = {p: np.full((k, len(episodes)), np.nan) for p, k in counts.items()}

    def __call__(self, moment: Moment, watch: Watch) -> None:
        """Take one driver cycle in."""
        real = watch.struck()
        estimates = watch.estimates()
        assert estimates is not None, "the watch has had this moment"
        fall, _ = estimates
        under_way = (fall.phase == FallPhase.FALLING) | (fall.phase == FallPhase.IMPACT)
        for profile, rules in self._rules.items():
            reading = as_profile(moment.reading, profile)
            for r, rule in enumerate(rules):
                if (profile, r) not in self._detectors:
                    self._detectors[profile, r] = ImpactDetector(reading, self._servo, rule)
                # Each has felt impacts of its own.
                hit = np.isfinite(self.first_s[profile][r])
                phase = np.where(hit, FallPhase.IMPACT, FallPhase.FALLING)
                seen = replace(fall, phase=np.where(under_way, phase, fall.phase))
                onset = self._detectors[profile, r].step(reading, seen).onset
                if not onset.any():
                    continue
                self.felt[profile][r] += onset.sum()
                self.real[profile][r] += (onset & real).sum()
                self.first_s[profile][r, onset & ~hit] = moment.time_s

    def recall(self, profile: str, observed: Observed) -> NDArray[np.float64]:
        """Share of the first contacts that each rule felt in time."""
        noticed = observed.verdict[profile].alarm_s < observed.contact_s
        late = self.first_s[profile][:, noticed] - observed.contact_s[noticed]
        return shares((late > 0) & (late <= _WORST_LATENCY_S))


def _tune_impact(
    seeds: NDArray[np.int64], config: DetectorConfig, progress: Progress
) -> tuple[ImpactRule, Tried]:
    """The best rule with effort readings, then the best without at the same clearance."""
    grids = {
        "extended": [
            {"gear_n_m": g, "turn_rad_s": w, "near_m": d, "again": a}
            for g, w, d, a in product(_GEARS_N_M, _TURNS_RAD_S, _NEAR_M, _AGAIN)
        ],
        "stock": [
            {"stock_turn_rad_s": w, "stock_force_m_s2": f, "near_m": d, "again": a}
            for w, f, d, a in product(_STOCK_TURNS_RAD_S, _FORCES_M_S2, _NEAR_M, _AGAIN)
        ],
    }
    rules = {p: [replace(config.impact, **cell) for cell in grid] for p, grid in grids.items()}
    found = []
    for part, brace in enumerate((False, True)):
        episodes = draw(seeds)
        listener = _Listener(episodes, rules)
        observed = observe(
            episodes, FALL_S, config, brace=brace, listen=listener,
            progress=lambda share, part=part: progress((part + share) / 2),
        )  # fmt: skip
        found.append((listener, observed))
    tried: Tried = []
    best = config.impact
    for profile, grid in grids.items():
        recall = np.nanmean([part.recall(profile, seen) for part, seen in found], axis=0)
        felt, real = (
            sum(getattr(part, k)[profile] for part, _ in found) for k in ("felt", "real")
        )
        precision = real / np.maximum(felt, 1)
        cells = [
            {**cell, "recall_share": float(r), "precision_share": float(p)}
            for cell, r, p in zip(grid, recall, precision, strict=True)
        ]
        tried += cells
        fitting = [c for c in cells if profile == "extended"
                   or (c["near_m"], c["again"]) == (best.near_m, best.again)]  # fmt: skip
        top = max(fitting, key=lambda c: c["recall_share"] + c["precision_share"])
        best = replace(best, **{k: v for k, v in top.items() if not k.endswith("_share")})
    return best, tried
