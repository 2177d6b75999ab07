"""The detector beyond its alarm: phases, direction, velocity, time to impact, a cautious start."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_attitude import held_at, reading

from op3_fall.experiments import Reflex, run_falls
from op3_fall.fall_detection import FallDetector, FallPhase, TiltRule, time_to_impact
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.sensors import GRAVITY
from op3_fall.signals import FallEstimate
from op3_fall.simulation import CYCLE_S, Simulation

FREQUENCY = 5.3


def run(detector: FallDetector, pitch_rad: list[float], **held: float) -> list[FallEstimate]:
    """Readings of a robot that turns through these pitch angles, one a cycle."""
    found = []
    for k, (before, now) in enumerate(zip([pitch_rad[0], *pitch_rad], pitch_rad, strict=False)):
        rate = (now - before) / CYCLE_S
        force = -GRAVITY * gravity_in_body(from_roll_pitch(0.0, now))
        found.append(detector.step(
            reading((k + 1) * CYCLE_S, (0, rate, 0), held.get("g", 1.0) * force),
            felt=k == held.get("felt_at", -1),
        ))  # fmt: skip
    return found


def phases(estimates: list[FallEstimate]) -> list[int]:
    """In order, repeats left out."""
    told = [int(e.phase) for e in estimates]
    return [p for i, p in enumerate(told) if i == 0 or told[i - 1] != p]


def test_a_fall_goes_through_its_phases_and_the_detector_waits_for_the_next() -> None:
    upright, fallen = [0.0] * 200, [1.5] * 100
    down = np.linspace(0, 1.5, 50).tolist()
    up = np.linspace(1.5, 0, 100).tolist()
    story = [*upright, *down, *fallen, *up, *upright, *down, *fallen]
    found = run(FallDetector(reading(0.0)), story, felt_at=240)
    again = [FallPhase.FALLING, FallPhase.DOWN]
    assert phases(found) == [
        FallPhase.NORMAL, FallPhase.FALLING, FallPhase.IMPACT, FallPhase.DOWN, FallPhase.NORMAL,
        *again,
    ]  # fmt: skip
    assert all(np.isfinite(e.time_to_impact) == (e.phase == 1) for e in found if e.tilt < 1.2)


def test_a_blow_is_an_impact_even_if_no_torque_showed_it() -> None:
    detector = FallDetector(reading(0.0))
    run(detector, np.linspace(0, 1.0, 40).tolist())
    blow = reading(1.0, (0, 1, 0), (0, 0, 1.9 * GRAVITY))
    assert detector.step(blow).phase == FallPhase.IMPACT


@pytest.mark.parametrize(
    ("roll_deg", "pitch_deg", "direction"),
    [(0, 30, 1), (21, 21, 2), (30, 0, 3), (21, -21, 4), (0, -30, 5), (-21, -21, 6), (-30, 0, 7),
     (-21, 21, 8)],
)  # fmt: skip
def test_the_direction_goes_clockwise_from_the_front(
    roll_deg: float, pitch_deg: float, direction: int
) -> None:
    detector = FallDetector(held_at(math.radians(roll_deg), math.radians(pitch_deg)))
    for k in range(1, 4):
        last = detector.step(held_at(math.radians(roll_deg), math.radians(pitch_deg), k * CYCLE_S))
    assert last.direction == direction


def test_no_direction_before_a_fall() -> None:
    assert FallDetector(held_at(0.1, 0.1)).step(held_at(0.1, 0.1, CYCLE_S)).direction == 0


@given(st.floats(0.05, 1.4), st.floats(-math.pi, math.pi), st.floats(-5, 5))
def test_the_fall_velocity_is_the_rate_of_the_tilt(
    tilt: float, heading: float, rate: float
) -> None:
    """Turning about the axis square to the lean; a turn about the vertical tilts nothing."""
    lean = np.array([math.cos(heading), -math.sin(heading), 0.0])
    axis = np.array([math.sin(heading), math.cos(heading), 0.0])
    down = math.sin(tilt) * lean + np.array([0, 0, -math.cos(tilt)])
    detector = FallDetector(reading(0.0, (0, 0, 0), -GRAVITY * down))
    found = detector.step(reading(0.0, rate * axis, -GRAVITY * down))
    assert found.fall_velocity == pytest.approx(rate, abs=1e-9)
    about_lean = FallDetector(reading(0.0, (0, 0, 0), -GRAVITY * down))
    spin = about_lean.step(reading(0.0, rate * down, -GRAVITY * down))
    assert spin.fall_velocity == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.1, 1.1), st.floats(0.0, 6.0))
def test_time_to_impact_is_the_pendulums(tilt: float, rate: float) -> None:
    """Against a simulation of the same pendulum in steps of 0.1 ms."""
    found = float(time_to_impact(np.array(tilt), np.array(rate)))
    angle, speed, time_s = tilt, rate, 0.0
    while angle < 1.2:
        speed += FREQUENCY**2 * math.sin(angle) * 1e-4
        angle += speed * 1e-4
        time_s += 1e-4
    assert found == pytest.approx(time_s, rel=2e-3, abs=2e-4)


def test_time_to_impact_at_and_beyond_the_ends() -> None:
    tilt = np.array([1.3, 0.3, 0.3])
    found = time_to_impact(tilt, np.array([-1.0, -0.1, 0.5]))
    assert found[0] == 0.0 and math.isnan(found[1]) and found[2] > 0


def test_in_simulated_falls_the_predicted_time_is_of_the_right_size() -> None:
    """The bound is coarse: the detector's benchmark comes with the better detectors."""
    falls = 8
    run_ = run_falls(
        Simulation(falls), pushed_stand(PushSpec(direction_deg=180.0), np.arange(falls), seed=0),
        Reflex(), np.zeros(falls, dtype=bool), duration_s=1.5,
    )  # fmt: skip
    for k in range(falls):
        time_s = run_.log["time_s"][:, k]
        at_alarm = int(np.argmax(time_s >= run_.events.alarm_s[k]))
        predicted = run_.log["time_to_impact_s"][at_alarm, k]
        assert predicted == pytest.approx(run_.truth.impact_s[k] - time_s[at_alarm], abs=0.12)


def test_a_start_that_may_be_wrong_raises_no_alarm_and_is_corrected() -> None:
    """The first accelerometer reading was of a robot that moved: 17 degrees off."""
    wrong = held_at(0.0, math.radians(17))
    hasty = FallDetector(wrong)
    careful = FallDetector(wrong, TiltRule(settle_s=0.3))
    upright = [held_at(0.0, 0.0, k * CYCLE_S) for k in range(1, 100)]
    assert any(hasty.step(r).falling for r in upright)
    found = [careful.step(r) for r in upright]
    assert not any(e.falling for e in found)
    assert found[36].tilt < math.radians(1.5)


def test_settling_rows_do_not_disturb_the_others() -> None:
    starts, still = np.array([0.0, 0.2]), np.zeros((2, 3))
    rule, upright = TiltRule(settle_s=0.1), np.tile([0.0, 0.0, GRAVITY], (2, 1))
    late = FallDetector(reading(starts, still, upright), rule)
    one = FallDetector(reading(0.2), rule)
    force = -GRAVITY * gravity_in_body(from_roll_pitch(0.0, 0.2))
    for k in range(1, 30):
        both = late.step(reading(starts + k * CYCLE_S, still, np.tile(force, (2, 1))))
        single = one.step(reading(0.2 + k * CYCLE_S, (0, 0, 0), force))
        assert both.tilt[1] == single.tilt
