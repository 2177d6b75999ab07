# SPDX-License-Identifier: Apache-2.0
"""How well impacts were felt: the first contact of a fall, later blows, and what was none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.detection_scores import ImpactMatches, impact_scores, match_impacts, share
from op3_fall.detection_set import Observations
from op3_fall.detection_watch import PROFILES, Felt, Label, Observed
from op3_fall.recipes import FALLS
from op3_fall.signals import ImpactSense

__all__ = ["felt_in_quiet", "impact_report", "latencies"]

Array = NDArray[np.float64]

_WINDOW_S = (0.008, 0.05)
"""The driver shows nothing before 8 ms, and all by 16; then come four more readings."""


def impact_report(seen: Observations) -> dict[str, Any]:
    """By sensor profile, of falls that are left alone and of falls that are braced for."""
    parts = {"held": seen.held, "braced": seen.braced}
    return {
        profile: {name: _scores(part, profile) for name, part in parts.items()}
        for profile in PROFILES
    }


def felt_in_quiet(seen: Observations, profile: str) -> int:
    """Impacts felt where nothing fell."""
    quiet = seen.quiet.label == Label.NON_FALL
    return sum(len(seen.quiet.verdict[profile].felt[k]) for k in np.nonzero(quiet)[0])


def _first(observed: Observed, profile: str, which: NDArray[np.bool_]) -> list[ImpactMatches]:
    """The first contact of those episodes."""
    told = observed.verdict[profile]
    return [
        match_impacts([f.time_s for f in told.felt[k]], [observed.contact_s[k]], _WINDOW_S)
        for k in np.nonzero(which)[0]
    ]


def _noticed(observed: Observed, profile: str) -> NDArray[np.bool_]:
    return observed.verdict[profile].alarm_s < observed.contact_s


def latencies(observed: Observed, profile: str) -> Array:
    """Latencies of the first contacts of noticed falls, s, (m,)."""
    found = _first(observed, profile, _noticed(observed, profile))
    return np.concatenate([np.zeros(0), *(fall.latency_s for fall in found)])


def _scores(observed: Observed, profile: str) -> dict[str, Any]:
    touched, noticed = np.isfinite(observed.contact_s), _noticed(observed, profile)
    of_all = impact_scores(_first(observed, profile, touched))
    blows = impact_scores(
        match_impacts([f.time_s for f in observed.verdict[profile].felt[k]],
                      observed.blows[k], _WINDOW_S)
        for k in np.nonzero(noticed)[0]
    )  # fmt: skip
    kinds = {str(kind): observed.episodes.kind == kind for kind in FALLS}
    return {
        "noticed_falls": int(noticed.sum()),
        "contacts_before_alarm": int((touched & ~noticed).sum()),
        "recall_of_all_contacts_share": of_all["recall_share"],
        **_judged(observed, profile, np.ones(len(noticed), dtype=bool)),
        "later_blows": blows["true_impacts"],
        "later_recall_share": blows["recall_share"],
        "by_kind": {kind: _judged(observed, profile, which) for kind, which in kinds.items()},
    }


def _judged(observed: Observed, profile: str, which: NDArray[np.bool_]) -> dict[str, Any]:
    """Precision of all that was felt, recall and latency of first contacts that were expected."""
    told = observed.verdict[profile]
    felt: list[Felt] = [f for k in np.nonzero(which)[0] for f in told.felt[k]]
    by_torque = [f.sense == ImpactSense.TORQUE for f in felt]
    noticed = which & _noticed(observed, profile)
    first = impact_scores(_first(observed, profile, noticed))
    told_first = [told.felt[k][0].real for k in np.nonzero(noticed)[0] if told.felt[k]]
    return {
        **share("first_precision", sum(told_first), len(told_first)),
        "felt_impacts": len(felt),
        "by_torque_share": float(np.mean(by_torque)) if felt else np.nan,
        **share("precision", sum(f.real for f in felt), len(felt)),
        **{k: first[k] for k in ("recall_share", "low_recall_share", "high_recall_share",
                                 "median_latency_s", "p95_latency_s")},
    }  # fmt: skip
