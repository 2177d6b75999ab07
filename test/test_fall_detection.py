# SPDX-License-Identifier: Apache-2.0
"""The fall detector on hand-made motions: phases, alarms, what is no fall, direction, time."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from signal_samples import fall_estimate
from test_attitude import CYCLE_S, held_at, low_passed, reading

from op3_fall import fall_detection, robot
from op3_fall.attitude import Attitude
from op3_fall.fall_detection import FallDetector, FallPhase, FallRule, time_to_impact
from op3_fall.kinematics import find_stance
from op3_fall.motion_pages import PAGES
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.sensors import GRAVITY
from op3_fall.signals import FallEstimate, ReadingUse, SensorReading

Array = NDArray[np.float64]
STAND = robot.POSES["stand"]
RULE = FallRule()
NORMAL, FALLING, IMPACT, DOWN = FallPhase


def readings(pitch: ArrayLike, position: Array = STAND) -> list[SensorReading]:
    """What the driver publishes, a cycle apart, of a robot that turns to these pitch angles."""
    angles = np.asarray(pitch, dtype=float)
    gyro, force = np.zeros((2, len(angles), 3))
    gyro[:, 1] = np.gradient(angles, CYCLE_S)
    force[:] = -GRAVITY * gravity_in_body(from_roll_pitch(0.0, angles))
    gyro, force = low_passed(gyro), low_passed(force)
    return [reading(k * CYCLE_S, gyro[k], force[k], position) for k in range(len(angles))]


def run(
    stream: list[SensorReading], rule: FallRule | None = None, hits: tuple[int, ...] = ()
) -> list[FallEstimate]:
    """An estimate for each reading after the first; a blow is felt in readings `hits`."""
    detector, found = FallDetector(stream[0], rule), []
    for k, one in enumerate(stream[1:], start=1):
        fall = detector.step(one)
        found.append(detector.hit(fall, np.array(True)) if k in hits else fall)
    return found


def phases(estimates: list[FallEstimate]) -> list[FallPhase]:
    """In order, repeats left out."""
    told = [FallPhase(int(e.phase)) for e in estimates]
    return [p for i, p in enumerate(told) if i == 0 or told[i - 1] != p]


def seconds(duration_s: float, at_rad: float = 0.0) -> list[float]:
    return [at_rad] * round(duration_s / CYCLE_S)


UPRIGHT = seconds(RULE.settle_s + RULE.upright_s + 0.2)
LYING = seconds(RULE.rest_s + 0.4, 1.5)
TIPPING, RISING = np.linspace(0, 1.5, 50).tolist(), np.linspace(1.5, 0, 200).tolist()


def test_a_fall_goes_through_its_phases_and_the_detector_waits_for_the_next() -> None:
    story = [*UPRIGHT, *TIPPING, *LYING, *RISING, *UPRIGHT, *TIPPING, *LYING]
    contact = len(UPRIGHT) + len(TIPPING) - 5
    found = run(readings(story), hits=(contact, 5))
    again = [FALLING, DOWN]
    assert phases(found) == [NORMAL, FALLING, IMPACT, DOWN, NORMAL, *again]
    for fall in found:
        assert np.isfinite(fall.time_to_impact) == (fall.phase == FALLING)
        assert np.isfinite(fall.clearance) == fall.falling == (fall.phase != NORMAL)
        assert (fall.direction == 0) == (fall.phase == NORMAL)
        assert fall.use == ReadingUse.USED


def test_after_a_fall_it_stands_again_only_after_a_while() -> None:
    """Getting up takes longer than being upright once; swaying through upright is no standing."""
    short = seconds(0.4 * RULE.upright_s)
    swing = [*np.linspace(0, 1.0, 40), *np.linspace(1.0, 0, 40)]
    story = [*UPRIGHT, *TIPPING, *LYING, *RISING, *short, *swing, *short]
    assert phases(run(readings(story))) == [NORMAL, FALLING, DOWN]
    assert phases(run(readings([*story, *UPRIGHT])))[-1] == NORMAL


def test_down_is_lying_at_rest() -> None:
    """Or leaning against something at rest, but not lying in motion."""
    rolling = (1.5 + 0.3 * np.sin(np.arange(0, 2, CYCLE_S) * 2 * math.pi * 2)).tolist()
    leaning = np.linspace(0, 0.8 * RULE.lying_rad, 20).tolist()
    assert phases(run(readings([*UPRIGHT, *TIPPING, *rolling]))) == [NORMAL, FALLING]
    held = [*UPRIGHT, *leaning, *seconds(2.0, leaning[-1])]
    propped = [NORMAL, FALLING, DOWN]  # its centre of mass is beyond the soles: something bears it
    assert phases(run(readings(held))) == propped
    assert phases(run(readings([*UPRIGHT, *TIPPING, *LYING]))) == [NORMAL, FALLING, DOWN]


@pytest.mark.parametrize(("roll", "pitch"), [(0, 1.5), (0, -1.5), (1.5, 0), (-1.5, 0)])
def test_starting_while_lying_is_down_without_an_alarm(roll: float, pitch: float) -> None:
    stream = [held_at(roll, pitch, k * CYCLE_S) for k in range(200)]
    assert phases(run(stream)) == [NORMAL, DOWN]


def flat(position: Array, lean: float = 0.0) -> SensorReading:
    """At rest with the soles flat on the floor, and the whole robot tilted by `lean` to front."""
    x, _, z = find_stance(position).soles[0].forward
    pitch = math.atan2(z, x) + lean
    return reading(0.0, force=-GRAVITY * gravity_in_body(from_roll_pitch(0.0, pitch)),
                   position=position)  # fmt: skip


_BENT, _RISEN = PAGES[122][-2].goal, PAGES[122][-1].goal


@pytest.mark.parametrize(
    ("position", "lean_deg"),
    [
        (STAND, 0), (STAND, 8), (STAND, -8), (robot.POSES["ini_pose"], 0),
        (robot.POSES["walkready"], 0), (PAGES[1][0].goal, 0),
        (_BENT + 0.1 * (_RISEN - _BENT), 0),
    ],
    ids=["stand", "held at 8", "held at -8", "crouch", "walkready", "standup", "getting up"],
)  # fmt: skip
def test_what_is_no_fall(position: Array, lean_deg: float) -> None:
    still = flat(position, math.radians(lean_deg))
    found = run([replace(still, time_s=np.array(k * CYCLE_S)) for k in range(100)])
    assert phases(found) == [NORMAL]
    assert found[-1].margin < 0


def test_a_robot_that_gets_up_leans_by_30_degrees_without_a_fall() -> None:
    tilt = float(Attitude.start(flat(_BENT + 0.1 * (_RISEN - _BENT))).tilt)
    assert math.radians(25) < tilt < RULE.lying_rad


def first_alarm(estimates: list[FallEstimate]) -> int | None:
    return next((k for k, e in enumerate(estimates) if e.falling), None)


@pytest.mark.parametrize("hold_s", [0.0, 0.004, 0.008, 0.016, 0.024, 0.025, 0.06])
@settings(max_examples=30)
@given(st.lists(st.floats(-2, 2), min_size=8, max_size=25), st.floats(-0.05, 0.05))
def test_the_alarm_comes_when_the_margin_was_beyond_for_so_long(
    hold_s: float, rates: list[float], threshold_m: float
) -> None:
    """0.024 s is three readings in a row; anything less than a cycle is one."""
    rule = FallRule(settle_s=0.0, hold_s=hold_s, margin_m=threshold_m)
    pitch = np.concatenate([[0, 0], np.cumsum(np.repeat(rates, 2)) * CYCLE_S])
    found = run(readings(pitch), rule)
    needed, count, expected = max(1, math.ceil(hold_s / CYCLE_S - 1e-6)), 0, None
    for k, fall in enumerate(found):
        count = count + 1 if fall.margin > threshold_m else 0
        if count == needed:
            expected = k
            break
    assert first_alarm(found) == expected


def test_a_gap_does_not_count_as_being_beyond() -> None:
    """After a gap a reading stands for its own cycle alone."""
    rule = FallRule(settle_s=0.0, hold_s=0.024)
    stream = [held_at(0.0, 0.6, t) for t in (0.0, 0.05, 0.1, 0.108)]
    assert [bool(e.falling) for e in run(stream, rule)] == [False, True, True]
    assert not any(e.falling for e in run(stream[:2], rule))


def test_no_alarm_before_it_has_settled_and_one_right_after() -> None:
    """A robot that is found leaning far and does not lie: held up, or about to hit the floor."""
    stream = [held_at(0.0, 0.6, k * CYCLE_S) for k in range(200)]
    for settle_s in (0.0, 0.1, RULE.settle_s):
        found = first_alarm(run(stream, FallRule(settle_s=settle_s)))
        assert found is not None
        alarm_s = (found + 1) * CYCLE_S
        assert settle_s <= alarm_s <= settle_s + RULE.hold_s + 2 * CYCLE_S


def test_a_start_that_may_be_wrong_raises_no_alarm_and_is_corrected() -> None:
    """The first accelerometer reading was of a robot that moved: 25 degrees off."""
    wrong = math.radians(25)
    stream = [held_at(0.0, wrong), *(held_at(0.0, 0.0, k * CYCLE_S) for k in range(1, 200))]
    assert any(e.falling for e in run(stream, FallRule(settle_s=0.0)))
    found = run(stream)
    assert not any(e.falling for e in found)
    settled = found[round(RULE.settle_s / CYCLE_S)]
    follows = 10 * RULE.attitude.accelerometer_gain_per_s * RULE.settle_s
    assert settled.tilt < 1.2 * wrong * math.exp(-follows)


def test_settling_rows_do_not_disturb_the_others() -> None:
    starts, still = np.array([0.0, 0.2]), np.zeros((2, 3))
    late = FallDetector(reading(starts, still))
    one = FallDetector(reading(0.2))
    force = -GRAVITY * gravity_in_body(from_roll_pitch(0.0, 0.2))
    for k in range(1, 60):
        both = late.step(reading(starts + k * CYCLE_S, still, np.tile(force, (2, 1))))
        single = one.step(reading(0.2 + k * CYCLE_S, (0, 0, 0), force))
        assert both.tilt[1] == pytest.approx(single.tilt, abs=1e-12)


def leaning(tilt: float, side: float, rate: float = 0.0, n: int = 80) -> list[FallEstimate]:
    """Held at `tilt` to `side` (0 front, right positive), while the gyro says it goes on."""
    lean = np.array([math.cos(side), -math.sin(side), 0.0])
    axis = np.array([math.sin(side), math.cos(side), 0.0])
    force = -GRAVITY * (math.sin(tilt) * lean + [0, 0, -math.cos(tilt)])
    return run([reading(k * CYCLE_S, rate * axis, force) for k in range(n)])


@pytest.mark.parametrize("sector", range(1, 9))
def test_the_direction_goes_clockwise_from_the_front(sector: int) -> None:
    angle = (sector - 1) * math.pi / 4
    last = leaning(0.7, angle)[-1]
    assert last.direction == sector
    assert math.cos(last.fall_angle - angle) > math.cos(math.radians(10))
    assert -math.pi <= last.fall_angle <= math.pi


FALLEN = leaning(0.7, 0.0)[-1]


@given(st.floats(-math.pi, math.pi))
def test_sectors_are_45_degrees_about_their_middle(angle: float) -> None:
    fall = replace(FALLEN, fall_angle=np.array(angle))
    middle = (fall.direction - 1) * math.pi / 4
    assert math.cos(angle - middle) >= math.cos(math.pi / 8) - 1e-9
    assert fall.direction in range(1, 9)
    assert replace(fall, phase=np.array(0)).direction == 0


@given(st.floats(0.5, 1.2), st.floats(-math.pi, math.pi), st.floats(-0.4, 5))
def test_the_fall_velocity_is_the_rate_of_the_tilt(tilt: float, side: float, rate: float) -> None:
    lean = np.array([math.cos(side), -math.sin(side), 0.0])
    axis = np.array([math.sin(side), math.cos(side), 0.0])
    down = math.sin(tilt) * lean + np.array([0, 0, -math.cos(tilt)])
    start = reading(0.0, rate * axis, -GRAVITY * down)
    found = FallDetector(start).step(replace(start, time_s=np.array(CYCLE_S)))
    assert found.fall_velocity == pytest.approx(rate, abs=0.1 * abs(rate) + 0.01)
    assert found.fast == (found.fall_velocity > RULE.fast_rad_s)
    spin = reading(0.0, rate * down, -GRAVITY * down)
    spun = FallDetector(spin).step(replace(spin, time_s=np.array(CYCLE_S)))
    assert spun.fall_velocity == pytest.approx(0.0, abs=1e-6)


def test_a_body_that_spins_goes_on_turning_until_the_contact() -> None:
    """Turning to its left about the vertical, more of its right side comes down, and no more
    than the spin makes in the time that is left."""
    tilt, spin = 0.5, 1.0
    down = np.array([math.sin(tilt), 0.0, -math.cos(tilt)])

    def last(rate: float) -> FallEstimate:
        return run([
            reading(k * CYCLE_S, -rate * down, -GRAVITY * down) for k in range(80)
        ])[-1]  # fmt: skip

    still, left, right = last(0.0), last(spin), last(-spin)
    most = spin * float(left.time_to_impact)
    assert 0.3 * most < float(left.fall_angle - still.fall_angle) <= 1.01 * most
    assert float(right.fall_angle) == pytest.approx(-float(left.fall_angle), abs=1e-3)


def pendulum_s(length: float, tilt: float, rate: float, dt_s: float = 1e-4) -> float:
    frequency2 = fall_detection._SLENDER * GRAVITY / length
    time_s = 0.0
    while tilt < fall_detection._CONTACT_RAD:
        rate += frequency2 * math.sin(tilt) * dt_s
        tilt += rate * dt_s
        time_s += dt_s
    return time_s


def told_s(lean: float, height: float, speed: float, rate: float) -> float:
    return float(time_to_impact(*(np.array(v) for v in (lean, height, speed, rate))))


@given(st.floats(0.01, 0.2), st.floats(0.1, 0.25), st.floats(0.1, 6.0), st.booleans())
def test_time_to_impact_is_the_pendulums(
    lean: float, height: float, rate: float, by_speed: bool
) -> None:
    """Against the same pendulum in steps of 0.1 ms, whether the gyro or the joints tell."""
    length, tilt = math.hypot(lean, height), math.atan2(lean, height)
    found = told_s(lean, height, rate * length * by_speed, rate * (not by_speed))
    assert found == pytest.approx(pendulum_s(length, tilt, rate), rel=5e-3, abs=3e-4)


def test_time_to_impact_at_the_ends() -> None:
    assert told_s(0.3, 0.05, 0.0, 1.0) == 0.0
    at_edge = told_s(0.0, math.hypot(0.05, 0.25), 0.0, 1.0)
    assert told_s(-0.05, 0.25, 0.0, 1.0) == pytest.approx(at_edge)
    assert math.isfinite(told_s(-0.05, 0.25, 0.0, -3.0))


def test_the_predicted_time_runs_down_in_a_fall() -> None:
    """A pendulum's own motion from the edge on; the prediction ends near the contact."""
    length, tilt, rate, pitch = 0.26, 0.0, 0.6, []
    while tilt < 1.25:
        rate += fall_detection._SLENDER * GRAVITY / length * math.sin(tilt) * CYCLE_S
        tilt += rate * CYCLE_S
        pitch.append(tilt)
    found = [e for e in run(readings([*UPRIGHT, *pitch])) if e.phase == FALLING]
    told = np.array([float(e.time_to_impact) for e in found])
    assert len(told) * CYCLE_S > 0.2
    left = np.arange(len(told))[::-1] * CYCLE_S
    # The edge that it tips about moves it ahead of this pendulum, which turns about its ankle.
    assert np.abs(told - left).max() < 0.12
    assert np.abs(told[-10:] - left[-10:]).max() < 0.06
    assert (np.diff(told[5:-3]) < 0).all()


def test_a_first_reading_that_is_no_number_costs_only_that_reading() -> None:
    broken = reading(0.0, force=(math.nan, 0.0, GRAVITY))
    detector = FallDetector(broken)
    uses = [int(detector.step(reading(k * CYCLE_S)).use) for k in (1, 2, 3)]
    assert uses == [ReadingUse.JUMP, ReadingUse.USED, ReadingUse.USED]
    assert detector.step(reading(4 * CYCLE_S)).tilt == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("angle_deg", "of_8", "of_4"),
    [(0, 1, 1), (44, 2, 1), (46, 2, 2), (90, 3, 2), (134, 4, 2), (136, 4, 3), (180, 5, 3),
     (-180, 5, 3), (-91, 7, 4), (-46, 8, 4), (-23, 8, 1)],
)  # fmt: skip
def test_the_side_in_8_and_in_4_sectors_goes_clockwise_from_the_front(
    angle_deg: float, of_8: int, of_4: int
) -> None:
    side = fall_estimate(phase=FALLING, fall_angle=math.radians(angle_deg))
    assert (side.direction, side.quadrant) == (of_8, of_4)
    stands = fall_estimate(fall_angle=math.radians(angle_deg))
    assert (stands.direction, stands.quadrant) == (0, 0)


def test_a_fall_that_begins_slowly_is_not_down() -> None:
    """Tipped by hand at 0.25 rad/s, slower than a robot that lies may roll."""
    slowly = np.arange(0, 0.6, 0.25 * CYCLE_S).tolist()
    assert phases(run(readings([*UPRIGHT, *slowly]))) == [NORMAL, FALLING]
