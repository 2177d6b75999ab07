# SPDX-License-Identifier: Apache-2.0
"""Score falls: what each one cost the servos, the gears, the head and the shells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.sensors import GRAVITY
from op3_fall.truth import Measurement, over_joints

__all__ = [
    "METRICS",
    "PairedDifference",
    "mean_interval",
    "paired_difference",
    "score",
    "unit",
    "worst",
]

Array = NDArray[np.float64]

METRICS = {
    "peak_torque_load_n_m": "peak torque load",
    "torque_impulse_n_m_s": "torque impulse",
    "worst_joint_torque_n_m": "worst joint torque",
    "saturated_share": "time any joint saturates",
    "worst_gear_load_n_m": "worst gear load",
    "head_contact_share": "head contact",
    "head_contact_speed_m_s": "head speed at contact",
    "peak_head_acceleration_g": "peak head acceleration",
    "peak_floor_force_n": "peak floor force",
}
"""What a fall is scored by, all from the first contact of a part other than the feet on."""


_UNITS = {
    "_n_m_s": "N m s", "_n_m": "N m", "_m_s": "m/s", "_share": "share", "_g": "g", "_n": "N",
    "_j": "J", "_index": "1", "_s": "s",
}  # fmt: skip


def unit(metric: str) -> str:
    """The unit that a metric's name ends in."""
    return next(unit for suffix, unit in _UNITS.items() if metric.endswith(suffix))


def score(truth: Measurement) -> dict[str, Array]:
    """The `METRICS` of n falls, (n,) each; NaN for a fall that diverged.

    The head's speed at contact is NaN where the head did not touch the floor.
    """
    peak = truth.impact_peak
    fallen_s = np.maximum(truth.time_s - truth.impact_s, 1e-9)
    head = np.isfinite(truth.head_contact_speed)
    scores = {
        "peak_torque_load_n_m": peak.torque_load,
        "torque_impulse_n_m_s": over_joints(truth.impact_impulse),
        "worst_joint_torque_n_m": peak.torque.max(axis=-1),
        "saturated_share": truth.impact_saturated_s / fallen_s,
        "worst_gear_load_n_m": peak.gear_load.max(axis=-1),
        "head_contact_share": head.astype(float),
        "head_contact_speed_m_s": truth.head_contact_speed,
        "peak_head_acceleration_g": peak.head_acceleration / GRAVITY,
        "peak_floor_force_n": peak.floor_force.max(axis=-1),
    }
    unusable = truth.diverged | ~truth.hit
    return {name: np.where(unusable, np.nan, value) for name, value in scores.items()}


def worst(truth: Measurement) -> dict[str, list[str]]:
    """Which joint or part each worst value belongs to, by metric, n names each."""
    peak = truth.impact_peak
    return {
        "worst_joint_torque_n_m": [robot.JOINTS[i] for i in peak.torque.argmax(axis=-1)],
        "worst_gear_load_n_m": [robot.JOINTS[i] for i in peak.gear_load.argmax(axis=-1)],
        "peak_floor_force_n": [robot.PARTS[i] for i in peak.floor_force.argmax(axis=-1)],
    }


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences with its bootstrap interval."""

    mean: float
    """NaN if no pair has both values."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    pairs: int
    """Pairs in which both falls have a value."""


def mean_interval(values: ArrayLike, *, seed: int = 0, draws: int = 10_000) -> PairedDifference:
    """Mean of the finite values and its 95 % percentile bootstrap interval."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return PairedDifference(np.nan, np.nan, np.nan, 0)
    picks = np.random.default_rng(seed).integers(0, finite.size, (draws, finite.size))
    low, high = np.percentile(finite[picks].mean(axis=1), [2.5, 97.5])
    return PairedDifference(float(finite.mean()), float(low), float(high), int(finite.size))


def paired_difference(baseline: ArrayLike, other: ArrayLike, *, seed: int = 0) -> PairedDifference:
    """Other minus baseline, pair by pair, (m,) each, bootstrapped over pairs."""
    return mean_interval(np.asarray(other, dtype=float) - np.asarray(baseline), seed=seed)
