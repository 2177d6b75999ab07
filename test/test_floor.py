# SPDX-License-Identifier: Apache-2.0
"""Slopes and bumps: by hand, in each simulation on its own, and as a mirror shows them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from mirror_samples import joined, mirrored, symmetric_model
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.model import Op3Model, load_model
from op3_fall.rotations import from_roll_pitch, gravity_in_body, rotate_inverse
from op3_fall.scenarios import BUMPS, Scenario
from op3_fall.sensors import GRAVITY, PROFILES
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation

Array = NDArray[np.float64]
FEET = [robot.PARTS.index("l_foot"), robot.PARTS.index("r_foot")]
FRONT, RIGHT, LEFT = 0.0, math.pi / 2, -math.pi / 2


@pytest.fixture(scope="module")
def bumpy() -> Op3Model:
    return load_model(bumps=True)


def sloped(slope: list[float], direction: list[float]) -> Scenario:
    return replace(Scenario.standing(len(slope)), slope_rad=np.array(slope),
                   slope_direction_rad=np.array(direction))  # fmt: skip


def wild(n: int) -> Scenario:
    """Everything differs, but nothing does of the first."""
    rng = np.random.default_rng(3)
    some = np.arange(n) > 0
    bumps = np.full((n, BUMPS, 3), np.nan)
    bumps[1:, :6] = rng.uniform([0.15, -0.3, -3], [0.5, 0.3, 3], (n - 1, 6, 3))
    angle = rng.uniform(-3, 3, n)
    push = 15 * np.stack([np.cos(angle), -np.sin(angle), 0 * angle], axis=-1)
    return replace(
        Scenario.standing(n), push_force=push, push_start_s=np.full(n, 0.1),
        push_duration_s=np.full(n, 0.1), push_part=rng.integers(0, 14, n),
        mass_scale=1 + some[:, None] * rng.uniform(-0.2, 0.2, (n, 14)),
        friction=np.where(some, rng.uniform(0.4, 1, n), np.nan),
        joint_offset=some[:, None] * rng.uniform(-0.05, 0.05, (n, 20)),
        slope_rad=some * rng.uniform(0, 0.12, n), slope_direction_rad=rng.uniform(-3, 3, n),
        bumps=bumps,
    )  # fmt: skip


def run(simulation: Simulation, scenario: Scenario, steps: int) -> Array:
    """Configurations after each control step, (steps, n, nq)."""
    simulation.reset(scenario)
    states = []
    for _ in range(steps):
        simulation.step(JointCommand.hold(scenario.position))
        states.append(simulation.state[0])
    return np.stack(states)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_robot_on_a_slope_reads_turned_gravity(profile: str) -> None:
    """On 0.2 rad down to the front, specific force is g (-sin, 0, cos) in the upright torso."""
    scenario = sloped([0.2, 0.2, 0.2, 0.0], [FRONT, RIGHT, LEFT, RIGHT])
    simulation = Simulation(4, profile=profile)
    reading, s, c = simulation.reset(scenario), math.sin(0.2), math.cos(0.2)
    down = np.array([[s, 0, -c], [0, -s, -c], [0, s, -c], [0, 0, -1]])
    np.testing.assert_allclose(simulation.torso_gravity, down, atol=1e-15)
    if profile != "ideal":  # which reads MuJoCo's first acceleration
        np.testing.assert_allclose(reading.linear_acceleration, -GRAVITY * down, atol=2e-3)
    for row, (roll, pitch) in enumerate([(0, 0.2), (0.2, 0), (-0.2, 0), (0, 0)]):
        np.testing.assert_allclose(
            reading.orientation[row], from_roll_pitch(roll, pitch), atol=2e-3
        )


def test_readings_on_a_slope_agree_with_each_other_and_with_the_truth() -> None:
    scenario = sloped([math.radians(5)] * 4, [0.0, 1.0, 2.5, -2.0])
    simulation = Simulation(4, profile="ideal")
    run(simulation, scenario, 151)  # ends with a driver cycle, 8 ms each
    reading = simulation.step(JointCommand.hold(scenario.position))
    down = simulation.torso_gravity
    np.testing.assert_allclose(gravity_in_body(reading.orientation), down, atol=1e-12)
    np.testing.assert_allclose(reading.linear_acceleration, -9.81 * down, atol=0.02)
    # It stands on 5 degrees, and leans from the vertical by them and by what its servos yield.
    tilt = np.degrees(np.arccos(-down[:, 2]))
    assert ((tilt > 2) & (tilt < 9)).all()
    assert not simulation.measure().hit.any()


def test_on_a_slope_beyond_the_friction_cone_it_slides() -> None:
    """Lying: a = g (sin - mu cos) where the tangent of the slope is beyond mu, else 0."""
    slope = [0.3, 0.3, 0.1]
    scenario = replace(
        sloped(slope, [FRONT, LEFT, FRONT]), friction=np.array([0.1, 0.1, 0.3]),
        orientation=np.tile(from_roll_pitch(0.0, math.pi / 2), (3, 1)),
    )  # fmt: skip
    simulation = Simulation(3)
    run(simulation, scenario, 25)
    before = simulation.torso_velocity
    for _ in range(10):
        simulation.step(JointCommand.hold(scenario.position))
    acceleration = (simulation.torso_velocity - before) / 0.2
    expected = 9.81 * (math.sin(0.3) - 0.1 * math.cos(0.3))
    assert acceleration[0, 0] == pytest.approx(expected, rel=0.05)
    assert acceleration[1, 1] == pytest.approx(expected, rel=0.08)  # it turns a little
    assert np.abs(acceleration[2]).max() < 0.05


def test_a_ridge_lies_where_and_as_it_is_told(bumpy: Op3Model) -> None:
    scenario = Scenario.standing(2)
    scenario.bumps[1, 3] = [0.4, -0.2, 0.5]
    simulation = Simulation(2, model=bumpy)
    simulation.reset(scenario)
    place, turn = (simulation.batch.expand(f"geom_{name}") for name in ("pos", "quat"))
    geoms = bumpy.bump_ids
    assert (place[:, geoms, 2] < -1).sum() == 2 * BUMPS - 1
    np.testing.assert_array_equal(place[1, geoms[3]], [0.4, -0.2, 0.0])
    axis = rotate_inverse(turn[1, geoms[3]] * [1, -1, -1, -1], [0.0, 0.0, 1.0])
    np.testing.assert_allclose(axis, [math.cos(0.5), math.sin(0.5), 0], atol=1e-12)
    np.testing.assert_array_equal(bumpy.mj.geom_size[geoms], [[0.02, 0.06, 0]] * BUMPS)


def test_what_stands_on_ridges_stands_2_cm_higher_and_is_felt(bumpy: Op3Model) -> None:
    """Two ridges across under each foot, under the second robot only."""
    scenario = Scenario.standing(2)
    scenario.bumps[1, :4] = [[x, y, RIGHT] for x in (-0.02, 0.06) for y in (-0.05, 0.05)]
    simulation = Simulation(2, model=bumpy)
    simulation.reset(scenario)
    qpos, qvel = simulation.state
    qpos[1, 2] += 0.0205
    simulation.place(qpos, qvel, JointCommand.hold(scenario.position))
    for _ in range(50):
        simulation.step(JointCommand.hold(scenario.position))
    sole = simulation.end_effectors[:, 2:4, 2]
    np.testing.assert_allclose(sole, [[0, 0], [0.02, 0.02]], atol=2e-3)
    weight = bumpy.mj.body_mass.sum() * 9.81
    np.testing.assert_allclose(simulation.floor_forces[:, FEET].sum(axis=-1), weight, rtol=0.03)
    assert not simulation.measure().hit.any()


def test_a_floor_that_may_have_bumps_but_has_none_is_the_floor(bumpy: Op3Model) -> None:
    scenario = wild(4)
    scenario.bumps[:] = np.nan
    plain, other = Simulation(4), Simulation(4, model=bumpy)
    np.testing.assert_allclose(run(plain, scenario, 25), run(other, scenario, 25), atol=1e-9)
    np.testing.assert_allclose(plain.floor_forces, other.floor_forces, atol=1e-4)


def test_randomisation_does_not_add_up_over_resets(bumpy: Op3Model) -> None:
    simulation, neutral, mj = Simulation(4, model=bumpy), Scenario.standing(4), bumpy.mj
    fresh = run(Simulation(4, model=bumpy), neutral, 20)
    first = run(simulation, wild(4), 40)
    assert run(simulation, neutral, 20).tobytes() == fresh.tobytes()
    for name, nominal in (
        ("gravity", mj.opt.gravity), ("body_mass", mj.body_mass), ("geom_pos", mj.geom_pos),
        ("body_inertia", mj.body_inertia), ("geom_friction", mj.geom_friction),
        ("geom_quat", mj.geom_quat),
    ):  # fmt: skip
        for mine in simulation.batch.expand(name):
            np.testing.assert_array_equal(mine, nominal, err_msg=name)
    np.testing.assert_array_equal(simulation.torso_gravity[:, 2] < 0, True)
    assert run(simulation, wild(4), 40).tobytes() == first.tobytes()


def test_a_robot_falls_the_same_alone_and_in_a_batch(bumpy: Op3Model) -> None:
    scenario = wild(4)
    together = run(Simulation(4, model=bumpy), scenario, 60)
    for k in range(4):
        alone = run(Simulation(1, model=bumpy), scenario.take([k]), 60)
        assert alone[:, 0].tobytes() == together[:, k].tobytes()


def test_a_mirrored_scenario_gives_the_mirrored_fall() -> None:
    """To rounding for a symmetric robot; so all that is not symmetric is in its masses."""
    scenario = wild(12)
    pair = joined(scenario, mirrored(scenario))
    simulation = Simulation(24, model=symmetric_model(bumps=True), profile="ideal")
    command = JointCommand.hold(pair.position)
    simulation.reset(pair)
    for _ in range(60):
        reading = simulation.step(command)
        joints, torso, tips = reading.position, simulation.torso_position, simulation.end_effectors
        np.testing.assert_allclose(joints[12:], robot.mirror_joints(joints[:12]), atol=1e-10)
        np.testing.assert_allclose(torso[12:], torso[:12] * [1, -1, 1], atol=1e-10)
        swapped = tips[:12, [1, 0, 3, 2, 4]] * [1, -1, 1]
        np.testing.assert_allclose(tips[12:, :4], swapped[:, :4], atol=1e-10)
    assert simulation.measure().hit.sum() >= 6


def test_ridges_need_a_model_with_them() -> None:
    scenario = Scenario.standing(2)
    scenario.bumps[0, 0] = [0.5, 0, 0]
    with pytest.raises(BadInputError) as error:
        Simulation(2).reset(scenario)
    assert str(error.value) == (
        "scenario has bumps, but the model's floor has none; allowed is a model that was loaded "
        "with them; load it with load_model(bumps=True)"
    )
