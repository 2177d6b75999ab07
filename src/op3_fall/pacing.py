# SPDX-License-Identifier: Apache-2.0
"""Keeps a loop at its period as the OP3's driver does, and measures how well that goes."""

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

__all__ = ["CycleTimes", "Pacer"]

_LATE_S = 1e-4
_RECOVERY_S = 3e-3


class Pacer:
    """Start times of a loop's rounds, by robotis_controller's rule.

    A round that is more than 0.1 ms late is a missed deadline; the next one then starts 3 ms later
    and nothing is made up for. So simulated time falls behind the clock for good.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], object]) -> None:
        """Make it; the first round is due at once.

        Args:
            now: a monotonic clock, s.
            sleep: waits for a while, s.
        """
        self._now, self._sleep = now, sleep
        self._due_s = now()
        self.missed = 0
        """Deadlines missed since the start."""

    def wait(self, period_s: float) -> None:
        """Return when the next round is due; at once if the period is 0."""
        self._due_s += period_s
        late = self._now() - self._due_s
        if period_s == 0:
            self._due_s += late
            self._sleep(0)  # let other threads run
            return
        if late > _LATE_S:
            self.missed += 1
            late = -min(_RECOVERY_S, period_s)
            self._due_s = self._now() - late
        if late < 0:
            self._sleep(-late)

    def restart(self) -> None:
        """After a pause the next round is due at once."""
        self._due_s = self._now()


class CycleTimes:
    """How long the latest cycles took, those of an impact apart."""

    def __init__(self, keep: int = 1250) -> None:
        """Keep the latest `keep` of each kind."""
        self._all: deque[float] = deque(maxlen=keep)
        self._impact: deque[float] = deque(maxlen=keep)

    def add(self, took_s: float, *, impact: bool) -> None:
        """One cycle."""
        self._all.append(took_s)
        if impact:
            self._impact.append(took_s)

    def summary(self) -> dict[str, float]:
        """Median and 99th percentile in ms, NaN where there has been no cycle."""
        return {
            f"{name}_{label}_ms": 1e3 * _percentile(times, percent)
            for name, times in (("cycle", self._all), ("impact_cycle", self._impact))
            for label, percent in (("median", 50), ("p99", 99))
        }


def _percentile(times: Iterable[float], percent: float) -> float:
    values = list(times)
    return float(np.percentile(values, percent)) if values else float("nan")
