# SPDX-License-Identifier: Apache-2.0
"""Faults of the sensors, each put in on purpose, and sound sensors that must not be blamed."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from op3_fall import scenarios
from op3_fall.safety import Health, Level, SafetyConfig, SensorGuard
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import Simulation

CYCLE = 0.008
CONFIG = SafetyConfig()


def reading(time_s: float, *, turn: float = 0.0) -> SensorReading:
    """A robot that turns; a whole number of counts of the gyro behind the driver's filter."""
    noise = np.sin(1e4 * time_s * np.arange(1, 4))
    return SensorReading(
        time_s=np.array(time_s), position=np.zeros(20), velocity=np.zeros(20),
        effort=np.zeros(20), angular_velocity=np.array([turn, 0.0, 0.0]) + 0.01 * noise,
        linear_acceleration=np.array([0.0, 0.0, 9.8]) + 0.01 * noise,
        orientation=np.array([1.0, 0.0, 0.0, 0.0]),
    )  # fmt: skip


def feed(guard: SensorGuard, readings: Iterable[SensorReading]) -> list[Health]:
    """As they come, each 5 ms after its stamp."""
    return [guard.step(float(r.time_s) + 0.005, r) for r in readings]


def sound(start: float = 0.0, cycles: int = 100) -> Iterator[SensorReading]:
    return (reading(start + k * CYCLE) for k in range(cycles))


def watched(start: float = 0.0, config: SafetyConfig = CONFIG) -> SensorGuard:
    """After 0.8 s of sound readings from `start` on: the last has the stamp start + 0.792 s."""
    guard = SensorGuard(config)
    assert {h.level for h in feed(guard, sound(start))} == {Level.OK}
    return guard


@cache
def simulated(profile: str, force_n: float, seconds: float) -> list[SensorReading]:
    """A robot pushed to the front after 0.2 s, all cycles."""
    simulation = Simulation(1, profile=profile, threads=1)
    push = scenarios.PushSpec(force_n=force_n, start_s=0.2)
    scenario = scenarios.pushed_stand(push, [0], seed=0)
    simulation.reset(scenario)
    seen = []
    for _ in range(round(seconds / 0.02)):
        simulation.step(JointCommand.hold(scenario.position))
        for cycle in simulation.cycles:
            values = {name: value[0] for name, value in vars(cycle.reading).items()}
            seen.append(SensorReading(**values))
    return seen


def test_before_the_first_reading_there_is_a_fault_that_the_first_one_ends() -> None:
    guard = SensorGuard(CONFIG)
    assert guard.check(0.0) == Health(
        Level.FAULT,
        "no sensor reading has come; needed are IMU and joint states; start the driver",
    )
    first, second = feed(guard, sound(10.0, 2))
    assert first == Health(Level.OK, usable=True, restart=True)
    assert second == Health(Level.OK, usable=True)


@pytest.mark.parametrize(
    ("age_s", "level", "reason"),
    [
        (0.0239, Level.OK, ""),
        (0.0241, Level.WARN, "latest sensor reading is 0.024 s old; allowed is 0.024 s; "
         "check that the driver runs, and on this clock"),
        (0.0999, Level.WARN, "latest sensor reading is 0.100 s old; allowed is 0.024 s; "
         "check that the driver runs, and on this clock"),
        (0.1001, Level.FAULT, "latest sensor reading is 0.100 s old; allowed is 0.1 s; "
         "check that the driver runs, and on this clock"),
        (30.0, Level.FAULT, "latest sensor reading is 30.000 s old; allowed is 0.1 s; "
         "check that the driver runs, and on this clock"),
    ],
)  # fmt: skip
def test_readings_that_no_longer_come(age_s: float, level: Level, reason: str) -> None:
    assert watched().check(0.792 + age_s) == Health(level, reason)


def test_readings_that_come_late_are_as_old_as_their_stamps() -> None:
    guard = watched()
    levels = [guard.step(0.8 + lag, reading(0.8 + k * CYCLE)).level
              for k, lag in enumerate((0.02, 0.04, 0.12))]  # fmt: skip
    assert levels == [Level.OK, Level.WARN, Level.FAULT]


def test_stamps_from_the_future_do_not_hide_silence() -> None:
    guard = SensorGuard(CONFIG)
    for k in range(10):
        assert guard.step(k * CYCLE, reading(60.0 + k * CYCLE)).level == Level.OK
    assert guard.check(0.072 + 0.09).level == Level.WARN
    assert guard.check(0.072 + 0.11).level == Level.FAULT


def test_a_fault_ends_after_half_a_second_of_health_and_not_before() -> None:
    guard = watched()
    assert guard.check(0.92).level == Level.FAULT
    levels = [h.level for h in feed(guard, sound(0.92, 100))]
    ok = levels.index(Level.OK)
    assert set(levels[:ok]) == {Level.FAULT} and set(levels[ok:]) == {Level.OK}
    assert ok * CYCLE + 0.005 == pytest.approx(0.5, abs=CYCLE)


def test_a_fault_during_the_recovery_starts_it_again() -> None:
    guard = watched()
    guard.check(0.92)
    feed(guard, sound(0.92, 50))
    bad = replace(reading(1.32), effort=np.full(20, math.nan))
    assert guard.step(1.32, bad).level == Level.FAULT
    levels = [h.level for h in feed(guard, sound(1.328, 100))]
    assert levels.index(Level.OK) * CYCLE == pytest.approx(0.5, abs=2 * CYCLE)


def test_without_a_recovery_time_a_fault_ends_with_its_cause() -> None:
    guard = watched(config=SafetyConfig(recover_after_s=0.0))
    assert guard.check(0.92).level == Level.FAULT
    assert [h.level for h in feed(guard, sound(0.92, 3))] == [Level.OK] * 3


@pytest.mark.parametrize(
    ("jump_s", "text"),
    [
        (-10.0, "stamp of the sensor reading jumps by -10.000 s; allowed is 0 to 0.5 s; "
         "check for two drivers or a clock that was set"),
        (-0.001, "stamp of the sensor reading jumps by -0.001 s; allowed is 0 to 0.5 s; "
         "check for two drivers or a clock that was set"),
        (0.501, "stamp of the sensor reading jumps by 0.501 s; allowed is 0 to 0.5 s; "
         "check for two drivers or a clock that was set"),
    ],
)  # fmt: skip
def test_a_jump_in_time_is_a_fault_and_starts_estimators_afresh(jump_s: float, text: str) -> None:
    guard = watched(20.0)
    health = guard.step(20.797, reading(20.792 + jump_s))
    assert health == Health(Level.FAULT, text, usable=True, restart=True)
    after = guard.step(20.8, reading(20.792 + jump_s + CYCLE))
    assert after == Health(Level.FAULT, after.reason, usable=True)


@pytest.mark.parametrize("step_s", [CYCLE, 0.499])
def test_a_lost_reading_is_no_jump(step_s: float) -> None:
    guard = watched()
    health = guard.step(0.792 + step_s, reading(0.792 + step_s))
    assert health == Health(Level.OK, usable=True)


def test_the_same_stamp_again_is_no_news() -> None:
    guard = watched()
    assert guard.step(0.8, reading(0.792)) == Health(Level.OK)
    assert guard.step(0.792 + 0.03, reading(0.792)).level == Level.WARN


def test_a_simulation_that_is_reset_is_noticed_by_the_clock_and_ends_well() -> None:
    guard = watched(100.0)
    assert guard.check(0.5) == Health(
        Level.FAULT,
        "clock goes back by 100.297 s; allowed is forward only; "
        "wait until the readings have settled",
    )
    health = feed(guard, sound(0.5, 100))
    assert health[0].restart and health[0].usable
    assert not any(h.restart for h in health[1:])
    assert health[0].level == Level.FAULT and health[-1].level == Level.OK


@pytest.mark.parametrize(
    ("field", "what"),
    [("time_s", "time s"), ("position", "position"), ("velocity", "velocity"),
     ("effort", "effort"), ("angular_velocity", "angular velocity"),
     ("linear_acceleration", "linear acceleration"), ("orientation", "orientation")],
)  # fmt: skip
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_never_used(field: str, what: str, bad: float) -> None:
    guard = watched()
    value = np.array(getattr(reading(0.8), field))
    value.reshape(-1)[-1] = bad
    assert guard.step(0.8, replace(reading(0.8), **{field: value})) == Health(
        Level.FAULT,
        f"{what} of the sensor reading is not finite; allowed are finite numbers; "
        "check the driver",
    )
    assert guard.step(0.808, reading(0.808)).usable


def test_an_imu_of_zeros_is_told() -> None:
    """The driver publishes them while OpenCR does not answer, and in its gazebo mode."""
    empty = replace(reading(0.8), angular_velocity=np.zeros(3), linear_acceleration=np.zeros(3))
    assert watched().step(0.8, empty) == Health(
        Level.FAULT,
        "IMU reads nothing but zeros; needed is at least gravity; check that the OpenCR board "
        "answers and that the driver is not in gazebo mode",
    )


@pytest.mark.parametrize("profile", ["stock", "ideal"])
@pytest.mark.parametrize("force_n", [0.0, 15.0], ids=["standing", "falling"])
def test_no_fault_in_the_simulator_standing_falling_or_lying(profile: str, force_n: float) -> None:
    """At rest it repeats itself for ever, as it has no noise; and tilt is no fault."""
    seen = simulated(profile, force_n, 14.0)
    last = np.array([r.angular_velocity for r in seen[-200:]])
    assert (np.abs(np.diff(last, axis=0)) < 1e-6).all(), "it does lie still"
    lies = abs(seen[-1].linear_acceleration[2]) < 5
    assert lies == (force_n > 0)
    assert {h.level for h in feed(SensorGuard(CONFIG), seen)} == {Level.OK}


def frozen_from(seen: list[SensorReading], start: int, *, filtering: bool) -> list[SensorReading]:
    """The bus dies: the same values under new stamps; the driver may go on filtering them."""
    out, state = seen[:start], seen[start - 1]
    for k, stamp in enumerate(r.time_s for r in seen[start:]):
        if filtering:
            raw = {
                name: (getattr(seen[start - 1], name) - 0.6 * getattr(seen[start - 2], name)) / 0.4
                for name in ("angular_velocity", "linear_acceleration")
            }
            moved = {name: 0.4 * raw[name] + 0.6 * getattr(state, name) for name in raw}
            state = replace(state, **moved)
        out.append(replace(state, time_s=stamp))
        assert (
            k > 50 or not filtering or (out[-1].angular_velocity != out[-2].angular_velocity).any()
        )
    return out


@pytest.mark.parametrize("filtering", [True, False], ids=["bulk read fails", "DirectControlMode"])
@pytest.mark.parametrize("at_s", [0.28, 0.4, 0.6])
def test_a_freeze_in_mid_fall_is_noticed_within_a_tenth_of_a_second(
    at_s: float, filtering: bool
) -> None:
    start = round(at_s / CYCLE)
    health = feed(
        SensorGuard(CONFIG),
        frozen_from(simulated("stock", 15.0, 14.0), start, filtering=filtering),
    )
    levels = [h.level for h in health]
    found = levels.index(Level.FAULT)
    assert 0.1 < (found - start + 1) * CYCLE <= 0.1 + 3 * CYCLE
    assert health[found].reason == (
        "IMU has repeated itself for 0.104 s; allowed is 0.1 s; check the bus and that the "
        "driver is not in DirectControlMode"
    )
    assert set(levels[found:]) == {Level.FAULT}, "it stays as long as the freeze"


def test_a_freeze_at_rest_is_noticed_where_the_imu_has_noise() -> None:
    stop = reading(0.792)
    frozen = [replace(stop, time_s=np.array(0.792 + k * CYCLE)) for k in range(1, 40)]
    assert {h.level for h in feed(watched(), frozen)} == {Level.OK}
    levels = [h.level for h in feed(watched(config=SafetyConfig(noisy_imu=True)), frozen)]
    assert levels.index(Level.FAULT) * CYCLE == pytest.approx(0.1, abs=2 * CYCLE)


def test_a_jump_in_time_is_no_freeze() -> None:
    guard, still = SensorGuard(SafetyConfig(noisy_imu=True)), reading(0.0)
    feed(guard, [still, replace(still, time_s=np.array(0.008))])
    jumped = guard.step(9.0, replace(still, time_s=np.array(9.0)))
    assert jumped.reason.startswith("stamp of the sensor reading jumps by 8.992 s")


def test_levels_are_those_of_diagnostics() -> None:
    assert [int(level) for level in Level] == [0, 1, 2]
