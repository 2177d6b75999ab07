"""The reflex of one robot: take over, first target measured, 50 Hz, hold, end."""

from dataclasses import replace

import numpy as np
import pytest
from signal_samples import fall_estimate, impact_estimate

from op3_fall import robot
from op3_fall.fall_detection import FallPhase
from op3_fall.reflex import FallReflex, Move, ReflexConfig, ScriptedPolicy
from op3_fall.safety import SafetyConfig, TargetGuard
from op3_fall.signals import JointCommand, SensorReading

STAND, GOAL = robot.POSES["stand"], robot.POSES["protect_front"]
WALK = robot.POSES["walkready"]  # away from all limits
CYCLE_S = 0.008
EPOCH_S = 1.8e9
NO_IMPACT = impact_estimate()


def target(move: Move) -> np.ndarray:
    assert move.target is not None
    return move.target


class Robot:
    """Readings every 8 ms from today's epoch on; collects what the reflex sends, and when."""

    def __init__(self, policy: ScriptedPolicy | None = None, *, sets_gains: bool = False) -> None:
        guard = TargetGuard(SafetyConfig())
        self.reflex = FallReflex(
            policy or ScriptedPolicy(GOAL), guard, ReflexConfig(), sets_gains=sets_gains
        )
        self.cycle = 0
        self.sent: list[tuple[int, Move]] = []

    def run(
        self, cycles: int, phase: FallPhase, position: np.ndarray = STAND, *,
        owned: bool = True, hold: bool = False,
    ) -> list[tuple[int, Move]]:  # fmt: skip
        first = len(self.sent)
        for _ in range(cycles):
            still = np.zeros(3)
            reading = SensorReading(
                np.array(EPOCH_S + self.cycle * CYCLE_S), position, 0 * position, 0 * position,
                still, still, np.array([1.0, 0, 0, 0]),
            )  # fmt: skip
            fall = fall_estimate(phase=phase)
            move = self.reflex.step(reading, fall, NO_IMPACT, owned=owned, hold=hold)
            if move.take_over or move.target is not None:
                self.sent.append((self.cycle, move))
            self.cycle += 1
        return self.sent[first:]


def test_nothing_is_sent_before_a_fall() -> None:
    assert Robot().run(100, FallPhase.NORMAL) == []


def test_a_fall_takes_over_once_and_begins_at_the_measured_pose() -> None:
    sent = Robot().run(10, FallPhase.FALLING, STAND + 0.01)
    assert [move.take_over for _, move in sent] == [True] + [False] * (len(sent) - 1)
    np.testing.assert_array_equal(sent[0][1].target, STAND + 0.01)


def test_targets_go_out_at_50_hz() -> None:
    """20 ms are two and a half driver cycles."""
    cycles = [cycle for cycle, _ in Robot().run(126, FallPhase.FALLING)]
    assert set(np.diff(cycles)) == {2, 3}
    assert len(cycles) == 51


def test_targets_end_at_the_policys_pose() -> None:
    sent = Robot().run(40, FallPhase.FALLING)
    np.testing.assert_array_equal(sent[-1][1].target, GOAL)


def test_while_a_module_owns_the_joints_targets_are_the_measured_pose() -> None:
    """Else the first target that acts, whenever that is, would be a step."""
    robot_ = Robot()
    waiting = robot_.run(50, FallPhase.FALLING, STAND + 0.1, owned=False)
    assert all(np.array_equal(target(move), STAND + 0.1) for _, move in waiting)
    first, second = robot_.run(5, FallPhase.FALLING, STAND + 0.2)[:2]
    np.testing.assert_array_equal(first[1].target, STAND + 0.2)
    assert np.abs(target(second[1]) - GOAL).max() < np.abs(STAND + 0.2 - GOAL).max()


def test_a_hold_sends_nothing_and_then_goes_on_without_a_burst() -> None:
    robot_ = Robot()
    robot_.run(20, FallPhase.FALLING)
    assert robot_.run(50, FallPhase.FALLING, hold=True) == []
    cycles = [cycle for cycle, _ in robot_.run(20, FallPhase.FALLING)]
    assert cycles[0] == 70 and set(np.diff(cycles)) == {2, 3}


def test_down_lingers_then_the_driver_holds() -> None:
    robot_ = Robot()
    robot_.run(20, FallPhase.FALLING)
    cycles = [cycle for cycle, _ in robot_.run(500, FallPhase.DOWN)]
    assert 20 + 1.0 / CYCLE_S - 3 <= cycles[-1] <= 20 + 1.0 / CYCLE_S + 1


class Restless(ScriptedPolicy):
    """Its targets and gains differ from step to step; counts its steps."""

    steps = 0

    def step(self, *_: object) -> JointCommand:
        self.steps += 1
        held = JointCommand.hold(WALK + 0.01 * self.steps)
        return replace(held, p_gain=held.p_gain - self.steps)


def test_once_down_the_policy_is_not_asked_and_its_last_command_is_repeated() -> None:
    policy = Restless(GOAL)
    robot_ = Robot(policy, sets_gains=True)
    last = robot_.run(20, FallPhase.FALLING, WALK)[-1][1]
    asked = policy.steps
    assert asked > 3
    down = [move for _, move in robot_.run(100, FallPhase.DOWN, WALK)]
    assert policy.steps == asked and len(down) == 40
    for move in down:
        np.testing.assert_array_equal(target(move), target(last))
        assert move.gains is not None and move.gains is last.gains
    again = robot_.run(20, FallPhase.FALLING, WALK)
    assert policy.steps == asked + len(again)
    np.testing.assert_array_equal(target(again[0][1]), WALK + 0.01 * (asked + 1))
    assert not any(move.take_over for _, move in again), "it is the same fall"


def test_a_robot_that_lies_when_the_joints_come_free_holds_its_pose() -> None:
    policy = Restless(GOAL)
    robot_ = Robot(policy, sets_gains=True)
    robot_.run(20, FallPhase.FALLING, WALK, owned=False)
    down = [move for _, move in robot_.run(60, FallPhase.DOWN, WALK + 0.1)]
    assert policy.steps == 0 and len(down) > 10
    assert all(np.array_equal(target(move), WALK + 0.1) for move in down)


def test_a_second_fall_takes_over_again() -> None:
    robot_ = Robot()
    for _ in range(2):
        sent = robot_.run(20, FallPhase.FALLING)
        assert sent[0][1].take_over
        np.testing.assert_array_equal(sent[0][1].target, STAND)
        robot_.run(20, FallPhase.NORMAL)


@pytest.mark.parametrize("sets_gains", [False, True])
def test_the_policys_gains_count_only_if_it_sets_them(sets_gains: bool) -> None:
    sent = Robot(sets_gains=sets_gains).run(20, FallPhase.FALLING)
    given = [move.gains is not None for _, move in sent]
    assert given == [False] + [sets_gains] * (len(sent) - 1)


def test_a_target_that_is_no_number_is_held_and_told() -> None:
    class Broken(ScriptedPolicy):
        def step(self, *_: object) -> JointCommand:
            return JointCommand.hold(np.full(robot.NUM_JOINTS, np.nan))

    sent = Robot(Broken(GOAL)).run(20, FallPhase.FALLING)
    assert all(np.array_equal(target(move), STAND) for _, move in sent)
    assert all("not finite" in move.notes[0] for _, move in sent[1:])
