# SPDX-License-Identifier: Apache-2.0
"""What the gate lets through: targets and gains."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.gain_writer import Registers
from op3_fall.robot import JOINT_INDEX
from op3_fall.safety import SafetyConfig, TargetGuard, guard_gains

CONFIG = SafetyConfig()
LOW, HIGH = robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD
STAND = robot.POSES["stand"]
KNEE = JOINT_INDEX["l_knee"]

any_number = st.one_of(
    st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308])
)
any_targets = npst.arrays(float, (2, 20), elements=any_number)


def started(pose: Any = STAND, **settings: Any) -> TargetGuard:
    guard = TargetGuard(SafetyConfig(**settings))
    guard.start(pose)
    return guard


def moved(joint: int, angle: float) -> np.ndarray:
    pose = STAND.copy()
    pose[joint] = angle
    return pose


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"warn_after_s": 0.0}, "warning age is 0 s; allowed is from 0.008 to 10 s; "
         "choose a value of warning age in that range"),
        ({"fault_after_s": 11.0}, "fault age is 11 s; allowed is from 0.008 to 10 s; "
         "choose a value of fault age in that range"),
        ({"warn_after_s": 0.2}, "warning age is 0.2 s, fault age 0.1 s; allowed is a warning no "
         "later than the fault; set both together"),
        ({"frozen_after_s": math.nan}, "frozen time is nan s; allowed is from 0.016 to 10 s; "
         "choose a value of frozen time in that range"),
        ({"max_time_step_s": 0.0}, "time step is 0 s; allowed is from 0.016 to 60 s; "
         "choose a value of time step in that range"),
        ({"recover_after_s": -1.0}, "recovery time is -1 s; allowed is from 0 to 60 s; "
         "choose a value of recovery time in that range"),
        ({"max_target_speed_rad_s": math.inf}, "target speed is inf rad/s; allowed is from 0.1 "
         "to 1000 rad/s; choose a value of target speed in that range"),
        ({"damped_stiffness_scale": 0.0}, "damped stiffness scale is 0; allowed is from 0.05 "
         "to 1; choose a value of damped stiffness scale in that range"),
        ({"damped_damping_scale": 0.5}, "damped damping scale is 0.5; allowed is from 1 to 4; "
         "choose a value of damped damping scale in that range"),
    ],
)  # fmt: skip
def test_a_config_that_protects_nothing_is_told(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        SafetyConfig(**settings)
    assert str(error.value) == text


def test_the_default_speed_slows_no_servo_down() -> None:
    """Full duty needs 885 * 128 / 800 counts of error; a slowed target is farther off at once."""
    saturating_rad = 885 * 128 / 800 * 2 * math.pi / 4096
    assert saturating_rad == pytest.approx(0.217, abs=1e-3)
    assert CONFIG.max_target_speed_rad_s * 0.02 > 2 * saturating_rad


def test_the_first_target_is_the_measured_pose() -> None:
    beyond = moved(KNEE, HIGH[KNEE] + 0.1)
    guard = TargetGuard(CONFIG)
    np.testing.assert_array_equal(guard.start(beyond), beyond)
    target, notes = TargetGuard(CONFIG).step(np.full(20, math.nan), beyond, 0.02)
    np.testing.assert_array_equal(target, beyond)
    assert notes == ()


def test_a_measured_pose_with_gaps_is_no_start() -> None:
    with pytest.raises(BadInputError) as error:
        TargetGuard(CONFIG).start(moved(KNEE, math.nan))
    assert str(error.value) == (
        "measured angle of l_knee is not finite; allowed are finite angles; check the joint states"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_no_number_holds_all_joints(bad: float) -> None:
    guard = started()
    target, notes = guard.step(moved(KNEE, bad) - 0.1, STAND, 0.02)
    np.testing.assert_array_equal(target, STAND)
    assert notes == (
        "target of l_knee is not finite; allowed are finite angles; the last targets are held",
    )
    after, notes = guard.step(moved(KNEE, 0.01), STAND, 0.02)
    np.testing.assert_array_equal(after, moved(KNEE, 0.01))
    assert notes == ()


def test_a_target_beyond_a_limit_is_clamped() -> None:
    guard = started(moved(KNEE, HIGH[KNEE] - 0.1))
    target, notes = guard.step(moved(KNEE, HIGH[KNEE] + 0.3), STAND, 0.02)
    np.testing.assert_allclose(target, moved(KNEE, HIGH[KNEE]))
    assert notes == (
        "target of l_knee is up to 0.3 rad beyond a joint limit; allowed is none; it was clamped",
    )


@pytest.mark.parametrize(
    ("dt_s", "step"),
    [(0.02, 0.5), (0.008, 0.2), (3.0, 0.5), (math.inf, 0.5), (0.0, 0.0), (-1.0, 0.0),
     (math.nan, 0.0)],
)  # fmt: skip
def test_a_target_goes_no_further_than_its_speed_allows(dt_s: float, step: float) -> None:
    """25 rad/s; a late target gets no more than one in time, and time that goes back nothing."""
    guard = started()
    target, notes = guard.step(moved(KNEE, STAND[KNEE] + 0.9), STAND, dt_s)
    np.testing.assert_allclose(target, moved(KNEE, STAND[KNEE] + step), rtol=0, atol=1e-12)
    assert notes == ()


@given(st.lists(any_targets, min_size=1, max_size=8), st.floats(0, 0.1))
def test_laws_of_every_stream_of_targets(stream: list[np.ndarray], dt_s: float) -> None:
    pose = np.stack([STAND, robot.POSES["ini_pose"]])
    guard, last = started(pose), pose
    for wanted in stream:
        target, notes = guard.step(wanted, pose, dt_s)
        assert np.isfinite(target).all()
        assert ((target >= LOW - 1e-12) & (target <= HIGH + 1e-12)).all()
        assert (np.abs(target - last) <= 25 * min(dt_s, 0.02) + 1e-12).all()
        good = np.isfinite(wanted).all(axis=-1)
        np.testing.assert_array_equal(target[~good], last[~good])
        beyond = (wanted < LOW) | (wanted > HIGH)
        assert bool(notes) == bool((~good).any() or beyond[good].any())
        last = target


@given(any_targets, st.floats(0.004, 0.04))
def test_a_batch_gives_what_each_robot_gives(wanted: np.ndarray, dt_s: float) -> None:
    pose = np.stack([STAND, robot.POSES["walkready"]])
    both, _ = started(pose).step(wanted, pose, dt_s)
    for k in range(2):
        one, _ = started(pose[k]).step(wanted[k], pose[k], dt_s)
        np.testing.assert_array_equal(one, both[k])


def test_from_beyond_a_limit_the_way_back_is_slow_too() -> None:
    guard = started(moved(KNEE, HIGH[KNEE] + 0.6))
    path = [guard.step(moved(KNEE, 9.0), STAND, 0.01)[0][KNEE] - HIGH[KNEE] for _ in range(4)]
    np.testing.assert_allclose(path, [0.35, 0.1, 0.0, 0.0], atol=1e-12)


def test_a_held_target_beyond_a_limit_is_not_blamed_on_who_sent_none() -> None:
    beyond = moved(KNEE, HIGH[KNEE] + 0.6)
    target, notes = started(beyond).step(np.full(20, math.nan), STAND, 0.02)
    np.testing.assert_array_equal(target, beyond)
    assert len(notes) == 1 and "not finite" in notes[0]


def test_what_is_given_back_is_not_the_guards_own() -> None:
    guard = started()
    guard.step(STAND, STAND, 0.02)[0][:] = 9.0
    np.testing.assert_array_equal(guard.step(STAND, STAND, 0.0)[0], STAND)


def registers(p: float = 800, d: float = 0, pwm: float = 885, i: float = 0) -> Registers:
    return Registers(*(np.full(20, value) for value in (p, d, pwm, i)))  # type: ignore[arg-type]


HELD = registers(400, 10, 600, 0)


@pytest.mark.parametrize(
    ("wanted", "safe", "note"),
    [
        (registers(799.6, 2.4), registers(800, 2), None),
        (registers(p=39), registers(p=40), "position_p_gain is 39; allowed is 40 to 16383; "
         "it was clamped"),
        (registers(p=16384), registers(p=16383), "position_p_gain is 16384; allowed is 40 to "
         "16383; it was clamped"),
        (registers(d=-1), registers(d=0), "position_d_gain is -1; allowed is 0 to 16383; "
         "it was clamped"),
        (registers(pwm=886), registers(pwm=885), "goal_pwm is 886; allowed is 0 to 885; "
         "it was clamped"),
        (registers(i=1e9), registers(i=16383), "position_i_gain is 1e+09; allowed is 0 to 16383; "
         "it was clamped"),
        (registers(d=math.nan), HELD, "gain is not finite; allowed are finite registers; the "
         "last gains are held"),
        (registers(p=math.inf), HELD, "gain is not finite; allowed are finite registers; the "
         "last gains are held"),
    ],
)  # fmt: skip
def test_gains_stay_in_their_registers(
    wanted: Registers, safe: Registers, note: str | None
) -> None:
    got, notes = guard_gains(wanted, HELD, lowest_p=40)
    for name, mine, expected in zip(Registers._fields, got, safe, strict=True):
        np.testing.assert_array_equal(mine, expected, err_msg=name)
    assert notes == (() if note is None else (note,))
