# SPDX-License-Identifier: Apache-2.0
"""Which evaluation was the best, and whether there is hope for a better one."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["EarlyStop"]


@dataclass
class EarlyStop:
    """Follows the damage index of one evaluation after the other."""

    patience: int
    """Evaluations without a lower one that are one too many; 0 for any number."""
    best: float = math.inf
    """The lowest so far."""
    best_iteration: int = 0
    """When that was."""
    since: int = 0
    """Evaluations after it."""

    def add(self, damage: float, iteration: int) -> bool:
        """Take in an evaluation; whether it is the best so far."""
        better = damage < self.best
        if better:
            self.best, self.best_iteration, self.since = damage, iteration, 0
        else:
            self.since += 1
        return better

    @property
    def reason(self) -> str:
        """Why to stop; empty to go on."""
        if not self.patience or self.since < self.patience:
            return ""
        return f"no lower damage index since iteration {self.best_iteration}"

    def state(self) -> dict[str, Any]:
        """What changes, as a checkpoint has it."""
        return {name: value for name, value in asdict(self).items() if name != "patience"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.best, self.best_iteration = float(state["best"]), int(state["best_iteration"])
        self.since = int(state["since"])
