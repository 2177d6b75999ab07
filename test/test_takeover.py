# SPDX-License-Identifier: Apache-2.0
"""Who moves the joints: until the alarm, in the fall, while the robot lies, and after it."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from signal_samples import fall_estimate, impact_estimate

from op3_fall import robot
from op3_fall.action import act_joint, act_joint_residual, act_kp, act_kp_rel, in_control
from op3_fall.fall_detection import FallPhase
from op3_fall.observation import obs_joint
from op3_fall.operating_modes import OperatingMode
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import PolicySpec
from op3_fall.reflex import FallReflex, ReflexConfig
from op3_fall.rows import take
from op3_fall.safety import SafetyConfig, TargetGuard
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading

pytest.importorskip("gymnasium")

from op3_fall.envs.takeover import Takeover

Array = NDArray[np.float64]
NORMAL, FALLING, IMPACT, DOWN = FallPhase
FIELDS = [f.name for f in fields(JointCommand)]
ARMS = robot.ARMS
STAND = robot.POSES["walkready"]
SPECS = {
    "raw": PolicySpec((obs_joint(ARMS),), (act_joint(ARMS), act_kp(ARMS)), "extended"),
    "corrections": PolicySpec(
        (obs_joint(ARMS),), (act_joint_residual(ARMS, STAND), act_kp(ARMS)), "extended"
    ),
    "relative gains": PolicySpec(
        (obs_joint(ARMS),), (act_joint(ARMS), act_kp_rel(ARMS)), "extended"
    ),
    "history": PolicySpec(
        (obs_joint(ARMS),), (act_joint(ARMS), act_kp(ARMS)), "extended", history=3
    ),
}  # fmt: skip


def reading(k: int, n: int) -> SensorReading:
    """Of n robots at control step k; each has its own pose, which changes."""
    shake = 0.1 * np.sin(k + np.arange(n)[:, None] + np.arange(20))
    position, still = STAND + shake, np.zeros((n, 3))
    return SensorReading(
        np.full(n, 0.02 * k), position, 0 * position, 0 * position, still, still,
        np.tile([1.0, 0, 0, 0], (n, 1)),
    )  # fmt: skip


def alone(batch: SensorReading) -> SensorReading:
    """The first robot, without a leading axis."""
    return SensorReading(**{f.name: getattr(batch, f.name)[0] for f in fields(SensorReading)})


def actions(k: int, n: int, length: int) -> Array:
    """Small enough that the safety gate on the robot lets all goals through."""
    return np.random.default_rng([k, n]).uniform(-0.5, 0.5, (n, length))


class Falls:
    """N robots under random actions, with a phase for each robot in each control step."""

    def __init__(self, spec: PolicySpec, n: int = 1) -> None:
        self.spec, self.n, self.k = spec, n, 0
        self.reading = reading(0, n)
        self.fall = fall_estimate((n,))
        self.takeover = Takeover(spec, self.reading)
        rows = np.arange(n)
        self.takeover.reset(self.reading, rows, np.tile(STAND, (n, 1)))

    def step(self, *phases: FallPhase) -> JointCommand:
        """Commands of this control step, at the beginning of which these are the phases."""
        self.fall = fall_estimate((self.n,), phase=phases)
        self.takeover.follow(self.reading, self.fall)
        self.seen = self.takeover.codec.observe(self.reading, self.fall, self.takeover.watches)
        given = actions(self.k, self.n, self.spec.action_length)
        command = self.takeover.decide(given, self.reading, self.fall)
        self.k += 1
        self.reading = reading(self.k, self.n)
        return take(command, slice(None))


def same(a: JointCommand, b: JointCommand) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def fallen(spec: PolicySpec = SPECS["raw"]) -> tuple[Falls, JointCommand]:
    """A robot that has acted, and what it did last."""
    falls = Falls(spec)
    for _ in range(5):
        last = falls.step(FALLING)
    assert falls.takeover.acting.all()
    assert not np.array_equal(last.p_gain, JointCommand.hold(last.position).p_gain)
    return falls, last


@pytest.mark.parametrize("name", SPECS)
def test_who_lies_holds_its_last_command_gains_included(name: str) -> None:
    falls, last = fallen(SPECS[name])
    for _ in range(10):
        assert same(falls.step(DOWN), last)
        assert falls.takeover.fell.all() and not falls.takeover.acting.any()


@pytest.mark.parametrize("name", SPECS)
def test_who_moves_again_goes_on_from_there(name: str) -> None:
    """The fall is not a new one: no pose is held, and the actions act at once."""
    falls, last = fallen(SPECS[name])
    other = Falls(SPECS[name])
    for _ in range(5):
        other.step(FALLING)
    falls.step(DOWN)
    falls.step(DOWN)
    other.k, other.reading = falls.k, falls.reading
    assert same(falls.step(FALLING), other.step(FALLING)), "as if it had never lain"
    assert falls.takeover.acting.all()
    assert same(falls.step(IMPACT), other.step(IMPACT))
    assert not same(falls.takeover.command, last)


def test_who_stands_again_holds_its_last_goals_with_nominal_gains() -> None:
    for between in ([], [DOWN, DOWN]):
        falls, last = fallen()
        for phase in between:
            falls.step(phase)
        for _ in range(3):
            assert same(falls.step(NORMAL), JointCommand.hold(last.position))
            assert not (falls.takeover.fell | falls.takeover.acting).any()


def test_the_next_fall_begins_at_the_measured_pose() -> None:
    falls, _ = fallen()
    for phase in (DOWN, NORMAL):
        falls.step(phase)
    measured = falls.reading.position
    assert same(falls.step(FALLING), JointCommand.hold(measured))
    assert not falls.takeover.acting.any() and not falls.takeover.codec.last_action.any()
    assert not same(falls.step(FALLING), JointCommand.hold(measured))


def test_a_robot_that_lies_begins_no_fall() -> None:
    """Such as one that was laid down: no policy has seen it fall."""
    falls = Falls(SPECS["raw"])
    for _ in range(5):
        assert same(falls.step(DOWN), JointCommand.hold(STAND[None]))
        assert not (falls.takeover.fell | falls.takeover.acting).any()


def test_a_robot_that_lies_right_after_the_alarm_holds_the_pose_of_the_alarm() -> None:
    falls = Falls(SPECS["raw"])
    held = falls.step(FALLING)
    for _ in range(3):
        assert same(falls.step(DOWN), held)
    assert falls.takeover.fell.all()


def test_goals_that_are_no_angles_are_held_where_the_robot_lay_down() -> None:
    spec = PolicySpec(
        (obs_joint(ARMS),), in_control((act_joint(ARMS), act_kp(ARMS)), "torque"), "extended"
    )
    falls, last = fallen(spec)
    modes, arms = falls.takeover.modes, np.isin(robot.JOINTS, ARMS)
    assert modes is not None and (modes[0, arms] == OperatingMode.CURRENT).all()
    measured = falls.reading.position
    for _ in range(3):
        rests = falls.step(DOWN)
        np.testing.assert_array_equal(rests.position[:, arms], measured[:, arms])
        np.testing.assert_array_equal(rests.position[:, ~arms], last.position[:, ~arms])
        np.testing.assert_array_equal(rests.p_gain, last.p_gain)
        modes = falls.takeover.modes
        assert modes is not None and (modes == OperatingMode.POSITION).all()


def test_a_reset_robot_knows_nothing_of_its_fall() -> None:
    falls = Falls(SPECS["raw"], 2)
    for _ in range(4):
        falls.step(FALLING, FALLING)
    lies = falls.step(DOWN, DOWN)
    falls.takeover.reset(falls.reading, np.array([0]), STAND[None])
    rests = falls.step(NORMAL, DOWN)
    assert same(take(rests, slice(0, 1)), JointCommand.hold(STAND[None]))
    assert same(take(rests, slice(1, 2)), take(lies, slice(1, 2)))
    np.testing.assert_array_equal(falls.takeover.fell, [False, True])


class Deployed:
    """The codec alone, under the same actions as the robot of `Falls`."""

    def __init__(self, spec: PolicySpec) -> None:
        self.codec, self.k = PolicyCodec(spec), 0
        self.seen: NDArray[np.float32]

    def reset(self, reading: SensorReading) -> JointCommand:
        return self.codec.reset(reading)

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
    ) -> JointCommand:
        self.seen = self.codec.observe(reading, fall)
        return self.codec.act(actions(self.k, 1, self.codec.spec.action_length)[0], reading)


PHASES = st.lists(
    st.tuples(st.sampled_from(FallPhase), st.integers(1, 8)).map(lambda p: [p[0]] * p[1]),
    min_size=1, max_size=8,
).map(lambda parts: [phase for part in parts for phase in part])  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(sorted(SPECS)), PHASES)
def test_the_reflex_on_the_robot_does_what_the_environments_do(
    name: str, phases: Sequence[FallPhase]
) -> None:
    """From the alarm until the robot stands again, whatever the phases between.

    In less than the second for which the reflex goes on, as it is then a new fall to it.
    """
    spec = SPECS[name]
    falls, policy = Falls(spec), Deployed(spec)
    guard = TargetGuard(SafetyConfig())
    reflex = FallReflex(policy, guard, ReflexConfig(linger_s=5.0), sets_gains=True)
    for k, phase in enumerate(phases):
        policy.k = k
        one = alone(reading(k, 1))
        move = reflex.step(one, fall_estimate(phase=phase), impact_estimate(), owned=True,
                           hold=False)  # fmt: skip
        command = falls.step(phase)
        assert (move.target is not None) == (falls.takeover.fell | falls.takeover._begins).all()
        if move.target is not None:
            np.testing.assert_allclose(move.target, command.position[0], rtol=0, atol=1e-9)
        if move.gains is not None:
            if falls.takeover.acting.all():
                np.testing.assert_array_equal(policy.seen, falls.seen[0])
            np.testing.assert_array_equal(move.gains.p_gain, command.p_gain[0])
            np.testing.assert_array_equal(move.gains.d_gain, command.d_gain[0])
