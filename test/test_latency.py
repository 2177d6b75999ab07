# SPDX-License-Identifier: Apache-2.0
"""Late commands: each simulation's own delay, before and after resets, whatever the others do."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from op3_fall import robot
from op3_fall.latency import CommandDelay
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand
from op3_fall.simulation import CYCLE_S, Simulation

N = 3
STAND, BENT = robot.POSES["stand"], robot.POSES["walkready"]


def command(values: list[float]) -> JointCommand:
    """One number for all joints of each simulation, in every field."""
    made = JointCommand.hold(np.tile(np.array(values, dtype=float)[:, None], (1, 20)))
    return replace(made, p_gain=made.position.astype(np.int64))


rows = st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True).map(sorted)
delays = st.lists(st.integers(0, 9), min_size=N, max_size=N)
events = st.lists(
    st.one_of(
        st.tuples(st.just("reset"), rows, delays), st.tuples(st.just("cycle"), rows, delays)
    ),
    max_size=40,
)


@given(events)
def test_a_command_is_written_that_many_cycles_after_it_was_given(
    happened: list[tuple[str, list[int], list[int]]],
) -> None:
    delay, late = CommandDelay(N), [0] * N
    told: list[list[float]] = [[0.0] for _ in range(N)]
    for k, (kind, who, numbers) in enumerate([("reset", [0, 1, 2], [0, 2, 5]), *happened]):
        index = np.array(who)
        given_now = command([1.0 + 10 * k + row for row in who])
        values = given_now.position[:, 0].tolist()
        if kind == "reset":
            delay.reset(index, np.array([CYCLE_S * numbers[row] for row in who]), given_now)
            for row, value in zip(who, values, strict=True):
                late[row], told[row] = numbers[row], [value]
            continue
        written = delay.pass_on(index, given_now)
        for i, (row, value) in enumerate(zip(who, values, strict=True)):
            told[row].append(value)
            expected = told[row][max(len(told[row]) - 1 - late[row], 0)]
            assert (written.position[i] == expected).all()
            assert (written.p_gain[i] == expected).all()


def test_without_latency_nothing_is_kept() -> None:
    delay, index = CommandDelay(2), np.arange(2)
    given_now = command([1.0, 2.0])
    for latency in (0.0, 0.003):  # less than half a driver cycle
        delay.reset(index, np.full(2, latency), given_now)
        assert delay.pass_on(index, given_now) is given_now
    delay.reset(index, np.array([0.0, 0.005]), given_now)
    assert delay.pass_on(index, given_now) is not given_now
    delay.reset(index, np.zeros(2), given_now)
    assert delay.pass_on(index, given_now) is given_now


def test_a_late_simulation_does_what_one_does_that_is_told_late() -> None:
    """Row 1 has 24 ms; row 0 none, but is told its commands three cycles later."""
    scenario = replace(Scenario.standing(2), latency_s=np.array([0.0, 0.024]))
    simulation, alone = Simulation(2), Simulation(1)
    simulation.reset(scenario)
    alone.reset(scenario.take([1]))
    poses = [STAND] * 3 + [BENT if k % 4 < 2 else STAND for k in range(40)]
    writes = []
    for early, late in zip(poses[3:], poses, strict=False):
        reading = simulation.advance(JointCommand.hold(np.stack([late, early])), 4)
        np.testing.assert_array_equal(reading.position[0], reading.position[1])
        np.testing.assert_array_equal(reading.effort[0], reading.effort[1])
        lone = alone.advance(JointCommand.hold(early[None]), 4)
        np.testing.assert_array_equal(lone.effort[0], reading.effort[1])
        writes.append(simulation.cycles[0].command.position[1])
    np.testing.assert_array_equal(writes, poses[:40])
