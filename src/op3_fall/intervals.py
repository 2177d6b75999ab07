# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of shares and of counts."""

import math

import numpy as np

__all__ = ["poisson_interval", "wilson_interval"]

_NORMAL_95 = 1.959963984540054  # 97.5 % point of the standard normal distribution


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927); NaN without trials."""
    if not trials:
        return math.nan, math.nan
    share, z2 = hits / trials, _NORMAL_95**2
    middle = share + z2 / (2 * trials)
    half = _NORMAL_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    low, high = (middle - half) / (1 + z2 / trials), (middle + half) / (1 + z2 / trials)
    # By rounding, the ends miss 0 and 1 where they are exactly those.
    return (low if hits else 0.0), (high if hits < trials else 1.0)


def poisson_interval(events: int) -> tuple[float, float]:
    """Exact 95 % interval of the mean of a Poisson count (Garwood 1936)."""
    low = _poisson_mean(events - 1, 0.975) if events else 0.0
    return low, _poisson_mean(events, 0.025)


def _poisson_mean(events: int, probability: float) -> float:
    """The mean at which at most that many events have that probability, by bisection."""
    counts = np.arange(events + 1)
    log_factorial = np.cumsum(np.log(np.maximum(counts, 1)))
    low, high = 0.0, events + 10 * math.sqrt(events + 1) + 10
    for _ in range(60):
        mean = (low + high) / 2
        at_most = np.exp(counts * math.log(mean) - mean - log_factorial).sum()
        low, high = (mean, high) if at_most > probability else (low, mean)
    return (low + high) / 2
