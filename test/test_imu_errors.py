# SPDX-License-Identifier: Apache-2.0
"""Bias, noise and mounting of the inertial chip: by hand, and each simulation on its own."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from op3_fall import robot
from op3_fall.noise import normal
from op3_fall.rotations import from_roll_pitch
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.sensors import GYRO_LSB, PROFILES
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import Simulation

G = 9.80665
GYRO_BIAS, ACCELEROMETER_BIAS = np.array([0.02, -0.03, 0.01]), np.array([0.2, -0.1, 0.3])


def varied(n: int) -> Scenario:
    """Falls of which the first has no error, the second each error, the others some."""
    rng = np.random.default_rng(5)
    some = np.arange(n) > 0
    one, three = some * rng.uniform(0.5, 1, n), some[:, None] * rng.uniform(-1, 1, (n, 3))
    mounting = from_roll_pitch(*(some * rng.uniform(-0.1, 0.1, (2, n))))
    mounting[2::4] = [1, 0, 0, 0]
    one[3::4], three[4::4] = 0, 0
    return replace(
        pushed_stand(PushSpec(force_n=20, start_s=0.2), range(n), seed=2),
        gyro_bias=0.05 * three, accelerometer_bias=0.5 * three, gyro_noise=0.02 * one,
        accelerometer_noise=0.3 * one, imu_mounting=mounting, noise_seed=rng.integers(0, 2**40, n),
        latency_s=0.03 * one, push_part=np.arange(n) % len(robot.PARTS),
    )  # fmt: skip


def readings(scenario: Scenario, profile: str, cycles: int) -> list[SensorReading]:
    """The reading of the reset and of each driver cycle, a pose being held."""
    simulation = Simulation(len(scenario), profile=profile)
    command = JointCommand.hold(scenario.position)
    first = simulation.reset(scenario)
    return [first, *(simulation.advance(command, 4) for _ in range(cycles))]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_simulation_reads_the_same_alone_and_in_a_batch(profile: str) -> None:
    scenario = varied(6)
    batch = readings(scenario, profile, 100)
    for k in range(6):
        for alone, together in zip(readings(scenario.take([k]), profile, 100), batch, strict=True):
            for f in fields(SensorReading):
                mine, shared = getattr(alone, f.name)[0], getattr(together, f.name)[k]
                assert mine.tobytes() == shared.tobytes(), (k, f.name)


def test_a_reset_of_some_leaves_the_noise_of_the_others_and_starts_its_own_over() -> None:
    scenario = varied(6)
    undisturbed = readings(scenario, "extended", 60)
    simulation, command = Simulation(6), JointCommand.hold(scenario.position)
    simulation.reset(scenario)
    simulation.advance(command, 4 * 20)
    again, others = np.array([1, 5]), np.array([0, 2, 3, 4])
    simulation.reset(scenario.take(again), again)
    for k in range(1, 41):
        reading = simulation.advance(command, 4)
        for f in fields(SensorReading):
            mine = getattr(reading, f.name)
            np.testing.assert_array_equal(
                mine[others], getattr(undisturbed[20 + k], f.name)[others]
            )
            np.testing.assert_array_equal(mine[again], getattr(undisturbed[k], f.name)[again])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_robot_at_rest_reads_gravity_in_the_chips_axes_plus_bias(profile: str) -> None:
    """Chip pitched 10 degrees nose down: R^T (0, 0, g) = g (-sin, 0, cos)."""
    tilt = math.radians(10)
    scenario = replace(
        Scenario.standing(1), imu_mounting=from_roll_pitch(0.0, tilt)[None],
        gyro_bias=GYRO_BIAS[None], accelerometer_bias=ACCELEROMETER_BIAS[None],
    )  # fmt: skip
    simulation = Simulation(1, profile=profile)
    command = JointCommand.hold(scenario.position)
    for steps in (0, 800):
        reading = simulation.advance(command, steps) if steps else simulation.reset(scenario)
        np.testing.assert_allclose(reading.angular_velocity[0], GYRO_BIAS, atol=2 * GYRO_LSB)
        x, y, z = -G * simulation.torso_gravity[0]  # its servos yield to its weight by 2 degrees
        expected = np.array([
            x * math.cos(tilt) - z * math.sin(tilt), y, x * math.sin(tilt) + z * math.cos(tilt),
        ])  # fmt: skip
        # At the reset `ideal` reads MuJoCo's first acceleration: the soles have yet to settle.
        if steps or profile != "ideal":
            seen = reading.linear_acceleration[0] - ACCELEROMETER_BIAS
            np.testing.assert_allclose(seen, expected, atol=0.01)


def test_a_turned_chip_turns_what_it_measures() -> None:
    """Rolled by 90 degrees its y axis points up and its z axis to the right."""
    push = pushed_stand(PushSpec(force_n=20, direction_deg=30, start_s=0.2), [0, 0], seed=0)
    mounting = np.stack([[1.0, 0, 0, 0], from_roll_pitch(math.pi / 2, 0.0)])
    for reading in readings(replace(push, imu_mounting=mounting), "ideal", 100)[1:]:
        for vector in (reading.angular_velocity, reading.linear_acceleration):
            x, y, z = vector[0]
            np.testing.assert_allclose(vector[1], [x, z, -y], atol=1e-9 * np.abs(vector).max())
        np.testing.assert_array_equal(reading.orientation[0], reading.orientation[1])


def test_the_noise_is_that_of_seed_and_cycle_times_its_deviation() -> None:
    quiet = replace(Scenario.standing(2), noise_seed=np.array([7, 8]))
    noisy = replace(quiet, gyro_noise=np.array([0.02, 0.0]),
                    accelerometer_noise=np.array([0.3, 0.1]))  # fmt: skip
    pairs = zip(readings(quiet, "ideal", 50), readings(noisy, "ideal", 50), strict=True)
    for cycle, (clean, heard) in enumerate(pairs):
        draws = normal([7, 8], [cycle, cycle], 6) * np.array([[0.3], [0.1]])
        draws[:, 3:] *= np.array([[0.02 / 0.3], [0.0]])
        for mine, theirs, noise in (
            (heard.linear_acceleration, clean.linear_acceleration, draws[:, :3]),
            (heard.angular_velocity, clean.angular_velocity, draws[:, 3:]),
        ):
            np.testing.assert_allclose(mine - theirs, noise, atol=1e-12)


def test_the_driver_filters_and_quantises_the_noise() -> None:
    """White noise through y = 0.4 x + 0.6 y' keeps the share 0.4 / 1.6 = 1/4 of its variance."""
    scenario = replace(Scenario.standing(20), gyro_noise=np.full(20, 0.05),
                       noise_seed=np.arange(20))  # fmt: skip
    calm = readings(replace(scenario, gyro_noise=np.zeros(20)), "stock", 200)
    loud = readings(scenario, "stock", 200)
    noise = np.array([
        mine.angular_velocity - theirs.angular_velocity
        for mine, theirs in zip(loud[20:], calm[20:], strict=True)
    ])  # fmt: skip
    assert noise.std() == pytest.approx(0.025, rel=0.03)
    after = np.mean(noise[1:] * noise[:-1]) / noise.var()
    assert after == pytest.approx(0.6, abs=0.03)
