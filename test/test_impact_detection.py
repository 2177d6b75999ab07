# SPDX-License-Identifier: Apache-2.0
"""Impacts felt in hand-made torque loads."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.impact_detection import ImpactDetector, SpikeRule
from op3_fall.signals import JointCommand, SensorReading

Array = NDArray[np.float64]
SERVO = robot.Servo()
CYCLE_S = 0.008
STAND = robot.POSES["stand"]


def reading(time_s: float, load_n_m: ArrayLike) -> SensorReading:
    """The load spread over the joints with changing sign."""
    load = np.asarray(load_n_m, dtype=float)
    share = np.where(np.arange(20) % 2, 1.0, -1.0) / 20
    joints = np.zeros((*load.shape, 20))
    return SensorReading(
        np.full(load.shape, time_s), joints + STAND, joints,
        load[..., None] * share * SERVO.effort_per_n_m,
        np.zeros((*load.shape, 3)), np.zeros((*load.shape, 3)), np.zeros((*load.shape, 4)),
    )  # fmt: skip


def onsets(
    loads: list[float],
    commands: dict[int, JointCommand] | None = None,
    rule: SpikeRule | None = None,
) -> list[int]:
    """Indices of the readings in which an impact is felt; commands go out before reading k."""
    detector, felt = ImpactDetector(reading(0.0, loads[0]), SERVO, rule), []
    for k, load in enumerate(loads[1:], start=1):
        if commands and k in commands:
            detector.expect(commands[k], np.array((k - 1) * CYCLE_S))
        estimate = detector.step(reading(k * CYCLE_S, load))
        assert estimate.torque_load == pytest.approx(load)
        assert estimate.spike == pytest.approx(abs(load - loads[k - 1]))
        felt += [k] * int(estimate.onset)
        assert estimate.count == len(felt)
    return felt


HOLD = JointCommand.hold(STAND)
MOVE = JointCommand.hold(robot.POSES["protect_front"])
SOFTEN = replace(HOLD, p_gain=np.full(20, 240))
RAMP = replace(HOLD, p_gain=np.full(20, 700))


@pytest.mark.parametrize(
    ("loads", "commands", "expected"),
    [
        ([1, 1, 1, 1], {}, []),
        ([1, 5.4, 9.8, 14.2], {}, []),
        ([1, 1, 5.6, 5.6], {}, [2]),
        ([1, 9, 1, 9], {}, [1]),
        ([1, 9, *[1] * 8, 9], {}, [1, 10]),
        ([9, 1, 1], {}, [1]),
        ([1, 9, 9], {1: HOLD}, [1]),
        ([1, 9, *[1] * 20, 9], {1: MOVE}, [22]),
        ([1, 9, *[1] * 5, 9], {1: SOFTEN}, [7]),
        ([1, 9], {1: RAMP}, [1]),
        ([1, *[1] * 19, 9], {1: MOVE}, [20]),
        ([1, *[1] * 16, 9], {1: MOVE}, []),
    ],
    ids=[
        "quiet", "slow rise", "one", "one impact rings", "two impacts", "a drop is one too",
        "an unchanged command", "its own goal", "its own gains", "a ramp is no step",
        "after the goal's time", "within the goal's time",
    ],
)  # fmt: skip
def test_an_impact_is_a_spike_that_no_command_explains(
    loads: list[float], commands: dict[int, JointCommand], expected: list[int]
) -> None:
    assert onsets(loads, commands) == expected


def test_the_rule_sets_the_rise() -> None:
    assert onsets([0, 1.5, 1.5], rule=SpikeRule(spike_n_m=1.0)) == [1]
    assert onsets([0, 1.5, 1.5], rule=SpikeRule(spike_n_m=1.6)) == []


@given(st.lists(st.floats(0, 40), min_size=2, max_size=30))
def test_onsets_keep_their_distance(loads: list[float]) -> None:
    gaps = np.diff(onsets(loads)) * CYCLE_S
    assert (gaps > SpikeRule().refractory_s - 1e-9).all()


def test_a_batch_gives_what_each_robot_gives() -> None:
    rng = np.random.default_rng(0)
    loads = rng.uniform(0, 6, (40, 2, 3))
    grid = ImpactDetector(reading(0.0, loads[0]), SERVO)
    single = {i: ImpactDetector(reading(0.0, loads[0][i]), SERVO) for i in np.ndindex(2, 3)}
    for k in range(1, 40):
        if k == 10:
            position = np.broadcast_to(STAND, (2, 3, 20)).copy()
            position[0, 1, 8] += 0.5  # only this robot moves
            grid.expect(JointCommand.hold(position), np.full((2, 3), k * CYCLE_S))
            for i, detector in single.items():
                detector.expect(JointCommand.hold(position[i]), np.array(k * CYCLE_S))
        many = grid.step(reading(k * CYCLE_S, loads[k]))
        assert many.onset.shape == many.count.shape == (2, 3)
        for i, detector in single.items():
            one = detector.step(reading(k * CYCLE_S, loads[k][i]))
            assert (one.torque_load, one.spike, one.onset, one.count) == (
                many.torque_load[i], many.spike[i], many.onset[i], many.count[i])  # fmt: skip
    assert many.count.max() > 0
