# SPDX-License-Identifier: Apache-2.0
"""What the simulated driver tells of in a cycle, apart from readings and goals."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

__all__ = ["CYCLE_S", "Events", "Level", "Status"]

CYCLE_S = 0.008
"""Driver cycle of the OP3, control_cycle in OP3.robot."""


class Level(IntEnum):
    """StatusMsg's `type`."""

    INFO = 1
    WARN = 2
    ERROR = 3


class Status(NamedTuple):
    """One message on /robotis/status."""

    level: Level
    module: str
    text: str


@dataclass
class Events:
    """What is to be told since the last cycle, in order."""

    statuses: list[Status] = field(default_factory=list)
    movement_done: list[str] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)
    module_maps: list[tuple[str, ...]] = field(default_factory=list)
    """Owner of every joint, in driver order; one for each switch that was completed."""
    warnings: list[str] = field(default_factory=list)
    """What the driver logs."""

    def info(self, module: str, text: str) -> None:
        """Tell of something that went well."""
        self.statuses.append(Status(Level.INFO, module, text))

    def error(self, module: str, text: str) -> None:
        """Tell of something that failed."""
        self.statuses.append(Status(Level.ERROR, module, text))
