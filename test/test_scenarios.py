# SPDX-License-Identifier: Apache-2.0
"""How falls begin: shapes, seeds, jitter and directions."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand

seeds = st.integers(0, 2**31)


def same(a: Scenario, b: Scenario) -> bool:
    return all(getattr(a, f.name).tobytes() == getattr(b, f.name).tobytes() for f in fields(a))


def test_standing_robots_are_nominal_and_left_alone() -> None:
    scenario = Scenario.standing(3)
    assert len(scenario) == 3
    shapes = {f.name: getattr(scenario, f.name).shape for f in fields(Scenario)}
    assert shapes == {
        "position": (3, 20), "orientation": (3, 4), "push_force": (3, 3), "push_start_s": (3,),
        "push_duration_s": (3,), "mass_scale": (3, 14), "friction": (3,), "strength": (3,),
        "push_part": (3,), "gyro_bias": (3, 3), "accelerometer_bias": (3, 3), "gyro_noise": (3,),
        "accelerometer_noise": (3,), "imu_mounting": (3, 4), "noise_seed": (3,), "latency_s": (3,),
        "joint_offset": (3, 20), "joint_noise": (3,), "slope_rad": (3,),
        "slope_direction_rad": (3,), "bumps": (3, 12, 3),
    }  # fmt: skip
    assert not scenario.push_force.any()
    assert np.isnan(scenario.friction).all()
    assert (scenario.mass_scale == 1).all()
    assert (scenario.strength == 1).all()
    assert [robot.PARTS[part] for part in scenario.push_part] == ["head"] * 3
    np.testing.assert_array_equal(scenario.imu_mounting, [[1, 0, 0, 0]] * 3)
    for name in ("gyro_bias", "accelerometer_bias", "gyro_noise", "accelerometer_noise",
                 "latency_s", "joint_offset", "joint_noise", "slope_rad",
                 "slope_direction_rad"):  # fmt: skip
        assert not getattr(scenario, name).any()
    assert np.isnan(scenario.bumps).all()
    scenario.position[0] = 0.0  # each has its own pose
    np.testing.assert_array_equal(scenario.position[1], robot.POSES["stand"])


@given(seeds, st.lists(st.integers(0, 1000), min_size=1, max_size=5, unique=True))
def test_a_fall_depends_on_its_seeds_and_on_nothing_else_in_the_batch(
    seed: int, numbers: list[int]
) -> None:
    batch = pushed_stand(PushSpec(), numbers, seed=seed)
    assert same(batch, pushed_stand(PushSpec(), numbers, seed=seed))
    for i, number in enumerate(numbers):
        assert same(batch.take([i]), pushed_stand(PushSpec(), [number], seed=seed))
    other = pushed_stand(PushSpec(), numbers, seed=seed + 1)
    assert (batch.push_force != other.push_force).any()
    assert len(np.unique(batch.push_force, axis=0)) == len(numbers)


@given(seeds, st.floats(1, 50), st.floats(-180, 180))
def test_jitter_stays_within_its_shares(seed: int, force: float, direction: float) -> None:
    spec = PushSpec(force_n=force, direction_deg=direction, force_jitter=0.1,
                    direction_jitter_deg=5, pose_jitter_deg=1)  # fmt: skip
    scenario = pushed_stand(spec, range(8), seed=seed)
    size = np.hypot(scenario.push_force[:, 0], scenario.push_force[:, 1])
    assert (np.abs(size / force - 1) <= 0.1 + 1e-9).all()
    angle = np.degrees(np.arctan2(-scenario.push_force[:, 1], scenario.push_force[:, 0]))
    off = (angle - direction + 180) % 360 - 180
    assert (np.abs(off) <= 5 + 1e-6).all()
    assert not scenario.push_force[:, 2].any()
    assert (np.abs(scenario.position - robot.POSES["stand"]) <= np.radians(1) + 1e-12).all()
    assert (scenario.position >= robot.LOWER_LIMIT_RAD).all()
    assert (scenario.position <= robot.UPPER_LIMIT_RAD).all()


@pytest.mark.parametrize(
    ("direction_deg", "force"),
    [(0, (20, 0, 0)), (90, (0, -20, 0)), (-90, (0, 20, 0)), (180, (-20, 0, 0))],
    ids=["front", "right", "left", "back"],
)
def test_directions_of_the_push(direction_deg: float, force: tuple[float, ...]) -> None:
    spec = PushSpec(force_n=20, direction_deg=direction_deg, start_s=0.2, force_jitter=0,
                    direction_jitter_deg=0, pose_jitter_deg=0)  # fmt: skip
    scenario = pushed_stand(spec, [0, 1], seed=0)
    np.testing.assert_allclose(scenario.push_force, [force, force], atol=1e-12)
    np.testing.assert_array_equal(scenario.push_start_s, 0.2)
    np.testing.assert_array_equal(scenario.push_duration_s, 0.1)
    np.testing.assert_array_equal(scenario.position[0], robot.POSES["stand"])


def test_take_repeats_and_reorders() -> None:
    scenario = pushed_stand(PushSpec(), range(5), seed=3)
    taken = scenario.take([4, 0, 0])
    assert len(taken) == 3
    assert same(taken, pushed_stand(PushSpec(), [4, 0, 0], seed=3))


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("latency_s", -0.008, "command latency is -0.008 s; allowed is from 0 to 1 s; "
         "choose a value of command latency in that range"),
        ("latency_s", np.nan, "command latency is nan s; allowed is from 0 to 1 s; "
         "choose a value of command latency in that range"),
        ("latency_s", 1.1, "command latency is 1.1 s; allowed is from 0 to 1 s; "
         "choose a value of command latency in that range"),
        ("push_part", 14, "index of the pushed part is 14; allowed is from 0 to 13; "
         "choose a value of index of the pushed part in that range"),
        ("push_part", -1, "index of the pushed part is -1; allowed is from 0 to 13; "
         "choose a value of index of the pushed part in that range"),
        ("joint_offset", -0.36, "joint offset is -0.36 rad; allowed is from -0.35 to 0.35 rad; "
         "choose a value of joint offset in that range"),
        ("joint_noise", -0.01, "joint noise is -0.01 rad; allowed is from 0 to 0.35 rad; "
         "choose a value of joint noise in that range"),
        ("slope_rad", 0.36, "slope is 0.36 rad; allowed is from 0 to 0.35 rad; "
         "choose a value of slope in that range"),
        ("slope_direction_rad", np.inf, "slope direction is inf rad; allowed is from -6.28319 to "
         "6.28319 rad; choose a value of slope direction in that range"),
        ("bumps", [1.0, 11.0, 0.0], "place of a bump is 11 m; allowed is from -10 to 10 m; "
         "choose a value of place of a bump in that range"),
        ("bumps", [1.0, np.nan, 0.0], "place of a bump is nan m; allowed is from -10 to 10 m; "
         "choose a value of place of a bump in that range"),
        ("bumps", [1.0, 1.0, np.nan], "yaw of a bump is nan rad; allowed is from -6.28319 to "
         "6.28319 rad; choose a value of yaw of a bump in that range"),
    ],
)  # fmt: skip
def test_what_no_robot_can_have_is_told(field: str, value: float | list[float], text: str) -> None:
    values = getattr(Scenario.standing(3), field).astype(float)
    values[1] = value
    with pytest.raises(BadInputError) as error:
        replace(Scenario.standing(3), **{field: values})
    assert str(error.value) == text


def test_a_scenario_of_no_simulation_is_one() -> None:
    assert len(Scenario.standing(3).take([])) == 0
