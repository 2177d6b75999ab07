# SPDX-License-Identifier: Apache-2.0
"""Estimates for tests: of a robot that stands and has felt nothing, unless told otherwise."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from op3_fall.signals import FallEstimate, ImpactEstimate


def fall_estimate(shape: tuple[int, ...] = (), **given: ArrayLike) -> FallEstimate:
    """Of robots (...) that stand still, or the given values in it."""
    zero, count, vector = np.zeros(shape), np.zeros(shape, dtype=np.int64), np.zeros((*shape, 3))
    fields: dict[str, Any] = {
        "phase": count, "tilt": zero, "margin": zero - 0.05, "fall_angle": zero,
        "fall_velocity": zero, "fast": zero > 0, "time_to_impact": zero * np.nan,
        "clearance": zero * np.nan, "gravity": vector - [0, 0, 1], "angular_velocity": vector,
        "specific_force": vector - [0, 0, -9.81], "use": count,
    }  # fmt: skip
    return FallEstimate(**fields | {k: np.asarray(v)[()] for k, v in given.items()})


def impact_estimate(shape: tuple[int, ...] = (), **given: ArrayLike) -> ImpactEstimate:
    """Of robots (...) that have felt no impact, or the given values in it."""
    zero, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    fields: dict[str, Any] = {
        "torque_load": zero, "spike": zero, "onset": zero > 0, "count": count, "sense": count,
        "peak": zero * np.nan, "subsided": zero > 0,
    }  # fmt: skip
    return ImpactEstimate(**fields | {k: np.asarray(v)[()] for k, v in given.items()})
