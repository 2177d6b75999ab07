# SPDX-License-Identifier: Apache-2.0
"""Laws of both detectors together, and what they say of simulated robots."""

import math
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_attitude import CYCLE_S, MIRROR_PSEUDOVECTOR, MIRROR_VECTOR, reading

from op3_fall import robot
from op3_fall.detectors import DetectorConfig, Detectors
from op3_fall.episode_runs import play
from op3_fall.episodes import draw, seeds_of
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.rows import assign, take
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.sensors import GRAVITY
from op3_fall.signals import (
    FallEstimate,
    ImpactEstimate,
    JointCommand,
    ReadingUse,
    SensorReading,
)
from op3_fall.simulation import Simulation

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

Array = NDArray[np.float64]
Told = list[tuple[FallEstimate, ImpactEstimate]]
CONFIG, SERVO = DetectorConfig(), robot.Servo()
STAND = robot.POSES["stand"]
NAMES = [f.name for f in fields(SensorReading)]
ANGLES = {"fall_angle"}
VECTORS = {"gravity": MIRROR_VECTOR, "specific_force": MIRROR_VECTOR,
           "angular_velocity": MIRROR_PSEUDOVECTOR}  # fmt: skip
# The same seeds every time: a margin within rounding of its threshold is no defect.
some_seeds = settings(max_examples=10, derandomize=True, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def tumble(seed: int, shape: tuple[int, ...] = (), cycles: int = 130) -> list[SensorReading]:
    """Robots that stand, then tip to some side with everything moving and noisy; some hit."""
    rng = np.random.default_rng(seed)
    side = rng.uniform(-math.pi, math.pi, shape)
    speed, start = rng.uniform(1, 4, shape), rng.integers(45, 60, shape)
    phase, joints = rng.uniform(0, 6, (*shape, 20)), rng.uniform(0, 0.3, (*shape, 20))
    stream = []
    for k in range(cycles):
        tilt = np.minimum(speed * np.maximum(k - start, 0) * CYCLE_S, 1.5)
        lies = (tilt == 1.5)[..., None]
        turning = speed * (k >= start) * (tilt < 1.5)
        roll, pitch = tilt * np.sin(side), tilt * np.cos(side)
        axis = np.stack([np.sin(side), np.cos(side), 0 * side], axis=-1)
        gyro = turning[..., None] * axis + rng.normal(0, 0.02, (*shape, 3))
        force = -GRAVITY * gravity_in_body(from_roll_pitch(roll, pitch))
        force = force + (0.3 + lies) * rng.normal(size=(*shape, 3))
        swing = np.sin(phase + 0.05 * k)
        one = reading(k * CYCLE_S, gyro, force)
        stream.append(replace(
            one, position=STAND + joints * swing, velocity=joints * np.cos(phase + 0.05 * k) * 6,
            effort=(0.05 + lies * (k % 20 < 8)) * rng.normal(size=(*shape, 20)),
        ))  # fmt: skip
    return stream


def run(stream: list[SensorReading], config: DetectorConfig | None = None) -> Told:
    detectors = Detectors(stream[0], SERVO, config)
    return [detectors.step(one) for one in stream[1:]]


def assert_same(
    found: Told, other: Told, change: Callable[[str, Array], Array] = lambda _, value: value,
    atol: float = 1e-4, skip: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Every field of both estimates; angles around the circle."""
    for mine, theirs in zip(zip(*found, strict=True), zip(*other, strict=True), strict=True):
        for name in (f.name for f in fields(mine[0]) if f.name not in skip):
            x, y = (np.array([getattr(e, name) for e in told]) for told in (mine, theirs))
            x = change(name, x)
            if name in ANGLES:
                x, y = np.cos(x - y), np.ones_like(y)
            np.testing.assert_allclose(x, y, atol=atol, rtol=1e-4, err_msg=name)


def changed(
    stream: list[SensorReading], **change: Callable[[Array], Array]
) -> list[SensorReading]:
    return [
        replace(one, **{name: f(getattr(one, name)) for name, f in change.items()})
        for one in stream
    ]


def test_the_hand_made_robots_fall_and_hit() -> None:
    """Or the laws below say nothing."""
    told = run(tumble(1, (60,)))
    phase = np.array([fall.phase for fall, _ in told])
    assert (phase == 1).any(axis=0).sum() > 50
    assert told[-1][1].count.sum() > 10
    assert (phase == 2).any(axis=0).sum() > 10


@some_seeds
@given(seeds)
def test_mirrored_readings_give_mirrored_estimates(seed: int) -> None:
    stream = tumble(seed)
    mirrored = changed(
        stream, position=robot.mirror_joints, velocity=robot.mirror_joints,
        effort=robot.mirror_joints, angular_velocity=lambda v: v * MIRROR_PSEUDOVECTOR,
        linear_acceleration=lambda v: v * MIRROR_VECTOR,
    )  # fmt: skip

    def mirror(name: str, value: Array) -> Array:
        return -value if name in ANGLES else value * VECTORS.get(name, 1)

    assert_same(run(stream), run(mirrored), mirror)


@some_seeds
@given(seeds, st.floats(-1e4, 1e4))
def test_the_drivers_orientation_and_its_heading_change_nothing(seed: int, number: float) -> None:
    stream = tumble(seed)
    turned = changed(stream, orientation=lambda q: q + number)
    assert_same(run(stream), run(turned), atol=0)


@some_seeds
@given(st.floats(-4, 4))
def test_turning_on_the_spot_is_no_fall(rate: float) -> None:
    stream = [reading(k * CYCLE_S, (0, 0, rate)) for k in range(150)]
    for fall, impact in run(stream):
        assert not fall.falling and not impact.onset
        assert fall.tilt < 1e-5
        assert fall.fall_velocity == pytest.approx(0, abs=1e-5)


@some_seeds
@given(seeds, st.sampled_from([-1000.0, 0.5, 3600.0, 1e6]))
def test_stamps_count_from_anywhere(seed: int, shift: float) -> None:
    stream = tumble(seed)
    assert_same(run(stream), run(changed(stream, time_s=lambda t: t + shift)), atol=2e-3)


def falls_to_front(cycles: int) -> list[SensorReading]:
    """Smooth, as the driver filters it: tips over within half a second after standing."""
    times = np.arange(cycles) * CYCLE_S
    share = np.clip((times - 0.6) / 0.5, 0, 1)
    pitch = 1.4 * share**2
    rate, lag, stream = np.gradient(pitch, CYCLE_S), 0.0, []
    for k in range(cycles):
        lag += 0.4 * (rate[k] - lag)
        force = -GRAVITY * gravity_in_body(from_roll_pitch(0.0, pitch[k]))
        stream.append(reading(times[k], (0, lag, 0), force))
    return stream


def alarm_s(stream: list[SensorReading]) -> float:
    told = run(stream)
    return next(float(r.time_s) for r, (f, _) in zip(stream[1:], told, strict=True) if f.falling)


@pytest.mark.parametrize("every", [2, 3, 5])
def test_the_same_motion_with_readings_left_out_gives_the_same_estimates(every: int) -> None:
    """Time is the readings' own, whatever their rate."""
    stream = falls_to_front(130)
    dense, sparse = run(stream)[every - 1 :: every], run(stream[::every])
    for (a, _), (b, _) in zip(dense, sparse, strict=False):
        assert b.tilt == pytest.approx(a.tilt, abs=math.radians(3))
        assert b.margin == pytest.approx(a.margin, abs=0.02 + 0.05 * abs(float(a.margin)))
    late = alarm_s(stream[::every]) - alarm_s(stream)
    assert -CYCLE_S < late < CONFIG.fall.hold_s + 2 * every * CYCLE_S


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1,), (1, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_batch_gives_what_each_robot_gives(seed: int, shape: tuple[int, ...]) -> None:
    stream = tumble(seed, shape)
    batch = run(stream)
    for fall, impact in batch:
        assert fall.phase.shape == fall.margin.shape == impact.onset.shape == shape
        assert fall.gravity.shape == (*shape, 3)
    for i in np.ndindex(shape):
        alone = run([
            replace(one, **{name: getattr(one, name)[i] for name in NAMES}) for one in stream
        ])  # fmt: skip
        picked: Told = [
            tuple(replace(e, **{f.name: getattr(e, f.name)[i] for f in fields(e)}) for e in both)  # type: ignore[misc]
            for both in batch
        ]
        assert_same(picked, alone, atol=1e-5)


faults = st.sampled_from(["repeat", "back", "ahead", "gap", *(f"{v} {n}" for n in NAMES
                         for v in ("nan", "inf"))])  # fmt: skip
_OF_TIME = ("repeat", "back", "ahead", "gap")
_READ = ("time_s", "position", "velocity", "effort", "angular_velocity", "linear_acceleration")


class Faulty:
    """A stream that is damaged on its way."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def damage(
        self, one: SensorReading, fault: str | None, place: int, due_s: float | None = None
    ) -> SensorReading:
        """The next reading with that fault; `place` says in which component."""
        fault, now_s = fault or "", self._now_s
        self._now_s = {
            "repeat": now_s, "back": now_s - 0.5, "ahead": now_s + 2 * CONFIG.fall.longest_gap_s,
            "gap": now_s + 0.9 * CONFIG.fall.longest_gap_s,
        }.get(fault, now_s + CYCLE_S if due_s is None else due_s)  # fmt: skip
        one = replace(one, time_s=np.array(self._now_s))
        if not fault or fault in _OF_TIME:
            return one
        number, name = fault.split()
        value = np.array(getattr(one, name), dtype=float)
        value.reshape(-1)[place % value.size] = float(number)
        return replace(one, **{name: value})


def expected_use(one: SensorReading, last_s: float) -> ReadingUse:
    """By the documented rule, after a reading at `last_s` that was used or began anew."""
    if not all(np.isfinite(getattr(one, name)).all() for name in _READ):
        return ReadingUse.NOT_FINITE
    gap_s = float(one.time_s) - last_s
    if gap_s == 0:
        return ReadingUse.REPEATED
    return ReadingUse.USED if 0 < gap_s <= CONFIG.fall.longest_gap_s else ReadingUse.JUMP


def noisy(rng: np.random.Generator, lying: bool = False) -> SensorReading:
    """Of a robot that stands, or lies on its front."""
    force = np.array([-GRAVITY, 0, 0] if lying else [0, 0, GRAVITY])
    one = reading(0.0, rng.normal(0, 0.01, 3), force + rng.normal(0, 0.1, 3))
    return replace(
        one, position=STAND + rng.normal(0, 0.001, 20), velocity=rng.normal(0, 0.004, 20),
        effort=rng.normal(0, 0.01, 20),
    )  # fmt: skip


@pytest.mark.parametrize("lying", [False, True], ids=["standing", "lying"])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), faults, st.integers(0, 19)), max_size=8), seeds)
def test_no_fault_of_the_readings_makes_an_alarm_or_an_impact(
    lying: bool, events: list[tuple[int, str, int]], seed: int
) -> None:
    """Repeats, gaps, jumps and values that are no numbers, anywhere; and each is reported."""
    rng, line = np.random.default_rng(seed), Faulty(10.0)
    detectors, last_s = Detectors(replace(noisy(rng, lying), time_s=np.array(10.0)), SERVO), 10.0
    plan: list[tuple[str | None, int]] = [(None, 0)] * 50
    for wait, fault, place in events:
        plan += [*[(None, 0)] * wait, (fault, place)]
    for fault, place in [*plan, *[(None, 0)] * 50]:
        one = line.damage(noisy(rng, lying), fault, place)
        fall, impact = detectors.step(one)
        assert fall.phase in ((0, 3) if lying else (0,)), fault
        assert not impact.onset and impact.count == 0, fault
        assert np.isfinite([fall.tilt, fall.margin, fall.fall_velocity]).all()
        assert fall.use == expected_use(one, last_s), fault
        if fall.use in (ReadingUse.USED, ReadingUse.JUMP):
            last_s = float(one.time_s)


@pytest.mark.parametrize("fault", ["repeat", "gap", *(f"nan {n}" for n in NAMES)])
def test_a_fall_is_seen_through_faults(fault: str) -> None:
    """Every fourth reading is damaged; the fall is noticed as good as without."""
    line, whole = Faulty(0.0), falls_to_front(130)
    damaged = whole[:1]
    for k, one in enumerate(whole[1:], start=1):
        broken = fault if k % 4 == 0 and fault != "gap" else None
        if fault != "gap" or not 85 < k < 90:
            damaged.append(line.damage(one, broken, k, k * CYCLE_S))
    told = run(damaged)
    first = next(r for r, (f, _) in zip(damaged[1:], told, strict=True) if f.falling)
    assert first.time_s - alarm_s(whole) < 6 * CYCLE_S


@pytest.mark.parametrize("fault", ["repeat", *(f"nan {n}" for n in _READ)])
def test_a_reading_that_is_not_used_changes_nothing(fault: str) -> None:
    """In a fall, after its impact, and lying."""
    stream, line = tumble(5), Faulty(0.0)
    lying = [replace(noisy(np.random.default_rng(0), True), time_s=np.array(k * CYCLE_S))
             for k in range(130, 250)]  # fmt: skip
    detectors, reached = Detectors(stream[0], SERVO), set()
    for k, one in enumerate([*stream[1:], *lying], start=1):
        good = line.damage(one, None, 0, k * CYCLE_S)
        before = detectors.step(good)
        fall, impact = detectors.step(line.damage(one, fault, k, (k + 0.5) * CYCLE_S))
        assert not impact.onset
        unread = replace(fall, use=before[0].use), replace(impact, onset=before[1].onset)
        assert_same([unread], [before], atol=0, skip=("torque_load", "spike", "time_to_impact"))
        line.damage(one, None, 0, k * CYCLE_S)
        reached |= {int(fall.phase), 10 * int(before[1].subsided)}
    assert reached == {0, 1, 2, 3, 10}, "every phase, and a load that has subsided"


def test_some_rows_stumble_while_others_go_on() -> None:
    """Repeats, jumps and NaN in rows 1 to 4 leave rows 0 and 5 what they are alone."""
    stream = tumble(7, (6,))
    faults_of = {1: "repeat", 2: "back", 3: "nan position", 4: "inf time_s"}
    lines = {i: Faulty(0.0) for i in range(6)}
    damaged = [stream[0]]
    for k, one in enumerate(stream[1:], start=1):
        rows = []
        for i in range(6):
            mine = replace(one, **{name: getattr(one, name)[i] for name in NAMES})
            fault = faults_of.get(i) if k % 5 == 0 else None
            rows.append(lines[i].damage(mine, fault, k, k * CYCLE_S))
        damaged.append(SensorReading(**{
            name: np.array([getattr(row, name) for row in rows]) for name in NAMES
        }))  # fmt: skip
    batch = run(damaged)
    uses = np.array([fall.use for fall, _ in batch])
    assert [list(np.unique(uses[:, i])) for i in range(6)] == [
        [0], [0, 1], [0, 2], [0, 3], [0, 3], [0]
    ]  # fmt: skip
    for i in range(6):
        alone = run([
            replace(one, **{name: getattr(one, name)[i] for name in NAMES}) for one in damaged
        ])  # fmt: skip
        picked: Told = [
            tuple(replace(e, **{f.name: getattr(e, f.name)[i] for f in fields(e)}) for e in both)  # type: ignore[misc]
            for both in batch
        ]
        assert_same(picked, alone, atol=1e-5)


def test_a_robot_that_is_switched_on_while_it_lies_bears_no_load() -> None:
    """Its load counts as subsided as soon as it is known to lie, though no impact was felt."""
    rng = np.random.default_rng(0)
    stream = [replace(noisy(rng, lying=True), time_s=np.array(k * CYCLE_S)) for k in range(200)]
    told = run(stream)
    assert told[-1][0].phase == 3 and told[-1][1].subsided
    assert not any(impact.subsided for fall, impact in told if fall.phase == 0)
    assert told[-1][1].count == 0


def test_readings_are_not_changed() -> None:
    stream = tumble(5, (4,), cycles=80)
    copies = [{name: getattr(one, name).copy() for name in NAMES} for one in stream]
    run(stream)
    for one, copy in zip(stream, copies, strict=True):
        for name in NAMES:
            np.testing.assert_array_equal(getattr(one, name), copy[name])


def watch(
    simulation: Simulation, scenario: Scenario, duration_s: float
) -> tuple[Array, Array, Array, NDArray[np.int64], list[FallEstimate], Array]:
    """Alarm, contact, felt, count of robots that hold their posture; all estimates, gravity."""
    n = len(simulation)
    detectors = Detectors(simulation.reset(scenario), simulation.servo)
    command, alarm, felt = JointCommand.hold(scenario.position), *np.full((2, n), np.nan)
    told, down, count = [], [], np.zeros(n, dtype=np.int64)
    for k in range(1, 1 + round(duration_s / CYCLE_S)):
        reading_ = simulation.advance(command, 4)
        fall, impact = detectors.step(reading_)
        alarm[fall.falling & np.isnan(alarm)] = k * CYCLE_S
        felt[impact.onset & np.isnan(felt)] = k * CYCLE_S
        told.append(fall)
        down.append(simulation.torso_gravity)
        count = impact.count
    return alarm, simulation.measure().impact_s, felt, np.asarray(count), told, np.array(down)


@pytest.mark.parametrize("profile", ["stock", "extended"])
def test_pushed_robots_are_seen_to_fall_and_felt_to_hit(profile: str) -> None:
    """To all eight sides; the alarm comes well before the contact."""
    parts = [
        pushed_stand(PushSpec(direction_deg=float(d), start_s=0.5), np.array([k]), seed=0)
        for k, d in enumerate(np.arange(-135, 181, 45))
    ]
    scenario = Scenario(**{
        f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Scenario)
    })  # fmt: skip
    alarm, contact, felt, count, told, down = watch(Simulation(8, profile=profile), scenario, 2.5)
    assert (contact - alarm > 0.15).all()
    late = felt - contact
    assert (late > -2 * CYCLE_S).all() and (late <= 0.024 + 1e-9).all()
    assert (count >= 1).all()
    for k in range(8):
        at_contact = round(float(contact[k]) / CYCLE_S)
        x, y, _ = down[at_contact][k]
        turned = float(told[at_contact - 12].fall_angle[k]) - math.atan2(-y, x)
        assert math.cos(turned) > math.cos(math.radians(22.5))
        halfway = round(float(alarm[k] + contact[k]) / 2 / CYCLE_S)
        left = float(contact[k]) - halfway * CYCLE_S
        assert told[halfway - 1].time_to_impact[k] == pytest.approx(left, abs=0.1)


CALM = {"standing": 0, "squatting": 0, "stepping in place": 0, "swinging the arms": 0,
        "bracing the arms": 0, "getting up": 0, "lifted, put down": 0,
        "turning the head": 0}  # fmt: skip
"""A number by kind of an episode in which the robot stays up."""


@pytest.mark.parametrize("profile", ["stock", "extended"])
def test_what_does_not_fall_gives_no_alarm(profile: str) -> None:
    episodes = draw([int(seeds_of(kind, 1, number)[0]) for kind, number in CALM.items()])
    simulation = Simulation(len(episodes), profile=profile)
    detectors, fell = None, np.zeros(len(episodes), dtype=bool)
    alarms = np.zeros_like(fell)
    for moment in play(simulation, episodes, 5.0):
        detectors = detectors or Detectors(moment.reading, SERVO)
        fall, impact = detectors.step(moment.reading)
        alarms |= fall.falling | impact.onset
        fell |= moment.floor_force > 0
    assert not fell.any(), [k for k, f in zip(CALM, fell, strict=True) if f]
    assert not alarms.any(), [k for k, a in zip(CALM, alarms, strict=True) if a]


def test_robots_that_begin_anew_are_told_of_as_if_they_were_alone() -> None:
    """Others go on as if nobody had been replaced."""
    old, later = tumble(1, (4,)), tumble(2, (4,))
    rows, rest = np.array([0, 2]), np.array([1, 3])
    many, alone = Detectors(old[0], SERVO, CONFIG), Detectors(old[0], SERVO, CONFIG)
    for seen in old[1:100]:
        many.step(seen)
        alone.step(seen)
    some = [take(seen, rows) for seen in later]
    fresh, reference = (Detectors(some[0], SERVO, CONFIG) for _ in range(2))
    many.replace(rows, fresh)
    for seen, new in zip(old[100:], some[1:], strict=False):
        mixed = take(seen, slice(None))
        assign(mixed, rows, new)
        for told, others, ours in zip(
            many.step(mixed), alone.step(seen), reference.step(new), strict=True
        ):
            for f in fields(told):
                value = getattr(told, f.name)
                np.testing.assert_array_equal(value[rest], getattr(others, f.name)[rest], f.name)
                np.testing.assert_array_equal(value[rows], getattr(ours, f.name), f.name)
