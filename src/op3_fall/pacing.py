# SPDX-License-Identifier: Apache-2.0
"""Keeps a loop at its period, and measures how well that goes."""

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

__all__ = ["CycleTimes", "Pacer", "spread"]

_LATE_S = 1e-4
_MOST_LAG_S = 0.1


class Pacer:
    """Start times of a loop's rounds.

    A round that is more than 0.1 ms late is a missed deadline, as robotis_controller counts them.
    The driver then skips: its robot's time goes on anyway. A simulation's does not, so late rounds
    are made up for at once, until it is 0.1 s behind; beyond, the time is lost.
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
        """Return when the next round is due; at once if it is late or the period is 0."""
        self._due_s += period_s
        late = self._now() - self._due_s
        if period_s and late > _LATE_S:
            self.missed += 1
        if period_s == 0 or late > _MOST_LAG_S:
            self._due_s += late
        self._sleep(max(-late, 0.0))  # 0 lets other threads run

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
        """Median, 99th percentile and maximum in ms, NaN where there has been no cycle."""
        return spread("cycle", self._all) | spread("impact_cycle", self._impact)


def spread(name: str, times_s: Iterable[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum in ms, NaN if there are no times."""
    times = 1e3 * np.array(list(times_s) or [np.nan])
    percentiles = zip(("median", "p99", "max"), np.percentile(times, (50, 99, 100)), strict=True)
    return {f"{name}_{label}_ms": float(value) for label, value in percentiles}
