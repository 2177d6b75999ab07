# SPDX-License-Identifier: Apache-2.0
"""The loop's rhythm on a clock of its own."""

import math

import pytest

from op3_fall.pacing import CycleTimes, Pacer


class FakeClock:
    def __init__(self) -> None:
        self.time_s = 100.0

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time_s += seconds


def starts(work_s: list[float], period_s: float = 0.008) -> tuple[list[float], Pacer]:
    """When each round began, ms since the start."""
    clock, found = FakeClock(), []
    pacer = Pacer(clock.now, clock.sleep)
    for work in work_s:
        pacer.wait(period_s)
        found.append(round(1e3 * (clock.time_s - 100), 6))
        clock.time_s += work
    return found, pacer


def test_rounds_start_every_period_whatever_they_take() -> None:
    found, pacer = starts([0.001, 0.007, 0.0, 0.003])
    assert found == [8, 16, 24, 32]
    assert pacer.missed == 0


def test_late_rounds_are_made_up_for_at_once() -> None:
    found, pacer = starts([0.020, 0.001, 0.001, 0.001, 0.001])
    assert found == [8, 28, 29, 32, 40]  # due at 16, 24 and 32
    assert pacer.missed == 2


def test_more_than_a_tenth_of_a_second_is_lost() -> None:
    found, pacer = starts([0.2, 0.001, 0.001])
    assert found == [8, 208, 216]
    assert pacer.missed == 1


def test_a_tenth_of_a_millisecond_is_not_late() -> None:
    found, pacer = starts([0.00805, 0.001])
    assert found == [8, 16.05]
    assert pacer.missed == 0


def test_without_a_period_it_does_not_wait() -> None:
    found, pacer = starts([0.001, 0.001, 0.001], 0.0)
    assert found == [0, 1, 2]
    assert pacer.missed == 0


def test_after_a_pause_nothing_is_missed() -> None:
    clock = FakeClock()
    pacer = Pacer(clock.now, clock.sleep)
    clock.time_s += 5
    pacer.restart()
    pacer.wait(0.008)
    assert clock.time_s == pytest.approx(105.008)
    assert pacer.missed == 0


def test_cycle_times_tell_impacts_apart() -> None:
    times = CycleTimes(keep=101)
    assert all(math.isnan(v) for v in times.summary().values())
    for k in range(1000, 1101):
        times.add(k * 1e-5, impact=False)
    times.add(0.02, impact=True)
    summary = times.summary()
    assert summary["cycle_median_ms"] == pytest.approx(10.51)  # the oldest has gone
    assert summary["impact_cycle_p99_ms"] == summary["impact_cycle_median_ms"] == 20
    assert summary["cycle_p99_ms"] == pytest.approx(11.0)
