# SPDX-License-Identifier: Apache-2.0
"""Impacts felt in hand-made joint torques and motions: blows, goals, nearness, calm."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from test_attitude import CYCLE_S, reading

from op3_fall import robot
from op3_fall.fall_detection import FallPhase
from op3_fall.impact_detection import ImpactDetector, ImpactRule
from op3_fall.signals import FallEstimate, ImpactEstimate, ImpactSense, ReadingUse, SensorReading

Array = NDArray[np.float64]
SERVO, RULE = robot.Servo(), ImpactRule()
INDEX = robot.JOINT_INDEX
FREE = [INDEX[joint] for joint in (*robot.HEAD, *robot.ARMS)]
LEGS = [INDEX[joint] for joint in robot.LEGS]
NEAR_M = RULE.near_m - 0.001
BLOW, TAP = 1.01 * RULE.gear_n_m, 0.99 * RULE.gear_n_m


def loaded(k: int, torque: float | Array, velocity: float | Array = 0.0) -> SensorReading:
    """Reading number `k` with these torques in N m and velocities, of all joints or each."""
    return replace(
        reading(k * CYCLE_S), effort=np.zeros(20) + torque * SERVO.effort_per_n_m,
        velocity=np.zeros(20) + velocity,
    )  # fmt: skip


def falling(
    phase: int = FallPhase.FALLING, clearance: float = NEAR_M, rate: ArrayLike = (0, 0, 0),
    force: ArrayLike = (0, 0, 0), use: int = ReadingUse.USED,
) -> FallEstimate:  # fmt: skip
    """What the impact detector is told of a fall."""
    zero, vector = np.array(0.0), np.zeros(3)
    return FallEstimate(
        phase=np.array(int(phase)), tilt=zero, margin=zero, fall_angle=zero, fall_velocity=zero,
        fast=np.array(False), time_to_impact=zero, clearance=np.array(clearance), gravity=vector,
        angular_velocity=np.array(rate, dtype=float), specific_force=np.array(force, dtype=float),
        use=np.array(int(use)),
    )  # fmt: skip


def on(joints: list[int], total: float) -> Array:
    """`total` N m spread over these joints with changing sign."""
    torque = np.zeros(20)
    torque[joints] = np.where(np.arange(len(joints)) % 2, 1.0, -1.0) * total / len(joints)
    return torque


def run(
    torques: Sequence[float | Array], velocities: Sequence[float | Array] | None = None,
    falls: list[FallEstimate] | None = None, rule: ImpactRule | None = None,
) -> list[ImpactEstimate]:  # fmt: skip
    """Estimates after each reading but the first, of robots that fall and are near the floor."""
    still = [0.0] * len(torques)
    stream = [
        loaded(k, torque, velocity)
        for k, (torque, velocity) in enumerate(zip(torques, velocities or still, strict=True))
    ]
    falls = falls or [falling()] * len(stream)
    detector = ImpactDetector(stream[0], SERVO, rule)
    return [detector.step(*both) for both in zip(stream[1:], falls[1:], strict=True)]


def onsets(found: list[ImpactEstimate]) -> list[int]:
    """Numbers of the readings in which an impact is felt."""
    for k, impact in enumerate(found):
        assert impact.count == sum(int(f.onset) for f in found[: k + 1])
    return [k for k, impact in enumerate(found, start=1) if impact.onset]


REST = np.full(20, 0.1)


def blows(*sizes: float, joints: list[int] = FREE) -> list[Array]:
    """Torques that change by these sums from one reading to the next, there and back."""
    level = np.cumsum([s * (-1) ** k for k, s in enumerate(sizes)])
    return [REST, *(REST + on(joints, float(x)) for x in level)]


@pytest.mark.parametrize(
    ("torques", "expected"),
    [
        (blows(0, 0, 0), []),
        (blows(TAP, 0, TAP, 0), []),
        (blows(0, BLOW, 0, 0), [2]),
        ([*blows(BLOW), REST], [1]),
        ([REST + on(FREE, 9), REST], [1]),
        (blows(9, joints=LEGS), []),
    ],
    ids=["quiet", "taps", "one", "it rings", "a drop is one too", "the legs do not count"],
)
def test_an_impact_is_a_change_of_what_the_gears_carry(
    torques: list[Array], expected: list[int]
) -> None:
    found = run(torques)
    assert onsets(found) == expected
    for k, impact in enumerate(found, start=1):
        now, before = np.array(torques[k]), np.array(torques[k - 1])
        assert impact.spike == pytest.approx(np.abs(now - before)[FREE].sum())
        assert impact.torque_load == pytest.approx(np.abs(now).sum())
        felt = any(e <= k for e in expected)
        assert impact.sense == (ImpactSense.TORQUE if felt else ImpactSense.NONE)


torque_steps = st.lists(
    st.lists(st.floats(-4.1, 4.1), min_size=8, max_size=8), min_size=2, max_size=15
)


def accelerated(torques: list[list[float]], carried: float) -> tuple[list[Array], list[Array]]:
    """The servos' physics: what the gears do not carry accelerates the rotors."""
    full, speeds = [REST], [np.zeros(20)]
    for values in torques:
        torque = REST.copy()
        torque[FREE] = values
        spent = torque - carried
        spent[LEGS] = 0.0
        full.append(torque)
        speeds.append(speeds[-1] + spent / SERVO.ARMATURE_KG_M2 * CYCLE_S)
    return full, speeds


@given(torque_steps)
def test_a_step_of_the_goal_is_no_impact(torques: list[list[float]]) -> None:
    """Any torque that only accelerates the rotor: what the gears carry stays as it was."""
    found = run(*accelerated(torques, carried=0.1))
    assert onsets(found) == []
    assert all(impact.spike < 1e-9 for impact in found)


@given(torque_steps)
def test_the_same_torques_without_the_acceleration_are_blows(torques: list[list[float]]) -> None:
    full, _ = accelerated(torques, carried=0.1)
    changes = [np.abs(b - a)[FREE].sum() for a, b in itertools.pairwise(full)]
    found = run(full)
    assert bool(onsets(found)) == any(change > RULE.gear_n_m for change in changes)


def test_a_joint_that_is_stopped_is_an_impact_though_its_torque_does_not_change() -> None:
    stopped = RULE.gear_n_m / SERVO.ARMATURE_KG_M2 * CYCLE_S
    speeds = [np.full(20, 5.0)] * 3
    for share, felt in ((1.01, [3]), (0.99, [])):
        after = speeds[0].copy()
        after[INDEX["l_el"]] -= share * stopped
        assert onsets(run([REST] * 4, [*speeds, after])) == felt


@pytest.mark.parametrize(
    ("fall", "felt"),
    [
        (falling(), True),
        (falling(clearance=RULE.near_m + 0.001), False),
        (falling(clearance=-0.05), True),
        (falling(phase=FallPhase.DOWN), True),
        (falling(phase=FallPhase.NORMAL, clearance=np.nan), False),
        (falling(phase=0, clearance=np.nan, use=ReadingUse.JUMP), False),
        (falling(use=ReadingUse.REPEATED), False),
        (falling(use=ReadingUse.NOT_FINITE), False),
    ],
    ids=["near", "far", "below", "lying", "standing", "jump", "repeated", "not finite"],
)
def test_a_blow_counts_near_the_floor_and_in_readings_that_are_used(
    fall: FallEstimate, felt: bool
) -> None:
    found = run(blows(0, 1.01 * RULE.again * RULE.gear_n_m), falls=[falling(), falling(), fall])
    assert onsets(found) == ([2] if felt else [])


@pytest.mark.parametrize("phase", [FallPhase.IMPACT, FallPhase.DOWN])
def test_after_the_first_impact_only_a_larger_blow_is_felt(phase: FallPhase) -> None:
    later = [falling(), falling(phase=phase), falling(phase=phase)]
    for share, felt in ((0.99, []), (1.01, [2])):
        blow = blows(0, share * RULE.again * RULE.gear_n_m)
        assert onsets(run(blow, falls=later)) == felt


@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, TAP, BLOW]), min_size=1, max_size=60))
def test_blows_in_quick_succession_are_one_impact(sizes: list[float]) -> None:
    """What is closer than `refractory_s` to the last blow belongs to its impact."""
    expected, last_s = list[int](), -np.inf
    for k, size in enumerate(sizes, start=1):
        if size == BLOW:
            expected += [k] if k * CYCLE_S - last_s > RULE.refractory_s else []
            last_s = k * CYCLE_S
    assert onsets(run(blows(*sizes))) == expected


def test_a_later_blow_is_a_second_impact() -> None:
    apart = int(RULE.refractory_s / CYCLE_S) + 1
    found = run(blows(BLOW, *[0] * (apart - 1), BLOW, 0))
    assert onsets(found) == [1, 1 + apart]
    assert found[-1].count == 2


CALM, LOUD = 0.9 * RULE.subsided_n_m, 1.1 * RULE.subsided_n_m
WAIT = int(np.ceil(RULE.subsided_s / CYCLE_S - 1e-9))


def told(torques: list[float], phases: Sequence[int], **stock: list[float]) -> list[bool]:
    """`subsided` with total torques on the legs, and gyro rates where there is no effort."""
    rates = stock.get("rates", [0.0] * len(torques))
    falls = [
        falling(phase=p, rate=(0, r, 0), clearance=1.0) for p, r in zip(phases, rates, strict=True)
    ]
    loads: list[Array] = [on(LEGS, t) for t in torques]
    return [bool(f.subsided) for f in run(loads, falls=falls)]


def test_the_load_has_subsided_when_it_stayed_low_for_a_while() -> None:
    after = [FallPhase.IMPACT] * (2 * WAIT + 11)
    quiet = [LOUD] * 5 + [CALM] * (2 * WAIT + 6)
    assert told(quiet, after) == [False] * (4 + WAIT) + [True] * (WAIT + 6)
    rings = quiet.copy()
    rings[WAIT // 2 + 5] = LOUD
    start = WAIT // 2 + 6
    assert told(rings, after) == [False] * (start - 1 + WAIT) + [True] * (WAIT - start + 11)


@pytest.mark.parametrize("phase", [FallPhase.NORMAL, FallPhase.FALLING])
def test_before_the_contact_no_load_has_subsided(phase: FallPhase) -> None:
    assert not any(told([CALM] * 3 * WAIT, [phase] * 3 * WAIT))


def test_a_new_blow_is_a_new_load() -> None:
    """Even if the total torque stays low: the time counts from the blow."""
    count = 2 * WAIT
    torques = [*blows(0, *[0] * count, 0.9 * CALM), *[REST * 0] * (2 * WAIT)]
    hit = count + 2
    falls = [falling(phase=FallPhase.IMPACT)] * len(torques)
    found = [bool(f.subsided) for f in run(torques, falls=falls, rule=ImpactRule(gear_n_m=1.0))]
    assert found[hit - 2] and not any(found[hit - 1 : hit + WAIT - 1]) and found[-1]


TURN, STOCK_TURN, JOLT = RULE.stock_turn_rad_s, RULE.stock_turn_rad_s, RULE.stock_force_m_s2


@pytest.mark.parametrize(
    ("rate", "force", "effort", "sense"),
    [
        ((0, 1.01 * STOCK_TURN, 0), (0, 0, 0), 0.0, ImpactSense.INERTIAL),
        ((0, 0.99 * STOCK_TURN, 0), (0, 0, 0), 0.0, ImpactSense.NONE),
        ((0.6 * STOCK_TURN,) * 3, (0, 0, 0), 0.0, ImpactSense.INERTIAL),
        ((0, 0, 0), (0, 1.01 * JOLT, 0), 0.0, ImpactSense.INERTIAL),
        ((0, 0, 0), (0, 0, -0.99 * JOLT), 0.0, ImpactSense.NONE),
        ((0, 0, 0), (0, 9 * JOLT, 0), 0.1, ImpactSense.NONE),
        ((0, -1.01 * RULE.turn_rad_s, 0), (0, 0, 0), 0.1, ImpactSense.INERTIAL),
        ((0, -0.99 * RULE.turn_rad_s, 0), (0, 0, 0), 0.1, ImpactSense.NONE),
    ],
)
def test_gyro_and_accelerometer_feel_what_the_joints_do_not(
    rate: ArrayLike, force: ArrayLike, effort: float, sense: ImpactSense
) -> None:
    """Without effort both listen; with it a foot that lands must not be felt by the force."""
    torques: list[Array] = [np.full(20, effort)] * 4
    hit = falling(rate=rate, force=force)
    found = run(torques, falls=[falling(), falling(), hit, hit])
    assert onsets(found) == ([2] if sense else [])
    assert found[-1].sense == sense
    if not effort:
        assert np.isnan([[f.torque_load, f.spike, f.peak] for f in found]).all()


def test_the_joints_are_named_before_gyro_and_accelerometer() -> None:
    hit = falling(rate=(0, 2 * TURN, 0))
    assert run(blows(0, BLOW), falls=[falling(), falling(), hit])[-1].sense == ImpactSense.TORQUE


def test_without_effort_the_load_subsides_with_the_turning() -> None:
    fast, slow = 1.1 * RULE.subsided_rad_s, 0.9 * RULE.subsided_rad_s
    rates = [fast] * 5 + [slow] * (WAIT + 6)
    found = told([0.0] * len(rates), [FallPhase.DOWN] * len(rates), rates=rates)
    assert found == [False] * (4 + WAIT) + [True] * 6


def test_the_peak_is_the_largest_load_since_the_latest_impact() -> None:
    apart = int(RULE.refractory_s / CYCLE_S) + 2
    sizes = [0, 20, 10, 25, *[0] * apart, 12, 0, 14]
    torques: list[Array] = [on(FREE, s) for s in (5, 5, *sizes)]
    found = run(torques)
    peaks = [float(f.peak) for f in found]
    hits, loads = onsets(found), [5, 5, *sizes]
    for k, peak in enumerate(peaks, start=1):
        since = [h for h in hits if h <= k]
        if since:
            assert peak == pytest.approx(max(loads[since[-1] : k + 1]))
        else:
            assert np.isnan(peak)
    assert len(hits) > 1


@given(st.sampled_from(FREE + LEGS), st.sampled_from([np.nan, np.inf, -np.inf]), st.booleans())
def test_efforts_and_velocities_that_are_no_numbers_alarm_nobody(
    joint: int, value: float, velocity: bool
) -> None:
    broken = REST.copy()
    broken[joint] = value
    series: list[Array] = [REST, REST, broken, *[REST] * 4, REST + on(FREE, 9)]
    steady: list[Array] = [*[REST] * 7, REST + on(FREE, 9)]
    found = run(steady, [*series[:-1], REST]) if velocity else run(series)
    assert onsets(found) == [7], "the blow at the end, and nothing before"


def test_an_effort_that_is_no_number_does_not_cost_the_peak() -> None:
    broken = REST.copy()
    broken[LEGS[0]] = np.nan
    found = run([REST, REST + on(FREE, 9), broken, REST, REST])
    assert onsets(found) == [1]
    assert found[-1].peak == pytest.approx(np.abs(REST + on(FREE, 9)).sum())


def test_a_robot_that_stands_is_told_the_same_whatever_its_neighbour_does() -> None:
    """It has fallen, hit and got up; then it works hard, beside one that stands or falls."""
    torques = [REST, REST + on(FREE, 9), *[REST] * 5, on(LEGS, 30), REST]
    own = [falling(), falling(), *[falling(FallPhase.NORMAL, np.nan)] * 7]

    def beside(neighbour: FallEstimate) -> list[ImpactEstimate]:
        stream = [loaded(k, torque) for k, torque in enumerate(torques)]
        both = [
            SensorReading(**{name: np.stack([value] * 2) for name, value in vars(one).items()})
            for one in stream
        ]
        detector = ImpactDetector(both[0], SERVO)
        found = []
        for one, fall in zip(both[1:], own[1:], strict=True):
            falls = FallEstimate(**{
                name: np.stack([value, getattr(neighbour, name)])
                for name, value in vars(fall).items()
            })  # fmt: skip
            found.append(detector.step(one, falls))
        return found

    stands, falls = beside(falling(FallPhase.NORMAL, np.nan)), beside(falling())
    assert [float(f.peak[0]) for f in stands] == pytest.approx([float(f.peak[0]) for f in falls])
    assert stands[-1].peak[0] == pytest.approx(30), "the largest since the latest impact"


def test_lost_readings_are_no_blow() -> None:
    """A velocity that changed over a gap of five cycles is no larger acceleration."""
    speed = RULE.gear_n_m / SERVO.ARMATURE_KG_M2 * CYCLE_S
    detector = ImpactDetector(loaded(0, REST), SERVO)
    later = loaded(5, REST, 4 * speed / len(FREE))
    assert not detector.step(later, falling()).onset
    assert ImpactDetector(loaded(0, REST), SERVO).step(
        loaded(1, REST, 4 * speed / len(FREE)), falling()
    ).onset  # fmt: skip
