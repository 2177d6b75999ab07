# SPDX-License-Identifier: Apache-2.0
"""How well impacts were felt: the first contact of a fall, later blows, and what was none."""

from typing import Any

import numpy as np

from op3_fall.detection_scores import ImpactMatches, impact_scores, match_impacts
from op3_fall.detection_set import Observations
from op3_fall.detection_watch import PROFILES, Felt, Observed
from op3_fall.intervals import wilson_interval
from op3_fall.signals import ImpactSense

__all__ = ["impact_report", "latencies"]

_WINDOW_S = (0.008, 0.05)
"""The driver shows nothing before 8 ms, and all by 16; then come four more readings."""


def impact_report(seen: Observations) -> dict[str, Any]:
    """By sensor profile, of falls that are left alone and of falls that are braced for."""
    parts = {"held": seen.held, "braced": seen.braced}
    return {p: {name: _scores(part, p) for name, part in parts.items()} for p in PROFILES}


def _first(observed: Observed, profile: str) -> list[ImpactMatches]:
    """The first contact of each fall that had been noticed before."""
    told = observed.verdict[profile]
    return [
        match_impacts([f.time_s for f in told.felt[k]], [observed.contact_s[k]], _WINDOW_S)
        for k in np.nonzero(told.alarm_s < observed.contact_s)[0]
    ]


def latencies(observed: Observed, profile: str) -> np.ndarray:
    """Latencies of the first contacts, s, (m,)."""
    found = [fall.latency_s for fall in _first(observed, profile)]
    return np.concatenate([np.zeros(0), *found])


def _scores(observed: Observed, profile: str) -> dict[str, Any]:
    told = observed.verdict[profile]
    first = impact_scores(_first(observed, profile))
    noticed = told.alarm_s < observed.contact_s
    felt: list[Felt] = [f for k in np.nonzero(noticed)[0] for f in told.felt[k]]
    real, low, high = _share(sum(f.real for f in felt), len(felt))
    blows = impact_scores(
        match_impacts([f.time_s for f in told.felt[k]], observed.blows[k], _WINDOW_S)
        for k in np.nonzero(noticed)[0]
    )
    return {
        "noticed_falls": int(noticed.sum()),
        "contacts_before_alarm": int((np.isfinite(observed.contact_s) & ~noticed).sum()),
        "felt_impacts": len(felt),
        "by_torque_share": float(np.mean([f.sense == ImpactSense.TORQUE for f in felt]))
        if felt else np.nan,
        "precision_share": real, "low_precision_share": low, "high_precision_share": high,
        **{k: first[k] for k in ("recall_share", "low_recall_share", "high_recall_share",
                                 "median_latency_s", "p95_latency_s")},
        "later_blows": blows["true_impacts"],
        "later_recall_share": blows["recall_share"],
    }  # fmt: skip


def _share(hits: int, trials: int) -> tuple[float, float, float]:
    return (hits / trials if trials else np.nan, *wilson_interval(hits, trials))
