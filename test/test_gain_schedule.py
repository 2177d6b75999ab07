"""The gain schedule of one robot over falls, modes and faults."""

from dataclasses import replace

import numpy as np
import pytest
from signal_samples import fall_estimate, impact_estimate

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig
from op3_fall.errors import BadInputError
from op3_fall.fall_detection import FallPhase
from op3_fall.gain_schedule import GainConfig, GainPhase, GainSchedule, Scales
from op3_fall.impact_detection import ImpactDetector, ImpactRule
from op3_fall.signals import SensorReading

STAND, GOAL = robot.POSES["stand"], robot.POSES["protect_front"]
COMPLIANCE = ComplianceConfig(
    stiffness_scale=0.5, damping_scale=1.5, restore_s=0.2, longest_soft_s=1.0
)
DAMPED = (0.2, 2.0)
CYCLE_S = 0.008


class Robot:
    """A fall told reading by reading."""

    def __init__(self, **gains: object) -> None:
        self.schedule = GainSchedule(GainConfig(**gains), COMPLIANCE, DAMPED)  # type: ignore[arg-type]
        self.now = 0.0

    def run(
        self, seconds: float, phase: FallPhase, position: np.ndarray, goal: np.ndarray,
        *, subsided: bool = False,
    ) -> list[Scales]:  # fmt: skip
        out = []
        fall, impact = fall_estimate(phase=phase), impact_estimate(subsided=subsided)
        for _ in range(round(seconds / CYCLE_S)):
            self.now += CYCLE_S
            out.append(self.schedule.step(self.now, position, goal, fall, impact))
        return out


def one_fall(robot_: Robot) -> list[Scales]:
    return [
        *robot_.run(0.2, FallPhase.NORMAL, STAND, STAND),
        *robot_.run(0.2, FallPhase.FALLING, STAND, GOAL),
        *robot_.run(0.2, FallPhase.FALLING, GOAL, GOAL),
        *robot_.run(0.2, FallPhase.IMPACT, GOAL, GOAL),
        *robot_.run(0.5, FallPhase.DOWN, GOAL, GOAL, subsided=True),
    ]


def phases(scales: list[Scales]) -> list[GainPhase]:
    """Phases in order, repeats left out."""
    return [s.phase for i, s in enumerate(scales) if i == 0 or s.phase != scales[i - 1].phase]


def test_a_fall_softens_once_the_pose_is_reached_and_restores_when_the_load_has_gone() -> None:
    scales = one_fall(Robot())
    assert phases(scales) == [
        GainPhase.STIFF, GainPhase.SOFT, GainPhase.RESTORE, GainPhase.DONE
    ]  # fmt: skip
    soft = [s for s in scales if s.phase == GainPhase.SOFT]
    assert {(s.stiffness, s.damping) for s in soft} == {(0.5, 1.5)}
    ramp = [s.stiffness for s in scales if s.phase == GainPhase.RESTORE]
    assert np.all(np.diff(ramp) > 0) and np.allclose(np.diff(ramp), 0.5 * CYCLE_S / 0.2)
    assert scales[-1] == Scales(GainPhase.DONE, 1.0, 1.0)


def test_the_goal_before_the_policy_acts_does_not_count_as_reached() -> None:
    robot_ = Robot()
    robot_.run(0.2, FallPhase.NORMAL, STAND, STAND)
    first = robot_.run(0.09, FallPhase.FALLING, STAND, STAND)
    assert phases(first) == [GainPhase.STIFF]


def test_a_second_fall_is_met_like_the_first() -> None:
    robot_ = Robot()
    first, _ = one_fall(robot_), robot_.run(2.0, FallPhase.NORMAL, STAND, STAND)
    second = one_fall(robot_)
    assert [s.phase for s in second] == [s.phase for s in first]
    # Later stamps are other floats, so that the ramps are the same but for rounding.
    assert np.allclose([s.stiffness for s in second], [s.stiffness for s in first])
    assert np.allclose([s.damping for s in second], [s.damping for s in first])


@pytest.mark.parametrize("effort", [0.0, 0.01], ids=["without effort", "with effort"])
def test_restoring_waits_for_the_impact_of_this_fall(effort: float) -> None:
    """The impact detector's own word over two falls, the second through the air for longer."""
    schedule, rule = GainSchedule(GainConfig(), COMPLIANCE, DAMPED), ImpactRule()
    still = SensorReading(
        np.array(0.0), STAND, 0 * STAND, 0 * STAND + effort, np.zeros(3), np.zeros(3), np.eye(4)[0]
    )
    detector = ImpactDetector(still, robot.Servo(), rule)
    now = 0.0

    def lasts(seconds: float, phase: FallPhase, *, blow: bool = False) -> list[GainPhase]:
        nonlocal now
        told = []
        for k in range(round(seconds / CYCLE_S)):
            now += CYCLE_S
            gyro = np.array([3.0 * (blow and k == 0), 0.0, 0.0])
            fall = fall_estimate(phase=phase, clearance=0.0, angular_velocity=gyro)
            impact = detector.step(replace(still, time_s=np.array(now)), fall)
            goal = GOAL if phase else STAND
            told.append(schedule.step(now, goal, goal, fall, impact).phase)
        return told

    for in_the_air_s in (0.3, 0.6):
        assert set(lasts(2.0, FallPhase.NORMAL)[50:]) == {GainPhase.STIFF}
        assert lasts(in_the_air_s, FallPhase.FALLING)[-1] == GainPhase.SOFT
        assert lasts(CYCLE_S, FallPhase.FALLING, blow=True) == [GainPhase.SOFT]
        lying = lasts(0.6, FallPhase.IMPACT)
        assert lying.index(GainPhase.RESTORE) * CYCLE_S == pytest.approx(rule.subsided_s, abs=0.01)
        assert lying[-1] == GainPhase.DONE


def test_stiff_stays_nominal_and_soft_is_soft_at_once() -> None:
    assert {(s.stiffness, s.damping) for s in one_fall(Robot(mode="stiff"))} == {(1.0, 1.0)}
    assert {(s.stiffness, s.damping) for s in one_fall(Robot(mode="soft"))} == {(0.5, 1.5)}


def test_new_scales_act_in_the_middle_of_a_fall() -> None:
    robot_ = Robot()
    robot_.run(0.2, FallPhase.NORMAL, STAND, STAND)
    robot_.run(0.3, FallPhase.FALLING, STAND, GOAL)
    assert robot_.run(0.1, FallPhase.FALLING, GOAL, GOAL)[-1].stiffness == 0.5
    robot_.schedule.change(GainConfig(), ComplianceConfig(stiffness_scale=0.3))
    assert robot_.run(0.1, FallPhase.FALLING, GOAL, GOAL)[0].stiffness == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("gains", "scale", "text"),
    [
        ({"min_stiffness_scale": 0.4}, 0.3,
         "stiffness scale is 0.3; allowed is min_stiffness_scale to max_stiffness_scale, from "
         "0.4 to 1; choose a value in that range"),
        ({"min_stiffness_scale": 0.9, "max_stiffness_scale": 0.8}, 0.8,
         "min stiffness scale 0.9 is above max stiffness scale 0.8; allowed is min <= max; set "
         "both together"),
    ],
)  # fmt: skip
def test_scales_outside_the_bounds_are_refused(
    gains: dict[str, float], scale: float, text: str
) -> None:
    with pytest.raises(BadInputError) as error:
        GainSchedule(GainConfig(**gains), ComplianceConfig(stiffness_scale=scale), DAMPED)  # type: ignore[arg-type]
    assert str(error.value) == text


def test_nominal_registers_and_voltage_make_the_servo() -> None:
    servo = GainConfig(nominal_p_gain=400, nominal_d_gain=100, voltage_v=11.1).servo
    assert servo.p_register(0.5) == 200
    assert servo.d_register(1.0) == 100
    total = servo.back_emf_damping + 100 * servo.damping_per_d
    assert servo.d_register(1.5) == round(100 + 0.5 * total / servo.damping_per_d)
