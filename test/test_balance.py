# SPDX-License-Identifier: Apache-2.0
"""Capture points by hand: rigid robots, sole edges that are known, and joints that move."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from test_attitude import CYCLE_S, reading

from op3_fall import balance, robot
from op3_fall.attitude import Attitude
from op3_fall.balance import Balance
from op3_fall.kinematics import find_stance
from op3_fall.sensors import GRAVITY

Array = NDArray[np.float64]
STAND = robot.POSES["stand"]
HALF_LENGTH, HALF_WIDTH = 0.0635, 0.036
INDEX = robot.JOINT_INDEX
SECOND, CYCLE = np.array(1.0), np.array(CYCLE_S)


def at(
    position: ArrayLike = STAND, rate: ArrayLike = (0, 0, 0), tilt: float = 0.0,
    heading: float = 0.0,
) -> Balance:  # fmt: skip
    """Balance of a robot that has not moved its joints; it leans by `tilt` to `heading`."""
    x, y = math.sin(tilt) * math.cos(heading), -math.sin(tilt) * math.sin(heading)
    up = Attitude.start(reading(0.0, force=-GRAVITY * np.array([x, y, -math.cos(tilt)])))
    turning = up._replace(rate=tuple(np.array(rate, dtype=float)))
    return Balance.of(np.asarray(position), turning, None, SECOND)


COM = np.array(find_stance(STAND).com)
MIDDLE = np.mean([sole.centre for sole in find_stance(STAND).soles], axis=0)
AHEAD_M, HEIGHT_M = COM[0] - MIDDLE[0], COM[2] - MIDDLE[2]
TIME_S = balance._SWING * math.sqrt(HEIGHT_M / GRAVITY)


def test_the_numbers_of_a_standing_robot() -> None:
    """Its centre of mass is nearly above the middle of the soles, at about 0.27 m."""
    assert MIDDLE[2] == pytest.approx(-0.279, abs=2e-4)
    assert abs(AHEAD_M) < 0.015 and 0.2 < HEIGHT_M < 0.3
    assert COM[1] == pytest.approx(MIDDLE[1], abs=1e-6)


def test_standing_still_the_margin_is_the_distance_to_the_nearer_edge() -> None:
    found = at()
    assert found.margin == pytest.approx(abs(AHEAD_M) - HALF_LENGTH, abs=1e-5)
    assert found.lean == pytest.approx(found.margin, abs=1e-5)
    assert found.speed == 0
    assert found.height == pytest.approx(HEIGHT_M, abs=1e-4)
    assert found.toward == pytest.approx((math.copysign(1, AHEAD_M), 0, 0), abs=1e-3)


@pytest.mark.parametrize(("sign", "heading"), [(1, 0.0), (-1, math.pi)], ids=["front", "back"])
def test_a_rate_that_puts_the_capture_point_on_the_edge(sign: float, heading: float) -> None:
    rate = (sign * HALF_LENGTH - AHEAD_M) / (HEIGHT_M * TIME_S)
    assert at(rate=(0, rate, 0)).margin == pytest.approx(0, abs=1e-4)
    assert at(rate=(0, 1.1 * rate, 0)).margin == pytest.approx(
        0.1 * abs(rate) * HEIGHT_M * TIME_S, abs=1e-4
    )
    assert at(rate=(0, rate, 0)).toward[0] == pytest.approx(sign)
    assert at(rate=(0, rate, 0)).speed == pytest.approx(abs(rate) * HEIGHT_M, rel=1e-3)


@pytest.mark.parametrize(("sign", "side"), [(1, -1), (-1, 1)], ids=["right", "left"])
def test_the_same_to_the_sides(sign: float, side: float) -> None:
    """A positive roll rate tips to the right (-y), over the outer edge of the outer foot."""
    foot = abs(find_stance(STAND).soles[0].centre[1])
    aside = foot + HALF_WIDTH + 0.01
    rate = sign * aside / (HEIGHT_M * TIME_S)
    found = at(rate=(rate, 0, 0))
    reach = math.hypot(aside, AHEAD_M)
    across = aside / reach
    assert found.margin == pytest.approx(0.01, abs=1e-4), "beyond the outer edge, though ahead too"
    assert found.toward == pytest.approx((AHEAD_M / reach, side * across, 0), abs=1e-3)


@pytest.mark.parametrize("heading_deg", [0, 180])
def test_a_lean_that_puts_the_centre_of_mass_above_the_edge(heading_deg: float) -> None:
    """Tilted as a whole: the sole leans too, and its edge comes nearer."""
    ahead = AHEAD_M if heading_deg == 0 else -AHEAD_M
    tilt = math.atan2(HALF_LENGTH - ahead, HEIGHT_M)
    found = at(tilt=tilt, heading=math.radians(heading_deg))
    assert found.margin == pytest.approx(0, abs=1e-4)
    length = math.hypot(HEIGHT_M, ahead)
    assert found.height == pytest.approx(
        length * math.cos(tilt + math.atan2(ahead, HEIGHT_M)), abs=1e-4
    )


@given(st.floats(0.2, 1.2), st.floats(-math.pi, math.pi))
def test_a_tilted_robot_falls_to_the_side_it_leans_to(tilt: float, heading: float) -> None:
    found = at(tilt=tilt, heading=heading)
    toward = np.array(found.toward)
    down = [math.sin(tilt) * math.cos(heading), -math.sin(tilt) * math.sin(heading),
            -math.cos(tilt)]  # fmt: skip
    assert np.linalg.norm(toward) == pytest.approx(1, abs=1e-6)
    assert toward @ down == pytest.approx(0, abs=1e-6), "horizontal"
    side = math.atan2(-toward[1], toward[0])
    slant = math.atan2(math.sin(heading) * math.cos(tilt), math.cos(heading) * math.cos(tilt))
    assert math.cos(side - slant) > math.cos(0.3)


def moving(rates: dict[str, float], gyro: ArrayLike, start: Array = STAND) -> Balance:
    """After 0.4 s in which joints turn at these rates; the torso stays upright meanwhile."""
    attitude = Attitude.start(reading(0.0))._replace(rate=tuple(np.array(gyro, dtype=float)))
    speed = np.zeros(20)
    for joint, rate in rates.items():
        speed[INDEX[joint]] = rate
    found = Balance.of(start, attitude, None, SECOND)
    for k in range(1, 51):
        position = start + (k - 50) * CYCLE_S * speed
        found = Balance.of(position, attitude, found, CYCLE)
    return found


def test_a_lean_from_the_ankles_moves_the_centre_of_mass_about_them() -> None:
    """The feet stay flat: joint rate and gyro cancel at the sole, the rest turns about it."""
    rate = 0.3
    found = moving({"l_ank_pitch": rate, "r_ank_pitch": -rate}, (0, rate, 0))
    assert found.speed == pytest.approx(rate * (HEIGHT_M - 0.0305), abs=2e-3)


def test_a_squat_moves_no_capture_point() -> None:
    """Thighs and shanks are equal: hip and foot stay above each other, the hips sink."""
    rates = {"l_hip_pitch": -1.0, "l_knee": 2.0, "l_ank_pitch": 1.0,
             "r_hip_pitch": 1.0, "r_knee": -2.0, "r_ank_pitch": -1.0}  # fmt: skip
    start = STAND.copy()
    for joint, angle in rates.items():
        start[INDEX[joint]] += angle * 0.6
    found = moving(rates, (0, 0, 0), start)
    still = at(start)
    assert found.speed == pytest.approx(0, abs=0.03)
    assert found.margin == pytest.approx(still.margin, abs=0.01)
    assert found.height < at().height - 0.02


def test_a_foot_that_swings_says_nothing_of_the_fall() -> None:
    swinging = moving({"l_hip_pitch": 3.0}, (0, 0, 0))
    both = moving({"l_hip_pitch": 3.0, "r_hip_pitch": -3.0}, (0, 0, 0))
    assert abs(swinging.speed) < 0.1 < 0.3 < both.speed


def test_the_encoders_steps_are_smoothed() -> None:
    """One count in every ankle is 1.5 mrad in 8 ms: 5 cm/s of a rigid robot's head."""
    attitude = Attitude.start(reading(0.0))
    first = Balance.of(STAND, attitude, None, SECOND)
    step = STAND.copy()
    step[[INDEX["l_ank_pitch"], INDEX["r_ank_pitch"]]] += [0.0015, -0.0015]
    after = Balance.of(step, attitude, first, CYCLE)
    rigid = 0.0015 / CYCLE_S * HEIGHT_M
    assert 0 < np.linalg.norm(after.drifts[0]) < 0.4 * rigid
