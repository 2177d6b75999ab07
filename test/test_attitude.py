# SPDX-License-Identifier: Apache-2.0
"""The attitude filter and the fall detector on hand-made readings."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from op3_fall.attitude import Attitude, AttitudeConfig
from op3_fall.fall_detection import FallDetector, TiltRule
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.sensors import GRAVITY
from op3_fall.signals import SensorReading

Array = NDArray[np.float64]
CYCLE_S = 0.008
GYRO_ONLY = AttitudeConfig(accelerometer_gain_per_s=0.0)
MIRROR_VECTOR = np.array([1.0, -1.0, 1.0])
MIRROR_PSEUDOVECTOR = np.array([-1.0, 1.0, -1.0])

rates = st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(np.array)


def reading(
    time_s: ArrayLike, gyro: ArrayLike = (0, 0, 0), force: ArrayLike = (0, 0, GRAVITY)
) -> SensorReading:
    gyro, force = np.array(gyro, dtype=float), np.array(force, dtype=float)
    shape = gyro.shape[:-1]
    joints = np.zeros((*shape, 20))
    return SensorReading(
        np.broadcast_to(np.asarray(time_s, dtype=float), shape),
        joints,
        joints,
        joints,
        gyro,
        force,
        np.zeros((*shape, 4)),
    )


def held_at(roll: ArrayLike, pitch: ArrayLike, time_s: float = 0.0) -> SensorReading:
    """A robot at rest in that attitude."""
    force = -GRAVITY * gravity_in_body(from_roll_pitch(roll, pitch))
    return reading(time_s, np.zeros_like(force), force)


@pytest.mark.parametrize(
    ("roll_deg", "pitch_deg", "tilt_deg", "fall_angle_deg"),
    [
        (0, 30, 30, 0),  # nose down: to the front
        (30, 0, 30, 90),  # right side down
        (-30, 0, 30, -90),
        (0, -30, 30, 180),
        (0, 120, 120, 0),
        (179.9, 0, 179.9, 90),
    ],
)
def test_tilt_and_fall_angle_of_a_robot_at_rest(
    roll_deg: float, pitch_deg: float, tilt_deg: float, fall_angle_deg: float
) -> None:
    attitude = Attitude.start(held_at(math.radians(roll_deg), math.radians(pitch_deg)))
    assert math.degrees(attitude.tilt) == pytest.approx(tilt_deg)
    angle = math.degrees(attitude.fall_angle)
    assert abs(angle) == pytest.approx(abs(fall_angle_deg), abs=1e-6)
    if fall_angle_deg != 180:
        assert angle == pytest.approx(fall_angle_deg, abs=1e-6)


@pytest.mark.parametrize("axis", ["roll", "pitch"])
@pytest.mark.parametrize("rate", [-2.0, 0.5, 3.0])
def test_a_constant_rate_integrates_to_the_angle(axis: str, rate: float) -> None:
    attitude = Attitude.start(reading(0.0))
    gyro = (rate, 0, 0) if axis == "roll" else (0, rate, 0)
    for k in range(1, 51):
        attitude = attitude.step(reading(k * CYCLE_S, gyro), GYRO_ONLY)
    angle = rate * 50 * CYCLE_S
    expected = from_roll_pitch(*((angle, 0.0) if axis == "roll" else (0.0, angle)))
    np.testing.assert_allclose(attitude.gravity, gravity_in_body(expected), atol=2e-3)
    assert attitude.tilt == pytest.approx(abs(angle), abs=2e-3)


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
        attitude = attitude.step(spin, AttitudeConfig())
    np.testing.assert_allclose(attitude.gravity, down, atol=1e-9)


@given(st.lists(rates, min_size=1, max_size=20), rates)
def test_a_mirrored_robot_leans_the_mirrored_way(gyro: list[Array], force: Array) -> None:
    force = force + np.array([0.0, 0.0, GRAVITY])
    here = Attitude.start(reading(0.0))
    there = Attitude.start(reading(0.0))
    for k, omega in enumerate(gyro, start=1):
        here = here.step(reading(k * CYCLE_S, omega, force), AttitudeConfig())
        there = there.step(
            reading(k * CYCLE_S, MIRROR_PSEUDOVECTOR * omega, MIRROR_VECTOR * force),
            AttitudeConfig(),
        )
    np.testing.assert_allclose(there.gravity, MIRROR_VECTOR * here.gravity, atol=1e-12)
    assert there.tilt == pytest.approx(here.tilt)
    turn = there.fall_angle + here.fall_angle
    assert math.sin(turn) == pytest.approx(0, abs=1e-6) or here.tilt < 1e-6


def test_the_accelerometer_is_trusted_only_near_1_g() -> None:
    lean = from_roll_pitch(0.0, 0.3)
    for norm_g, follows in ((1.0, True), (1.09, True), (0.91, True), (1.2, False), (0.0, False)):
        attitude = Attitude.start(reading(0.0))
        force = -norm_g * GRAVITY * gravity_in_body(lean)
        for k in range(1, 1001):
            attitude = attitude.step(reading(k * CYCLE_S, force=force), AttitudeConfig())
        assert attitude.tilt == pytest.approx(0.3 if follows else 0.0, abs=1e-3)


def test_leading_axes_do_not_change_the_numbers() -> None:
    rng = np.random.default_rng(0)
    gyro = rng.uniform(-3, 3, (20, 2, 3, 3))
    force = rng.uniform(-1, 1, (20, 2, 3, 3)) + np.array([0, 0, GRAVITY])
    grid = FallDetector(reading(0.0, gyro[0], force[0]))
    single = {i: FallDetector(reading(0.0, gyro[0][i], force[0][i])) for i in np.ndindex(2, 3)}
    for k in range(1, 20):
        many = grid.step(reading(k * CYCLE_S, gyro[k], force[k]))
        assert many.falling.shape == many.tilt.shape == many.fall_angle.shape == (2, 3)
        for i, detector in single.items():
            one = detector.step(reading(k * CYCLE_S, gyro[k][i], force[k][i]))
            assert (one.falling, one.tilt, one.fall_angle) == (
                many.falling[i], many.tilt[i], many.fall_angle[i])  # fmt: skip


def alarms(tilts_deg: list[float], rule: TiltRule) -> list[bool]:
    """Alarm after each reading of a robot that is suddenly at these tilts."""
    # A gyro that explains each change of tilt in one cycle, and an accelerometer that is mute.
    detector = FallDetector(reading(0.0), rule)
    result, gravity_tilt = [], 0.0
    for k, tilt in enumerate(np.radians(tilts_deg), start=1):
        rate = math.tan(tilt - gravity_tilt) / CYCLE_S
        step = reading(k * CYCLE_S, (0, rate, 0), (0, 0, 0))
        estimate = detector.step(step)
        assert estimate.tilt == pytest.approx(tilt, abs=1e-9)
        result.append(bool(estimate.falling))
        gravity_tilt = tilt
    return result


@pytest.mark.parametrize(
    ("tilts_deg", "expected"),
    [
        ([14.9] * 5, [False] * 5),
        ([15.1, 15.1], [False, True]),
        ([20, 10, 20, 10, 20], [False] * 5),
        ([20, 10, 20, 20, 20], [False, False, False, True, True]),
        ([20, 20, 0, 0], [False, True, True, True]),
    ],
    ids=["below", "two in a row", "never two in a row", "counts anew", "the alarm stays"],
)
def test_the_alarm_needs_two_consecutive_readings_and_stays(
    tilts_deg: list[float], expected: list[bool]
) -> None:
    assert alarms(tilts_deg, TiltRule()) == expected


def test_the_rule_sets_threshold_and_count() -> None:
    rule = TiltRule(threshold_rad=math.radians(40), readings=3)
    assert alarms([39, 41, 42, 43], rule) == [False, False, False, True]
