# SPDX-License-Identifier: Apache-2.0
"""Commands that reach the servos late, by whole driver cycles, in each simulation on its own."""

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.driver_events import CYCLE_S
from op3_fall.rows import Rows, assign, take
from op3_fall.signals import JointCommand

__all__ = ["CommandDelay"]


class CommandDelay:
    """What n drivers were told in their last cycles; nothing is kept while no command is late."""

    def __init__(self, n: int) -> None:
        """No delay."""
        self._all = np.arange(n)
        self.cycles = np.zeros(n, dtype=np.int64)
        """By how many driver cycles each simulation's commands are late, (n,)."""
        self._count = np.zeros(n, dtype=np.int64)  # driver cycles so far
        self._ring: JointCommand | None = None  # (depth, n, 20) each, slot: count modulo depth

    def reset(self, rows: Rows, latency_s: NDArray[np.float64], hold: JointCommand) -> None:
        """From now on `rows` (k,) are late by `latency_s` (k,); so far they were told `hold`."""
        self.cycles[rows] = np.rint(latency_s / CYCLE_S).astype(np.int64)
        if not self.cycles.any():
            self._ring = None
            return
        self._ring = self._with_room(int(self.cycles.max()) + 1)
        assign(self._ring, (slice(None), rows), hold)

    def _with_room(self, depth: int) -> JointCommand:
        """The ring, of at least `depth` slots, with what it holds."""
        old = self._ring
        if old is not None and len(old.position) >= depth:
            return old
        new = JointCommand.hold(np.zeros((depth, len(self._all), robot.NUM_JOINTS)))
        if old is not None:
            kept = len(old.position)
            cycles = self._count - np.arange(kept)[:, None]
            assign(new, (cycles % depth, self._all), take(old, (cycles % kept, self._all)))
        return new

    def pass_on(self, rows: Rows, command: JointCommand) -> JointCommand:
        """What the drivers of `rows` (k,) write in this cycle when they are told `command`."""
        if self._ring is None:
            return command
        self._count[rows] += 1
        depth, count = len(self._ring.position), self._count[rows]
        assign(self._ring, (count % depth, rows), command)
        return take(self._ring, ((count - self.cycles[rows]) % depth, rows))
