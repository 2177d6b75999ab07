# SPDX-License-Identifier: Apache-2.0
"""The scripted reflex on hand-made readings and estimates."""

import numpy as np
import pytest
from numpy.typing import NDArray
from signal_samples import fall_estimate, impact_estimate

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig, ComplianceSchedule
from op3_fall.controller import ReflexController
from op3_fall.signals import JointCommand, SensorReading

Array = NDArray[np.float64]
SERVO = robot.Servo()
STAND, GOAL = robot.POSES["stand"], robot.POSES["protect_front"]


def controller(shape: tuple[int, ...], compliant: bool | NDArray[np.bool_] = True):
    posture = np.broadcast_to(STAND, (*shape, 20))
    schedule = ComplianceSchedule(SERVO, shape, ComplianceConfig(0.3, 1.5, longest_soft_s=0.1))
    return ReflexController(
        posture, GOAL, schedule, SERVO, compliant=np.broadcast_to(compliant, shape)
    )


def step(
    reflex: ReflexController, time_s: float, position: Array, falling: bool | NDArray[np.bool_]
) -> JointCommand:
    shape = position.shape[:-1]
    vectors = np.zeros((*shape, 3))
    reading = SensorReading(
        np.full(shape, time_s), position, np.zeros_like(position), np.zeros_like(position),
        vectors, vectors, np.zeros((*shape, 4)),
    )  # fmt: skip
    phase = np.broadcast_to(falling, shape).astype(np.int64)
    return reflex.step(reading, fall_estimate(shape, phase=phase), impact_estimate(shape))


def test_it_holds_the_posture_until_the_alarm_even_if_the_joints_are_at_the_goal() -> None:
    reflex = controller(())
    for k in range(100):
        command = step(reflex, 0.02 * k, GOAL, falling=False)
        hold = JointCommand.hold(STAND)
        for name in vars(hold):
            np.testing.assert_array_equal(getattr(command, name), getattr(hold, name))
    assert not reflex.reached


@pytest.mark.parametrize("compliant", [True, False])
def test_it_drives_stiff_to_the_goal_then_softens_then_restores(compliant: bool) -> None:
    reflex = controller((), compliant)
    command = step(reflex, 0.0, STAND, falling=True)
    np.testing.assert_array_equal(command.position, GOAL)
    assert set(command.p_gain) == {800}
    p_gains, d_gains = [], []
    for k in range(1, 60):
        command = step(reflex, 0.02 * k, GOAL, falling=True)
        np.testing.assert_array_equal(command.position, GOAL)
        np.testing.assert_array_equal(command.goal_pwm, 885)
        assert len(set(command.p_gain)) == len(set(command.d_gain)) == 1
        p_gains.append(command.p_gain[0])
        d_gains.append(command.d_gain[0])
    assert reflex.reached
    assert p_gains[0] == (240 if compliant else 800)
    assert d_gains[0] == (SERVO.d_register(1.5) if compliant else 0)
    # The driver restores nothing by itself: the last command has its start values again.
    assert (p_gains[-1], d_gains[-1]) == (800, 0)


def test_it_is_reached_by_the_joints_that_move() -> None:
    """A joint that the goal leaves where it is says nothing about the way there."""
    moved = np.abs(GOAL - STAND) > 0.1
    reflex = controller(())
    step(reflex, 0.0, np.where(moved, STAND, STAND + 1.0), falling=True)
    assert not reflex.reached
    step(reflex, 0.02, np.where(moved, GOAL, STAND + 1.0), falling=True)
    assert reflex.reached


def test_a_goal_equal_to_the_posture_is_reached_at_once() -> None:
    schedule = ComplianceSchedule(SERVO, ())
    reflex = ReflexController(STAND, STAND, schedule, SERVO, compliant=np.array(True))
    step(reflex, 0.0, STAND, falling=True)
    assert reflex.reached


def test_a_batch_gives_what_each_robot_gives() -> None:
    shape = (2, 3)
    rng = np.random.default_rng(0)
    compliant = np.array([[True, False, True], [True, True, False]])
    alarm_s, reach_s = rng.uniform(0, 0.5, shape), rng.uniform(0.5, 1, shape)
    grid = controller(shape, compliant)
    single = {i: controller((), compliant[i]) for i in np.ndindex(shape)}
    for k in range(80):
        now = 0.02 * k
        position = np.where((now > reach_s)[..., None], GOAL, STAND)
        many = step(grid, now, position, now > alarm_s)
        for i, reflex in single.items():
            one = step(reflex, now, position[i], now > alarm_s[i])
            for name in vars(one):
                np.testing.assert_array_equal(getattr(one, name), getattr(many, name)[i])
    assert grid.reached.all()
