# SPDX-License-Identifier: Apache-2.0
"""Gain registers to sync_write_item messages that the driver's merge bug cannot lose.

ROBOTIS' robotis_controller puts all sync_write_item messages of one 8 ms cycle into one packet
with the register of the first, and drops what is meant for a servo that is already in it. So
messages are sent one at a time, each with all 20 joints, far enough apart for a cycle of their
own, and again whenever another node's message may have shared it.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DRAIN_S", "GainWriter", "Registers"]

Array = NDArray[np.int64]

GAP_S = 0.02
"""Least time between two messages: two driver cycles and some delay on the way."""
GAP_CYCLES = 2
"""Readings between two messages: a driver that stands still would merge what it finds."""
HAD_CYCLES = 3
"""Readings after which the driver has had a message. The first may be older than the message,
the second of a cycle that had written before it came; delays up to a cycle are covered."""
QUIET_S = 0.016
"""Two messages closer than this (two cycles) may have met in one cycle."""
PATIENCE_S = 0.1
"""Without readings, or while others never fall silent, a message goes out after this anyway; and
one that the driver has not had is sent again."""
REFRESH_S = 1.0
"""While the gains are not nominal they are sent again this often: walking_module rewrites P."""
DRAIN_S = 0.5
"""Keep polling for this long at a shutdown: everything goes out at least once even if no reading
comes any more; with readings `written` is true after 0.2 s."""


class Registers(NamedTuple):
    """Registers (..., 20) under the driver's item names, the most important first."""

    position_p_gain: Array
    """0 to 16383."""
    position_d_gain: Array
    """0 to 16383."""
    goal_pwm: Array
    """0 to 885."""
    position_i_gain: Array
    """0 to 16383."""


class _Item:
    """One register item: what is wanted, and what became of the last message with it."""

    def __init__(self) -> None:
        self.wanted: Array = np.zeros(0, dtype=np.int64)
        self.sent: Array = np.zeros(0, dtype=np.int64)
        self.sent_s = -math.inf
        self.cycles = 0
        self.doubted = True
        self.had = False

    @property
    def current(self) -> bool:
        """The last message says what is wanted, and nothing has come in between."""
        return not self.doubted and np.array_equal(self.sent, self.wanted)

    def doubt(self) -> None:
        """The servos may hold anything."""
        self.doubted, self.had = True, False

    def due(self, time_s: float, *, refresh: bool) -> bool:
        """It must be sent (again)."""
        age_s = time_s - self.sent_s
        if self.had:
            return refresh and age_s >= REFRESH_S
        return self.wanted.size > 0 and (not self.current or age_s >= PATIENCE_S)


class GainWriter:
    """Decides what to send when, for the 20 joints of one robot."""

    def __init__(self, nominal: Registers) -> None:
        """Nothing is wanted yet, and nothing is known of the servos.

        Args:
            nominal: registers (20,) each that need no refresh.
        """
        self._nominal = nominal
        self._items = {name: _Item() for name in Registers._fields}
        self._queue: deque[str] = deque()
        self._echoes: deque[tuple[str, bytes]] = deque(maxlen=8)
        self._cycles = GAP_CYCLES
        self._subscribers = 0
        self._sent_s = self._foreign_s = self._idle_s = self._now_s = -math.inf

    @property
    def written(self) -> bool:
        """The driver has had everything that is wanted."""
        return all(item.had for item in self._items.values())

    def want(self, registers: Registers) -> None:
        """These registers (20,) each shall be in the servos."""
        for item, values in zip(self._items.values(), registers, strict=True):
            item.wanted = np.array(values, dtype=np.int64)
            item.had &= item.current

    def force(self) -> None:
        """Write everything whatever was written before: at the start and at a shutdown."""
        for item in self._items.values():
            item.doubt()

    def cycle(self) -> None:
        """A present_joint_states message came: the driver has run a cycle."""
        self._cycles += 1
        for item in self._items.values():
            item.cycles += 1
            item.had |= item.current and item.cycles >= HAD_CYCLES

    def heard(self, item_name: str, values: ArrayLike, time_s: float) -> bool:
        """A sync_write_item message came by, one of our own perhaps.

        Returns:
            Whether it is another node's and may have met one of ours in one driver cycle. Either
            register may then hold the other's values; ours are all written again.
        """
        message = (item_name, np.asarray(values, dtype=np.int64).tobytes())
        if message in self._echoes:
            self._echoes.remove(message)
            return False
        self._foreign_s = time_s
        met = time_s - self._sent_s <= QUIET_S
        if met:
            self.force()
        elif item_name in self._items and not self._is_nominal():
            self._items[item_name].doubt()
        return met

    def poll(self, time_s: float, subscribers: int) -> tuple[str, Array] | None:
        """The message to send now, as item name and values (20,), or None.

        Call it at least every 10 ms, and send what it gives at once.

        Args:
            time_s: now; when it goes back, the simulation has started again.
            subscribers: of the topic that is sent on; without one the driver is gone. One more
                may be the driver, found only now or back with its own gains.
        """
        if time_s < self._now_s:
            self._sent_s = self._foreign_s = -math.inf
            self.force()
        self._now_s = time_s
        if subscribers == 0 or subscribers > self._subscribers:
            self.force()
        self._subscribers = subscribers
        if subscribers == 0:
            return None
        self._enqueue(time_s)
        if not (self._queue and self._may_send(time_s)):
            return None
        name = self._queue.popleft()
        item = self._items[name]
        item.doubted = False
        item.sent, item.sent_s, item.cycles = item.wanted, time_s, 0
        self._sent_s, self._cycles = time_s, 0
        if time_s - self._foreign_s <= QUIET_S:
            self.force()
        self._echoes.append((name, item.sent.tobytes()))
        return name, item.sent.copy()

    def _may_send(self, time_s: float) -> bool:
        alone = self._cycles >= GAP_CYCLES and time_s - self._foreign_s > QUIET_S
        waited_s = time_s - max(self._sent_s, self._idle_s)
        return waited_s >= PATIENCE_S or (time_s - self._sent_s >= GAP_S and alone)

    def _enqueue(self, time_s: float) -> None:
        """First come, first served: a register that changes all the time starves no other."""
        if not self._queue:
            self._idle_s = time_s
        refresh = not self._is_nominal()
        for name, item in self._items.items():
            if name not in self._queue and item.due(time_s, refresh=refresh):
                self._queue.append(name)

    def _is_nominal(self) -> bool:
        wanted = (item.wanted for item in self._items.values())
        return all(map(np.array_equal, wanted, self._nominal))
