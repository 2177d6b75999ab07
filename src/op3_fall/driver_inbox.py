# SPDX-License-Identifier: Apache-2.0
"""The single callback thread of the driver's controller, which a change of modules can block."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from op3_fall.driver_ownership import Done, Ownership

__all__ = ["Inbox"]


@dataclass
class _Message:
    topic: str
    depth: int
    work: Callable[[], None]
    done: Done | None
    switches: bool


class Inbox:
    """Runs callbacks at once, or keeps them in their order until the thread is free.

    A service that changes modules blocks the thread until the change is complete; a second request
    for a change blocks it until the first is complete. Of what waits meanwhile a topic keeps as
    many messages as its queue is deep, the latest.
    """

    def __init__(self, ownership: Ownership, warn: Callable[[str], None]) -> None:
        """Make it, free."""
        self._ownership, self._warn = ownership, warn
        self._waiting: deque[_Message] = deque()

    def receive(
        self, topic: str, depth: int, work: Callable[[], None], *, done: Done | None = None,
        switches: bool = False,
    ) -> None:  # fmt: skip
        """A message.

        Args:
            topic: it came on.
            depth: of the topic's queue.
            work: what the callback does.
            done: what a service waits for.
            switches: it changes modules.
        """
        message = _Message(topic, depth, work, done, switches)
        if not self._waiting and self._can_run(message):
            work()
            return
        same = [m for m in self._waiting if m.topic == topic]
        if len(same) >= depth:
            self._waiting.remove(same[0])
            self._warn(f"{topic}: {depth} messages wait; the oldest is dropped")
        self._waiting.append(message)

    def _can_run(self, message: _Message) -> bool:
        owners = self._ownership
        return not owners.service_waits and not (message.switches and owners.pending)

    def drain(self) -> None:
        """Run what waits, as far as the thread is free."""
        while self._waiting and self._can_run(self._waiting[0]):
            self._waiting.popleft().work()

    def abort(self) -> None:
        """Tell every service that waits that it will not be served."""
        for message in self._waiting:
            if message.done:
                message.done(False)
        self._waiting.clear()
