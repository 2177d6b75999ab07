# SPDX-License-Identifier: Apache-2.0
"""A gain writer in its node, the driver's merge bug, and a line between them, for the tests."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from op3_fall.gain_writer import GainWriter, Registers


def registers(p: int = 800, d: int = 0, pwm: int = 885, i: int = 0) -> Registers:
    return Registers(*(np.full(20, value) for value in (p, d, pwm, i)))


NOMINAL, SOFT = registers(), registers(160, 700, 600)


@dataclass
class MergingDriver:
    """Messages of one cycle make one packet; the first names the register, servos come once."""

    held: dict[str, np.ndarray] = field(
        default_factory=lambda: {name: np.full(20, -1) for name in (*Registers._fields, "LED")}
    )
    inbox: list[tuple[str, Sequence[int], np.ndarray]] = field(default_factory=list)
    lost: Counter = field(default_factory=Counter)

    def cycle(self) -> None:
        taken: set[int] = set()
        for item, joints, values in self.inbox:
            for joint, value in zip(joints, values, strict=True):
                if joint in taken:
                    self.lost[item] += 1
                    continue
                taken.add(joint)
                self.held[self.inbox[0][0]][joint] = value
        self.inbox = []


class World:
    """A writer in its node, a driver, and a line with delays; time in steps of 1 ms."""

    def __init__(self, phase_ms: int = 0, poll_ms: int = 5, delays_ms: Sequence[int] = (1,)):
        self.writer, self.driver = GainWriter(NOMINAL), MergingDriver()
        self.phase_ms, self.poll_ms, self.delays_ms = phase_ms, poll_ms, delays_ms
        self.ms = 0
        self.subscribers, self.alive = 1, True
        self.sent: list[tuple[int, str, int]] = []
        self.collisions = 0
        self._events: dict[int, list[Callable[[], Any]]] = {}

    def _later(self, act: Callable[[], Any]) -> None:
        delay_ms = self.delays_ms[self.ms % len(self.delays_ms)]
        self._events.setdefault(self.ms + delay_ms, []).append(act)

    def publish(self, item: str, joints: Sequence[int], values: np.ndarray) -> None:
        """Somebody, perhaps our node, publishes on sync_write_item; all subscribers hear it."""

        def hear() -> None:
            self.collisions += self.writer.heard(item, values, self.ms * 1e-3)

        self._later(lambda: self.driver.inbox.append((item, joints, values)))
        self._later(hear)

    def run(self, ms: int, each: Callable[[int], Any] = lambda _: None) -> None:
        for _ in range(ms):
            for act in self._events.pop(self.ms, []):
                act()
            if self.alive and self.ms % 8 == self.phase_ms:
                self.driver.cycle()
                self._later(self.writer.cycle)
            each(self.ms)
            if self.ms % self.poll_ms == 0:
                message = self.writer.poll(self.ms * 1e-3, self.subscribers)
                if message is not None:
                    item, values = message
                    self.sent.append((self.ms, item, int(values[0])))
                    self.publish(item, range(20), values)
            self.ms += 1

    def assert_arrived(self, wanted: Registers) -> None:
        for name, values in wanted._asdict().items():
            np.testing.assert_array_equal(self.driver.held[name], values, err_msg=name)
