# SPDX-License-Identifier: Apache-2.0
"""The e-stop: latched, and held by several nodes that tell each other.

Each holder sends its state to the others on every change and when asked; messages may be lost,
late or repeated, and a node that starts again knows nothing. Whatever the order of the messages,
all end in the same state, and a clear undoes no press that came after it.
"""

from dataclasses import dataclass

__all__ = ["EStop", "EStopState"]


@dataclass(frozen=True, order=True)
class EStopState:
    """What one holder knows; the greater of two is the newer: a later press, then its clear."""

    pressed_ns: int = 0
    """When it was pressed last, wall clock in ns; 0 if never."""
    reason: str = ""
    """Why."""
    cleared_ns: int = 0
    """The press that was cleared last; never above `pressed_ns`."""

    @property
    def active(self) -> bool:
        """Commands are held back."""
        return self.pressed_ns > self.cleared_ns


class EStop:
    """One holder's latch. It works whatever its node does."""

    def __init__(self) -> None:
        """Not pressed, as far as known."""
        self.state = EStopState()

    @property
    def active(self) -> bool:
        """Commands are held back."""
        return self.state.active

    @property
    def reason(self) -> str:
        """Why it is active, empty if it is not."""
        return self.state.reason if self.active else ""

    def press(self, reason: str, wall_ns: int) -> None:
        """Latch it. `wall_ns` is the wall clock also in simulation, whose time starts again."""
        latest = max(wall_ns, self.state.pressed_ns + 1)
        self.state = EStopState(latest, reason, self.state.cleared_ns)

    def clear(self) -> None:
        """Undo the presses known here; for the clearing service alone."""
        s = self.state
        self.state = EStopState(s.pressed_ns, s.reason, s.pressed_ns)

    def merge(self, other: EStopState) -> bool:
        """Take in what another holder knows; returns whether that was news."""
        mine, self.state = self.state, max(self.state, other)
        return self.state != mine
