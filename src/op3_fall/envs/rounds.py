# SPDX-License-Identifier: Apache-2.0
"""The readings of a control step, for detectors that take all robots at once.

Robots that were reset at different times have their driver cycles at different physics steps. All
first readings of a control step are taken together, then all second ones, and so on.
"""

from collections.abc import Sequence

import numpy as np

from op3_fall.rows import assign, take
from op3_fall.signals import SensorReading
from op3_fall.simulation import Cycle

__all__ = ["rounds"]


def rounds(cycles: Sequence[Cycle], last: SensorReading) -> list[SensorReading]:
    """Readings (n, ...) in time order for each robot; one that has none in a round repeats.

    Args:
        cycles: of one control step.
        last: the latest reading of every robot, (n, ...).
    """
    n = len(last.time_s)
    if all(len(cycle.rows) == n for cycle in cycles):
        return [cycle.reading for cycle in cycles]
    count = np.zeros(n, dtype=np.int64)
    found: list[SensorReading] = []
    for cycle in cycles:
        turn = count[cycle.rows]
        for k in sorted(set(turn.tolist())):
            if k == len(found):
                # A robot without a reading in this round has had its latest one before.
                found.append(take(last, slice(None)))
            mine = np.nonzero(turn == k)[0]
            assign(found[k], cycle.rows[mine], take(cycle.reading, mine))
        count[cycle.rows] += 1
    return found
