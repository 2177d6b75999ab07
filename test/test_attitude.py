# SPDX-License-Identifier: Apache-2.0
"""The attitude filter on hand-made readings."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.attitude import Attitude, AttitudeConfig
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.sensors import DRIVER_FILTER, GRAVITY
from op3_fall.signals import SensorReading

Array = NDArray[np.float64]
CYCLE_S = 0.008
CONFIG = AttitudeConfig()
GYRO_ONLY = AttitudeConfig(
    accelerometer_gain_per_s=0.0, bias_gain_per_s2=0.0, still_gain_per_s=0.0
)
MIRROR_VECTOR = np.array([1.0, -1.0, 1.0])
MIRROR_PSEUDOVECTOR = np.array([-1.0, 1.0, -1.0])
UPRIGHT = (0.0, 0.0, GRAVITY)

rates = st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(np.array)


def reading(
    time_s: ArrayLike,
    gyro: ArrayLike = (0, 0, 0),
    force: ArrayLike = UPRIGHT,
    position: Array = robot.POSES["stand"],
) -> SensorReading:
    """Of robots without effort readings; the gyro's shape is the readings'."""
    gyro, force = np.array(gyro, dtype=float), np.array(force, dtype=float)
    shape = gyro.shape[:-1]
    joints = np.zeros((*shape, 20))
    return SensorReading(
        np.broadcast_to(np.asarray(time_s, dtype=float), shape), joints + position, joints,
        joints, gyro, np.broadcast_to(force, gyro.shape), np.zeros((*shape, 4)),
    )  # fmt: skip


def held_at(roll: ArrayLike, pitch: ArrayLike, time_s: float = 0.0) -> SensorReading:
    """A robot at rest in that attitude."""
    force = -GRAVITY * gravity_in_body(from_roll_pitch(roll, pitch))
    return reading(time_s, np.zeros_like(force), force)


def low_passed(values: Array) -> Array:
    """As the driver publishes what was sampled, (t, ...); it has been at the first for long."""
    published = [values[0]]
    for value in values[1:]:
        published.append(published[-1] + DRIVER_FILTER * (value - published[-1]))
    return np.array(published)


def run(config: AttitudeConfig, gyro: Array, force: ArrayLike = UPRIGHT) -> Attitude:
    """The filter after these published readings (t, 3), one a cycle, from upright."""
    forces = np.broadcast_to(force, gyro.shape)
    attitude = Attitude.start(reading(0.0, gyro[0], forces[0]))
    for k in range(1, len(gyro)):
        attitude = attitude.step(reading(k * CYCLE_S, gyro[k], forces[k]), config)
    return attitude


@pytest.mark.parametrize(
    ("roll_deg", "pitch_deg", "tilt_deg"),
    [(0, 30, 30), (30, 0, 30), (-30, 0, 30), (0, -30, 30), (0, 120, 120), (179.9, 0, 179.9)],
)
def test_tilt_and_gravity_of_a_robot_at_rest(
    roll_deg: float, pitch_deg: float, tilt_deg: float
) -> None:
    attitude = Attitude.start(held_at(math.radians(roll_deg), math.radians(pitch_deg)))
    assert math.degrees(attitude.tilt) == pytest.approx(tilt_deg)
    down = gravity_in_body(from_roll_pitch(math.radians(roll_deg), math.radians(pitch_deg)))
    np.testing.assert_allclose(attitude.gravity, down, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1], ids=["roll", "pitch"])
@pytest.mark.parametrize("rate", [-2.0, 0.5, 3.0])
def test_a_constant_rate_integrates_to_the_angle_at_the_stamp(axis: int, rate: float) -> None:
    """From rest at once, through the driver's low-pass: half a cycle of rise, the age on top."""
    true = np.zeros((51, 3))
    true[1:, axis] = rate
    attitude = run(GYRO_ONLY, low_passed(true))
    angle = rate * (49.5 * CYCLE_S + GYRO_ONLY.age_s)
    expected = from_roll_pitch(*((angle, 0.0) if axis == 0 else (0.0, angle)))
    np.testing.assert_allclose(attitude.gravity, gravity_in_body(expected), atol=5e-4)
    assert attitude.tilt == pytest.approx(abs(angle), abs=5e-4)


@given(st.lists(rates, min_size=2, max_size=30))
def test_the_drivers_low_pass_is_undone(true: list[Array]) -> None:
    """Filtered readings give what unfiltered ones give to a filter that expects none."""
    gyro = np.array(true)
    force = gyro[:, [1, 2, 0]] + UPRIGHT
    filtered = run(GYRO_ONLY, low_passed(gyro), low_passed(force))
    plain = run(replace(GYRO_ONLY, driver_filter=1.0), gyro, force)
    np.testing.assert_allclose(filtered.rate, plain.rate, atol=1e-9)
    np.testing.assert_allclose(filtered.force, plain.force, atol=1e-9)
    np.testing.assert_allclose(filtered.gravity, plain.gravity, atol=1e-9)


@given(st.floats(-3, 3), st.floats(0.0, 0.05))
def test_the_age_is_made_up_for(rate: float, age_s: float) -> None:
    gyro = np.tile([0.0, rate, 0.0], (30, 1))
    old = AttitudeConfig(age_s=age_s, accelerometer_gain_per_s=0.0)
    new = AttitudeConfig(age_s=0.0, accelerometer_gain_per_s=0.0)

    def pitch(config: AttitudeConfig) -> float:
        down = run(config, gyro).down
        return math.atan2(down[0], -down[2])

    assert pitch(old) - pitch(new) == pytest.approx(rate * age_s, abs=2e-3)


@given(st.floats(-6, 6), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_turning_about_the_vertical_changes_nothing(
    rate: float, roll: float, pitch: float
) -> None:
    """Yaw is not observable and must not matter: gravity stays where it is."""
    start = held_at(roll, pitch)
    attitude = Attitude.start(start)
    down = attitude.gravity
    for k in range(1, 30):
        spin = reading(k * CYCLE_S, -rate * down, start.linear_acceleration)
        attitude = attitude.step(spin, CONFIG)
    np.testing.assert_allclose(attitude.gravity, down, atol=1e-9)


@given(st.lists(rates, min_size=1, max_size=20), rates)
def test_a_mirrored_robot_leans_the_mirrored_way(gyro: list[Array], force: Array) -> None:
    force = force + UPRIGHT
    turning = np.array([np.zeros(3), *gyro])
    here = run(CONFIG, turning, force)
    there = run(CONFIG, MIRROR_PSEUDOVECTOR * turning, MIRROR_VECTOR * force)
    np.testing.assert_allclose(there.gravity, MIRROR_VECTOR * here.gravity, atol=1e-12)
    np.testing.assert_allclose(there.rate, MIRROR_PSEUDOVECTOR * here.rate, atol=1e-9)
    assert there.tilt == pytest.approx(here.tilt)


BAND = CONFIG.trust_band_g


@pytest.mark.parametrize(
    ("norm_g", "follows"),
    [(1, True), (1 + 0.9 * BAND, True), (1 - 0.9 * BAND, True), (1 + 1.1 * BAND, False),
     (1 - 1.1 * BAND, False), (0, False)],
)  # fmt: skip
def test_the_accelerometer_is_trusted_only_near_1_g(norm_g: float, follows: bool) -> None:
    lean = -norm_g * GRAVITY * gravity_in_body(from_roll_pitch(0.0, 0.3))
    attitude = Attitude.start(reading(0.0))
    for k in range(1, 1 + round(8 / CONFIG.accelerometer_gain_per_s / CYCLE_S)):
        attitude = attitude.step(reading(k * CYCLE_S, force=lean), CONFIG)
    assert attitude.tilt == pytest.approx(0.3 if follows else 0.0, abs=5e-3)


@pytest.mark.parametrize("share", [0.5, 1.0, 3.0])
def test_the_accelerometer_counts_less_while_the_robot_turns(share: float) -> None:
    """Half at `trust_rad_s`; about the vertical, so that the gyro says nothing of the lean."""
    lean = -GRAVITY * gravity_in_body(from_roll_pitch(0.0, 0.01))

    def follows(rate: float) -> float:
        start = reading(0.0, (0, 0, rate))
        after = Attitude.start(start).step(reading(CYCLE_S, (0, 0, rate), lean), CONFIG)
        return math.hypot(after.seen[0], after.seen[1])

    expected = 1 / (1 + share**2)
    assert follows(share * CONFIG.trust_rad_s) / follows(0) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("bias", [(0.02, 0, 0), (0, -0.03, 0.0), (0.01, 0.01, 0.03)])
def test_the_bias_is_learnt_at_rest(bias: tuple[float, float, float]) -> None:
    assert np.linalg.norm(bias) < CONFIG.still_rad_s
    readings = round(6 / CONFIG.still_gain_per_s / CYCLE_S)
    attitude = run(CONFIG, np.tile(bias, (readings, 1)))
    size = math.hypot(*bias)
    np.testing.assert_allclose(attitude.bias, bias, atol=0.005 * size)
    np.testing.assert_allclose(attitude.rate, 0.0, atol=0.01 * size)
    assert attitude.tilt < math.radians(0.1)


def test_no_bias_is_learnt_from_a_robot_that_turns_or_is_accelerated() -> None:
    fast = 1.1 * CONFIG.still_rad_s
    turning = run(CONFIG, np.tile([0, 0, fast], (200, 1)))
    shaken = run(CONFIG, np.tile([0.01, 0, 0], (200, 1)), (0, 0, (1 + 1.1 * BAND) * GRAVITY))
    np.testing.assert_allclose(turning.bias, 0.0, atol=1e-12)
    np.testing.assert_allclose(shaken.bias, 0.0, atol=1e-12)


def test_a_bias_beyond_what_counts_as_rest_is_learnt_by_the_accelerometer() -> None:
    """About the axes that tilt; what turns about the vertical cannot be seen."""
    config = AttitudeConfig(
        accelerometer_gain_per_s=2.0, bias_gain_per_s2=1.0, still_gain_per_s=0.0
    )
    attitude = run(config, np.tile([0.1, -0.05, 0.1], (2000, 1)))
    np.testing.assert_allclose(attitude.bias, [0.1, -0.05, 0.0], atol=5e-3)
    assert attitude.tilt < math.radians(0.5)


def test_every_second_reading_gives_the_same_attitude() -> None:
    """A fall to the front in 0.6 s, with the driver's filter still running at its own rate."""
    times = np.arange(101) * CYCLE_S
    pitch = 1.2 * (1 - np.cos(np.minimum(times / 0.6, 1) * math.pi)) / 2
    gyro = np.zeros((101, 3))
    gyro[:, 1] = np.gradient(pitch, CYCLE_S)
    gyro = low_passed(gyro)
    dense, sparse = (Attitude.start(reading(0.0)) for _ in range(2))
    for k in range(1, 101):
        step = reading(times[k], gyro[k], (0, 0, 0))
        dense = dense.step(step, CONFIG)
        if k % 2 == 0:
            sparse = sparse.step(step, CONFIG)
            assert sparse.tilt == pytest.approx(dense.tilt, abs=math.radians(1.5))
            assert sparse.rate[1] == pytest.approx(dense.rate[1], abs=0.3)
    assert sparse.tilt == pytest.approx(1.2, abs=math.radians(1))
