# SPDX-License-Identifier: Apache-2.0
"""What a phase allows, and the scenarios that are drawn from it."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("gymnasium")

from op3_fall import robot
from op3_fall.envs.draws import IMPULSES_N_S, STARTS, draw_scenario
from op3_fall.envs.phase import Phase, changed
from op3_fall.errors import BadInputError
from op3_fall.kinematics import find_stance, soles_flat
from op3_fall.recipes import any_robot
from op3_fall.rotations import rotate_inverse
from op3_fall.scenarios import Scenario
from op3_fall.settings import descriptions

seeds = st.integers(-(2**63), 2**63 - 1)
EVERYTHING = Phase(
    mass_arms=0.15, mass_legs=0.2, mass_head=0.25, mass_torso=0.3, joint_offset_rad=0.05,
    joint_noise_rad=0.002, imu_errors=1.0, friction_low=0.4, friction_high=1.2,
    voltage_low_v=11.1, voltage_high_v=14.8, servo_strength=0.1, latency_s=0.05, slope_rad=0.05,
    bumps=True, push_back=True, push_sides=True, push_normal=True, push_strong=True,
    push_torso=True, push_hips=True, push_duration_low_s=0.05, push_duration_high_s=0.3,
    push_start_low_s=0.4, push_start_high_s=0.6, start_walkready=True, start_ini_pose=True,
)  # fmt: skip
RIDGE = 0.06, 0.02
"""Half length of a ridge's axis and its radius, m (`ground.add_bumps`)."""


def draw(phase: Phase, k: int = 2000, *, seed: int = 7) -> Scenario:
    return draw_scenario(phase, np.full(k, seed), np.arange(k))


def columns(scenario: Scenario) -> dict[str, bytes]:
    return {f.name: getattr(scenario, f.name).tobytes() for f in fields(Scenario)}


def differ(a: Scenario, b: Scenario) -> set[str]:
    ours, theirs = columns(a), columns(b)
    return {name for name in ours if ours[name] != theirs[name]}


def angles_deg(scenario: Scenario) -> NDArray[np.float64]:
    """Where pushes go: 0 to the front, right positive."""
    return np.degrees(np.arctan2(-scenario.push_force[:, 1], scenario.push_force[:, 0]))


def impulses(scenario: Scenario) -> NDArray[np.float64]:
    return np.linalg.norm(scenario.push_force, axis=-1) * scenario.push_duration_s


@settings(max_examples=30)
@given(st.lists(st.tuples(seeds, st.integers(0, 10**9)), min_size=1, max_size=9))
def test_an_episode_is_the_same_alone_and_in_any_batch(pairs: list[tuple[int, int]]) -> None:
    batch = draw_scenario(EVERYTHING, *np.array(pairs, dtype=np.int64).T)
    assert len(batch) == len(pairs)
    for i, (seed, episode) in enumerate(pairs):
        alone = draw_scenario(EVERYTHING, [seed], [episode])
        assert columns(alone) == columns(batch.take([i]))


def test_episodes_and_robots_differ() -> None:
    for one in (draw(EVERYTHING, 50), draw_scenario(EVERYTHING, np.arange(50), np.zeros(50, int))):
        assert len(np.unique(one.push_force, axis=0)) == 50
        assert len(np.unique(one.noise_seed)) == 50


def test_the_default_phase_is_an_exact_robot_pushed_weakly_to_the_front() -> None:
    drawn, neutral = draw(Phase()), Scenario.standing(2000)
    random = {"position", "orientation", "push_force", "push_start_s", "push_duration_s",
              "noise_seed", "slope_direction_rad"}  # fmt: skip
    for f in fields(Scenario):
        if f.name not in random:
            np.testing.assert_array_equal(getattr(drawn, f.name), getattr(neutral, f.name), f.name)
    assert (drawn.push_start_s == 0.5).all() and (drawn.push_duration_s == 0.1).all()
    assert np.ptp(angles_deg(drawn)) == pytest.approx(45, abs=0.5)
    low, high = IMPULSES_N_S["weak"]
    assert low <= impulses(drawn).min() < low + 0.01 and high - 0.01 < impulses(drawn).max()
    still = draw(replace(Phase(), pose_jitter_rad=0.0))
    np.testing.assert_array_equal(still.position, neutral.position)
    np.testing.assert_array_equal(still.orientation, neutral.orientation)


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"mass_legs": 0.1}, {"mass_scale"}),
        ({"joint_offset_rad": 0.05}, {"joint_offset", "orientation"}),
        ({"joint_noise_rad": 0.01}, {"joint_noise"}),
        ({"imu_errors": 1.0}, {"gyro_bias", "accelerometer_bias", "gyro_noise",
                               "accelerometer_noise", "imu_mounting"}),
        ({"friction_low": 0.5, "friction_high": 1.0}, {"friction"}),
        ({"voltage_high_v": 14.0}, {"strength"}),
        ({"servo_strength": 0.1}, {"strength"}),
        ({"latency_s": 0.05}, {"latency_s"}),
        ({"slope_rad": 0.1}, {"slope_rad"}),
        ({"bumps": True}, {"bumps"}),
        ({"push_back": True}, {"push_force"}),
        ({"push_strong": True}, {"push_force"}),
        ({"push_hips": True}, {"push_part", "push_force"}),
        ({"push_duration_high_s": 0.3}, {"push_duration_s", "push_force"}),
        ({"push_start_high_s": 0.9}, {"push_start_s"}),
        ({"start_ini_pose": True}, {"position", "orientation", "push_force"}),
        ({"pose_jitter_rad": 0.05}, {"position", "orientation"}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_switching_one_thing_on_leaves_all_others_as_they_were(
    change: dict[str, Any], touched: set[str]
) -> None:
    assert differ(draw(Phase()), draw(replace(Phase(), **change))) == touched


def test_quantities_are_independent_of_each_other() -> None:
    s = draw(EVERYTHING, 4000)
    numbers = np.column_stack([
        s.mass_scale, s.joint_offset, s.joint_noise, s.gyro_bias, s.accelerometer_bias,
        s.gyro_noise, s.accelerometer_noise, s.imu_mounting[:, 1:3], s.friction, s.strength,
        s.latency_s, s.slope_rad, s.slope_direction_rad, s.bumps.reshape(len(s), -1),
        s.push_start_s, s.push_duration_s, angles_deg(s), s.noise_seed, s.push_part,
    ])  # fmt: skip
    correlation = np.corrcoef(numbers.T) - np.eye(numbers.shape[1])
    assert np.abs(correlation).max() < 6 / np.sqrt(len(s))


def test_ranges_are_kept_and_filled() -> None:
    s, arms, legs = draw(EVERYTHING, 4000), [2, 3, 4, 5], list(range(6, 14))
    biases = {"gyro_bias": 0.02, "accelerometer_bias": 0.15}
    for values, low, high in (
        (s.mass_scale[:, arms], 0.85, 1.15), (s.mass_scale[:, legs], 0.8, 1.2),
        (s.mass_scale[:, 0], 0.75, 1.25), (s.mass_scale[:, 1], 0.7, 1.3),
        (s.joint_offset, -0.05, 0.05), (s.joint_noise, 0, 0.002), (s.friction, 0.4, 1.2),
        (s.latency_s, 0, 0.05), (s.slope_rad, 0, 0.05), (s.slope_direction_rad, -np.pi, np.pi),
        (s.push_start_s, 0.4, 0.6), (s.push_duration_s, 0.05, 0.3),
        *((getattr(s, name), -size, size) for name, size in biases.items()),
        (s.gyro_noise, 0.0025, 0.01), (s.accelerometer_noise, 0.025, 0.1),
    ):  # fmt: skip
        margin = 0.005 * (high - low)
        assert low - 1e-12 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-12
    assert s.strength.min() >= 3.8 / 4.1 * 0.9 and s.strength.max() <= 4.8 / 4.1 * 1.1
    assert s.strength.min() < 3.8 / 4.1 * 0.93 and s.strength.max() > 4.8 / 4.1 * 1.07


def test_imu_errors_of_one_are_those_the_detectors_were_measured_with() -> None:
    """The largest of many draws agree, so that one cannot change without the other."""
    s = draw(EVERYTHING, 4000)
    rng = np.random.default_rng(0)
    theirs = [any_robot(rng) for _ in range(4000)]
    for name in ("gyro_bias", "accelerometer_bias", "gyro_noise", "accelerometer_noise"):
        values = np.array([robot_drawn[name] for robot_drawn in theirs])
        assert getattr(s, name).max() == pytest.approx(values.max(), rel=0.01)
        assert getattr(s, name).min() == pytest.approx(values.min(), rel=0.01)
    mounting = np.array([robot_drawn["imu_mounting"] for robot_drawn in theirs])
    np.testing.assert_allclose(s.imu_mounting.max(axis=0), mounting.max(axis=0), rtol=0.02)


@given(st.floats(11.1, 14.8))
def test_a_voltage_gives_the_servos_strength(voltage: float) -> None:
    phase = Phase(voltage_low_v=voltage, voltage_high_v=voltage)
    expected = robot.Servo(voltage).stall_torque_n_m / robot.Servo().stall_torque_n_m
    assert draw(phase, 1).strength[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("front", "back", "sides", "sectors_deg"),
    [
        (1, 0, 0, [(-22.5, 22.5)]),
        (0, 1, 0, [(157.5, 202.5)]),
        (0, 0, 1, [(67.5, 112.5), (247.5, 292.5)]),
        (1, 1, 0, [(-22.5, 22.5), (157.5, 202.5)]),
        (1, 0, 1, [(-112.5, 112.5)]),
        (0, 1, 1, [(67.5, 292.5)]),
        (1, 1, 1, [(-180.0, 180.0)]),
    ],
)
def test_pushes_go_evenly_where_they_may(
    front: int, back: int, sides: int, sectors_deg: list[tuple[float, float]]
) -> None:
    phase = Phase(push_front=bool(front), push_back=bool(back), push_sides=bool(sides))
    angle, counted = angles_deg(draw(phase, 4000)), 0
    total = sum(high - low for low, high in sectors_deg)
    for low, high in sectors_deg:
        inside = (angle - low + 1e-9) % 360 <= high - low + 2e-9
        share = (high - low) / total
        assert inside.mean() == pytest.approx(share, abs=0.04)
        assert ((angle[inside] - low) % 360).mean() == pytest.approx((high - low) / 2, rel=0.05)
        counted += inside.sum()
    assert counted == len(angle)


def test_without_a_direction_nobody_pushes() -> None:
    assert not draw(Phase(push_front=False)).push_force.any()


def test_classes_of_pushes_share_their_episodes_evenly() -> None:
    phase = Phase(push_weak=True, push_strong=True)
    size, (weak, strong) = impulses(draw(phase)), (IMPULSES_N_S["weak"], IMPULSES_N_S["strong"])
    is_weak = size <= weak[1] + 1e-9
    assert is_weak.mean() == pytest.approx(0.5, abs=0.05)
    assert (size[~is_weak] >= strong[0]).all() and (size <= strong[1] + 1e-9).all()


def test_pushes_at_any_part_and_pose_have_the_moment_of_one_at_a_standing_head() -> None:
    """Heights of the pushed links above the soles, m, from MuJoCo's kinematics of op3.xml."""
    heights = {
        ("stand", "head"): 0.468, ("stand", "torso"): 0.345, ("stand", "l_hip"): 0.271,
        ("walkready", "head"): 0.433, ("walkready", "torso"): 0.315, ("walkready", "r_hip"): 0.24,
        ("ini_pose", "head"): 0.320, ("ini_pose", "torso"): 0.196, ("ini_pose", "l_hip"): 0.123,
    }  # fmt: skip
    for (pose, part), height in heights.items():
        phase = Phase(
            push_head=part == "head", push_torso=part == "torso", push_hips=part.endswith("hip"),
            start_stand=pose == "stand", start_walkready=pose == "walkready",
            start_ini_pose=pose == "ini_pose",
        )  # fmt: skip
        drawn = draw(phase)
        here = drawn.take(np.nonzero(drawn.push_part == robot.PARTS.index(part))[0])
        assert len(here) >= 900
        moment = impulses(here) * height
        low, high = (0.468 * size for size in IMPULSES_N_S["weak"])
        assert moment.min() == pytest.approx(low, rel=0.01)
        assert moment.max() == pytest.approx(high, rel=0.01)


def test_every_chosen_part_and_pose_is_drawn_equally_often() -> None:
    drawn = draw(EVERYTHING, 4000)
    share = np.bincount(drawn.push_part, minlength=14) / len(drawn)
    expected = {"head": 1 / 3, "torso": 1 / 3, "l_hip": 1 / 6, "r_hip": 1 / 6}
    for part, name in enumerate(robot.PARTS):
        assert share[part] == pytest.approx(expected.get(name, 0.0), abs=0.03)
    far = [np.abs(drawn.position - robot.POSES[pose]).max(axis=-1) for pose in STARTS]
    np.testing.assert_allclose((np.array(far) <= 0.0175 + 1e-12).mean(axis=1), 1 / 3, atol=0.03)


def test_robots_start_on_flat_soles_within_their_joints_limits() -> None:
    """By the true angles, which the encoders miss by the offset."""
    drawn = draw(replace(EVERYTHING, joint_offset_rad=0.2), 300)
    assert (drawn.position >= robot.LOWER_LIMIT_RAD).all()
    assert (drawn.position <= robot.UPPER_LIMIT_RAD).all()
    true = drawn.position - drawn.joint_offset
    np.testing.assert_array_equal(drawn.orientation, soles_flat(true))
    exact = draw(replace(EVERYTHING, joint_offset_rad=0.0, pose_jitter_rad=0.0), 60)
    for sole in find_stance(exact.position).soles:
        forward = np.stack(sole.forward, axis=-1)
        up = rotate_inverse(exact.orientation, np.array([0.0, 0.0, 1.0]))
        np.testing.assert_allclose((forward * up).sum(axis=-1), 0.0, atol=2e-3)


def test_bumps_lie_around_the_robot_and_never_under_its_feet() -> None:
    drawn = draw(EVERYTHING, 300)
    middle, yaw = drawn.bumps[..., :2], drawn.bumps[..., 2]
    distance = np.linalg.norm(middle, axis=-1)
    assert 0.23 <= distance.min() < 0.24 and 0.69 < distance.max() <= 0.7
    along = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    steps = np.linspace(-RIDGE[0], RIDGE[0], 25)[:, None]
    nearest = np.linalg.norm(middle[..., None, :] + steps * along[..., None, :], axis=-1).min()
    feet = 0.0
    for sole in find_stance(drawn.position).soles:
        for x in (-0.0635, 0.0635):
            for y in (-0.036, 0.036):
                corner = np.stack(sole.centre, -1) + x * np.stack(sole.forward, -1)
                corner += y * np.stack(sole.left, -1)
                turn = drawn.orientation * np.array([1.0, -1.0, -1.0, -1.0])
                feet = max(
                    feet, np.linalg.norm(rotate_inverse(turn, corner)[:, :2], axis=-1).max()
                )
    assert nearest - RIDGE[1] > feet
    quarter = np.histogram(np.arctan2(middle[..., 1], middle[..., 0]), 4)[0] / distance.size
    np.testing.assert_allclose(quarter, 0.25, atol=0.03)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"push_front": 1}, "push front is 1; allowed are true and false; give one of them"),
        ({"bumps": "yes"}, "bumps is 'yes'; allowed are true and false; give one of them"),
        ({"mass_arms": True}, "mass arms is True; allowed is a number; give one"),
        ({"mass_arms": "much"}, "mass arms is 'much'; allowed is a number; give one"),
        ({"mass_arms": 0.6}, "mass arms is 0.6; allowed is from 0 to 0.5; choose a value of "
         "mass arms in that range"),
        ({"latency_s": float("nan")}, "command latency is nan s; allowed is from 0 to 0.05 "
         "s; choose a value of command latency in that range"),
        ({"push_start_low_s": 0.2}, "earliest push is 0.2 s; allowed is from 0.35 to 2 s; "
         "choose a value of earliest push in that range"),
        ({"voltage_low_v": 13}, "voltage_low_v is 13, voltage_high_v 12; allowed is a range from "
         "low to high; give both, low first"),
        ({"push_weak": False}, "none of push_weak, push_normal, push_strong is true; allowed is "
         "one or more; choose from them"),
        ({"push_head": False}, "none of push_head, push_torso, push_hips is true; allowed is one "
         "or more; choose from them"),
        ({"start_stand": False}, "none of start_stand, start_walkready, start_ini_pose is true; "
         "allowed is one or more; choose from them"),
    ],
)  # fmt: skip
def test_what_makes_no_phase_is_refused_by_name(values: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError) as error:
        changed(Phase(), values)
    assert str(error.value) == told


def test_every_field_says_what_it_is() -> None:
    assert set(descriptions(Phase)) == {f.name for f in fields(Phase)}
