# SPDX-License-Identifier: Apache-2.0
"""The point of no return of a fall: the earliest time from which the robot falls anyway.

Found by bisection over snapshots: from each the episode goes on with what the robot was doing, but
without the push or the hand. A leg that has lost its power does not get it back.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from op3_fall.episode_runs import play
from op3_fall.episodes import Episodes
from op3_fall.hand import Hand
from op3_fall.simulation import Simulation

__all__ = ["Snapshots", "find_no_return"]

Array = NDArray[np.float64]

_HORIZON_S = 1.6
"""Eight time constants of the falling pendulum: longer than any robot hesitates on its edge."""
_FALLEN_RAD = 0.9


@dataclass
class Snapshots:
    """States of n simulations at m times."""

    time_s: list[float] = field(default_factory=list)
    """(m,)."""
    qpos: list[Array] = field(default_factory=list)
    """(m, n, nq)."""
    qvel: list[Array] = field(default_factory=list)
    """(m, n, nv)."""

    def add(self, time_s: float, simulation: Simulation) -> None:
        """Keep the state that `simulation` has now."""
        qpos, qvel = simulation.state
        self.time_s.append(time_s)
        self.qpos.append(qpos)
        self.qvel.append(qvel)


def find_no_return(
    episodes: Episodes, snapshots: Snapshots, which: NDArray[np.intp], contact_s: Array
) -> Array:
    """When each of n falls could no longer be stopped, s, (n,), to within one snapshot.

    Args:
        episodes: that all fell.
        snapshots: of a batch that they were in.
        which: where in that batch, (n,).
        contact_s: when each first touched the floor with more than its feet, s, (n,).
    """
    n, times = len(episodes), np.array(snapshots.time_s)
    qpos, qvel = np.array(snapshots.qpos), np.array(snapshots.qvel)
    still = replace(episodes.scenario, push_force=np.zeros((n, 3)), latency_s=np.zeros(n))
    alone = replace(episodes, scenario=still, hand=Hand.none(n))
    simulation = Simulation(n)

    def falls(at: NDArray[np.int64]) -> NDArray[np.bool_]:
        state = qpos[at, which], qvel[at, which]
        fallen = np.zeros(n, dtype=bool)
        for moment in play(simulation, alone, _HORIZON_S, start_s=times[at], state=state):
            tilted = moment.gravity[:, 2] > -np.cos(_FALLEN_RAD)
            fallen |= tilted | (moment.floor_force > 0)
            if fallen.all():
                break
        return fallen

    last = np.maximum(np.searchsorted(times, contact_s) - 1, 0)
    first = np.minimum(np.searchsorted(times, episodes.event_s), last)
    doomed = falls(first)  # from the very beginning, as by a leg that fails
    low, high = np.where(doomed, first - 1, first), np.where(doomed, first, last)
    while (high - low > 1).any():
        middle = np.maximum((low + high) // 2, 0)
        lost = falls(middle)
        high = np.where(lost & (high - low > 1), middle, high)
        low = np.where(~lost & (high - low > 1), middle, low)
    return times[high]
