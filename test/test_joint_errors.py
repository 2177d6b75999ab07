# SPDX-License-Identifier: Apache-2.0
"""Zero and noise of the encoders: by hand, and apart from the noise of the inertial chip."""

from dataclasses import fields, replace

import numpy as np
import pytest

from op3_fall import robot
from op3_fall.model import load_model
from op3_fall.noise import normal
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.sensors import PROFILES
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import Simulation

OFFSET = np.linspace(-0.1, 0.1, robot.NUM_JOINTS)
COUNT_RAD = 2 * np.pi / 4096


def varied(n: int) -> Scenario:
    """Falls of which the first has no error, the second each, the others some."""
    rng = np.random.default_rng(1)
    offset, noise = rng.uniform(-0.05, 0.05, (n, 20)), rng.uniform(0.001, 0.01, n)
    offset[[0, 2]], noise[[0, 3]] = 0, 0
    return replace(pushed_stand(PushSpec(force_n=20, start_s=0.2), range(n), seed=2),
                   joint_offset=offset, joint_noise=noise,
                   noise_seed=rng.integers(0, 2**40, n))  # fmt: skip


def readings(scenario: Scenario, profile: str, cycles: int) -> list[SensorReading]:
    """The reading of the reset and of each driver cycle, a pose being held."""
    simulation = Simulation(len(scenario), profile=profile)
    command = JointCommand.hold(scenario.position)
    first = simulation.reset(scenario)
    return [first, *(simulation.advance(command, 4) for _ in range(cycles))]


def test_an_encoder_says_its_offset_more_and_its_servo_goes_as_much_less() -> None:
    model = load_model()
    model.mj.opt.gravity[:] = 0
    scenario = replace(Scenario.standing(2, robot.POSES["walkready"]),  # where no parts touch
                       joint_offset=np.stack([0 * OFFSET, OFFSET]))  # fmt: skip
    simulation = Simulation(2, model=model, profile="ideal")
    reading = simulation.reset(scenario)
    np.testing.assert_allclose(reading.position, scenario.position, atol=1e-15)
    np.testing.assert_allclose(
        simulation.true_joints, scenario.position - scenario.joint_offset, atol=1e-15
    )
    np.testing.assert_allclose(simulation.physics.torque, 0, atol=1e-12)  # each is at its goal
    goal = scenario.position.copy()
    goal[:, robot.JOINT_INDEX["head_pan"]] -= 0.5
    for _ in range(100):
        reading = simulation.step(JointCommand.hold(goal))
    # Gear friction of 0.03 N m leaves up to 0.03 / 18.9 rad.
    np.testing.assert_allclose(reading.position, goal, atol=2e-3)
    np.testing.assert_allclose(simulation.true_joints[1], goal[1] - OFFSET, atol=2e-3)


def test_the_feet_start_on_the_floor_with_the_true_angles() -> None:
    scenario = Scenario.standing(2, robot.POSES["ini_pose"])
    scenario.joint_offset[1, robot.JOINT_INDEX["l_knee"]] = 0.2
    other = replace(scenario, position=scenario.position - scenario.joint_offset,
                    joint_offset=np.zeros((2, 20)))  # fmt: skip
    mine, theirs = Simulation(2), Simulation(2)
    mine.reset(scenario)
    theirs.reset(other)
    np.testing.assert_array_equal(mine.state[0], theirs.state[0])
    assert mine.torso_position[0, 2] != mine.torso_position[1, 2]


def test_velocity_and_torque_know_no_offset() -> None:
    """A robot with an offset moves as one without whose goals are as much less."""
    scenario = replace(
        pushed_stand(PushSpec(force_n=20, start_s=0.1), [0], seed=0), joint_offset=OFFSET[None]
    )
    shifted = replace(scenario, position=scenario.position - OFFSET,
                      joint_offset=np.zeros((1, 20)))  # fmt: skip
    pairs = zip(readings(scenario, "ideal", 80), readings(shifted, "ideal", 80), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine.position - OFFSET, theirs.position, atol=1e-15)
        for name in ("velocity", "effort", "linear_acceleration", "angular_velocity"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_the_noise_is_that_of_seed_and_cycle_below_0_times_its_deviation() -> None:
    quiet = replace(Scenario.standing(2), noise_seed=np.array([7, 8]))
    noisy = replace(quiet, joint_noise=np.array([0.01, 0.0]))
    pairs = zip(readings(quiet, "ideal", 50), readings(noisy, "ideal", 50), strict=True)
    for cycle, (clean, heard) in enumerate(pairs):
        expected = 0.01 * normal([7], [-1 - cycle], 20)
        np.testing.assert_allclose(heard.position[0] - clean.position[0], expected[0], atol=1e-12)
        np.testing.assert_array_equal(heard.position[1], clean.position[1])
        np.testing.assert_array_equal(heard.velocity, clean.velocity)


def test_the_joints_noise_leaves_the_chips_alone_and_does_not_repeat_it() -> None:
    base = replace(Scenario.standing(1), gyro_noise=np.array([1.0]),
                   noise_seed=np.array([5]))  # fmt: skip
    both = replace(base, joint_noise=np.array([0.01]))
    chip, joints = [], []
    for mine, theirs in zip(readings(both, "ideal", 300), readings(base, "ideal", 300),
                            strict=True):  # fmt: skip
        np.testing.assert_array_equal(mine.angular_velocity, theirs.angular_velocity)
        chip.append(mine.angular_velocity[0, :3])
        joints.append((mine.position - theirs.position)[0])
    joined = np.hstack([chip, joints]).T
    among = np.abs(np.corrcoef(joined) - np.eye(len(joined)))
    assert among.max() < 5 / np.sqrt(300)
    assert np.std(joints) == pytest.approx(0.01, rel=0.05)


def test_the_register_comes_after_the_noise() -> None:
    scenario = replace(Scenario.standing(2), joint_noise=np.array([0.0, 0.01]),
                       noise_seed=np.array([1, 2]))  # fmt: skip
    for reading in readings(scenario, "stock", 20):
        angle = reading.position
        counts = angle * np.where(angle > 0, 2047, 2048) / np.pi
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)
    spread = np.abs(angle[1] - angle[0])
    assert np.median(spread) > 2 * COUNT_RAD


@pytest.mark.parametrize("profile", PROFILES)
def test_a_simulation_reads_the_same_alone_and_in_a_batch(profile: str) -> None:
    scenario = varied(5)
    batch = readings(scenario, profile, 100)
    for k in range(5):
        for alone, together in zip(readings(scenario.take([k]), profile, 100), batch, strict=True):
            for f in fields(SensorReading):
                mine, shared = getattr(alone, f.name)[0], getattr(together, f.name)[k]
                assert mine.tobytes() == shared.tobytes(), (k, f.name)


def test_a_reset_takes_the_errors_away() -> None:
    simulation, scenario = Simulation(3), varied(5).take([1, 2, 3])
    simulation.reset(scenario)
    simulation.step(JointCommand.hold(scenario.position))
    neutral, fresh = Scenario.standing(3), Simulation(3)
    first, other = simulation.reset(neutral), fresh.reset(neutral)
    for _ in range(10):
        assert first.position.tobytes() == other.position.tobytes()
        first = simulation.step(JointCommand.hold(neutral.position))
        other = fresh.step(JointCommand.hold(neutral.position))
