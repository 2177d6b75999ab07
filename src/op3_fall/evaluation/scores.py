# SPDX-License-Identifier: Apache-2.0
"""What each fall is scored by: `metrics.score`, and what an evaluation asks beyond it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import metrics, robot
from op3_fall.damage import Tolerances, damage_index, damage_shares
from op3_fall.evaluation.runs import Falls
from op3_fall.truth import Measurement, over_joints

__all__ = ["LABELS", "score_falls", "summarise_falls", "worst_of"]

Array = NDArray[np.float64]
Scores = Mapping[str, Array]

LABELS: dict[str, str] = {
    "damage_index": "damage index",
    "head_contact_share": metrics.METRICS["head_contact_share"],
    "head_contact_speed_m_s": metrics.METRICS["head_contact_speed_m_s"],
    "peak_head_acceleration_g": metrics.METRICS["peak_head_acceleration_g"],
    "peak_floor_force_n": metrics.METRICS["peak_floor_force_n"],
    "peak_head_force_n": "… on the head",
    "peak_torso_force_n": "… on the torso",
    "peak_hand_force_n": "… on a forearm with its hand",
    "peak_other_force_n": "… on any other part",
    "peak_torque_load_n_m": metrics.METRICS["peak_torque_load_n_m"],
    "worst_joint_torque_n_m": metrics.METRICS["worst_joint_torque_n_m"],
    "saturating_share": "falls in which a servo saturates",
    "saturated_share": metrics.METRICS["saturated_share"],
    "worst_gear_load_n_m": metrics.METRICS["worst_gear_load_n_m"],
    "torque_impulse_n_m_s": metrics.METRICS["torque_impulse_n_m_s"],
    "fall_energy_j": "energy into the servos",
    "rest_s": "time to rest",
    "fallen_share": "robots that fell",
}
"""Every score by name, from the first contact on. Means are over the robots that fell; only
`fallen_share` and `damage_index` (0 for who stayed up) are over all that did not diverge."""

_HANDS = [robot.PARTS.index(p) for p in ("l_forearm", "r_forearm")]
_GROUPS = {
    "head": [robot.PARTS.index("head")], "torso": [robot.PARTS.index("torso")], "hand": _HANDS,
    "other": [i for i, part in enumerate(robot.PARTS)
              if part not in ("head", "torso") and i not in _HANDS],
}  # fmt: skip


def score_falls(falls: Falls, tolerances: Tolerances) -> dict[str, Array]:
    """The scores in `LABELS` of n falls, (n,) each; NaN for what there is none of."""
    truth = falls.truth
    usable = truth.hit & ~truth.diverged
    force = truth.impact_peak.floor_force
    more = {
        **{f"peak_{group}_force_n": force[:, parts].max(axis=-1)
           for group, parts in _GROUPS.items()},
        "saturating_share": (truth.impact_saturated_s > 0).astype(float),
        "fall_energy_j": over_joints(truth.impact_energy),
        "rest_s": falls.rest_s,
    }  # fmt: skip
    scores = metrics.score(truth)
    scores |= {name: np.where(usable, value, np.nan) for name, value in more.items()}
    scores["damage_index"] = damage_index(truth, tolerances)
    scores["fallen_share"] = np.where(truth.diverged, np.nan, truth.hit)
    return {name: scores[name] for name in LABELS}


def summarise_falls(scores: Scores, seed: int) -> dict[str, Any]:
    """Mean of each score (n,) over its falls with its 95 % bootstrap interval."""
    return {
        name: vars(metrics.mean_interval(values, seed=seed, draws=2000))
        for name, values in scores.items()
    }


def worst_of(truth: Measurement, tolerances: Tolerances) -> dict[str, NDArray[np.int64]]:
    """Index of what each fall was worst for, (n,) each: a joint, a part or a damage share.

    -1 for a fall that diverged or did not come to a contact.
    """
    shares = np.stack(list(damage_shares(truth, tolerances).values()), axis=-1)
    peak, usable = truth.impact_peak, truth.hit & ~truth.diverged
    of = {"joint_torque": peak.torque, "gear_load": peak.gear_load,
          "floor_force": peak.floor_force, "damage": shares}  # fmt: skip
    return {name: np.where(usable, values.argmax(axis=-1), -1) for name, values in of.items()}
