# SPDX-License-Identifier: Apache-2.0
"""What a control step did to n robots: the ground truth that rewards and `info` are made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall.truth import Peaks

__all__ = ["Outcome"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """One control step of n robots; observations never see it."""

    fell: Flags
    """The fall has been noticed: the actions take effect, or did until the robot lay, (n,)."""
    hit: Flags
    """A part other than the feet has touched the floor since the start, (n,)."""
    at_rest: Flags
    """It lies still and the load of the impact has subsided, (n,)."""
    diverged: Flags
    """The physics broke down, (n,)."""
    position: Array
    """True joint angles at the end of the step, rad, (n, 20)."""
    goal: Array
    """Goal angles written last, rad, (n, 20)."""
    action: Array
    """Of this step, limited to [-1, 1], (n, actions)."""
    last_action: Array
    """Of the step before; zeros if there was none, (n, actions)."""
    peak: Peaks
    """Largest values of the driver cycles that ended in this step, (n, ...)."""
    worst: Peaks
    """Largest values since the first contact, (n, ...); zeros before it."""
    last_worst: Peaks
    """The same before this step, (n, ...)."""
    saturated_share: Array
    """Of this step, after the first contact, in which at least one drive was at its cap, (n,)."""
    head_hit_speed: Array
    """Speed of the head if it first touched the floor in this step, m/s, else 0, (n,)."""
    com_speed: Array
    """Speed of the centre of mass, mean over this step, m/s, (n,)."""
    last_com_speed: Array
    """The same of the step before, (n,)."""
