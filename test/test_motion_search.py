# SPDX-License-Identifier: Apache-2.0
"""The search for protective motions: vectors, falls, cost, rounds, controller and command."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from protective_samples import motion, motions
from signal_samples import fall_estimate, impact_estimate

from op3_fall import robot
from op3_fall.cli import main
from op3_fall.damage import Tolerances
from op3_fall.errors import BadInputError
from op3_fall.fall_detection import FallPhase
from op3_fall.motion_controller import MotionController
from op3_fall.protective import DIRECTIONS, Motion, ProtectiveMotions
from op3_fall.protective_file import load_motions, motions_yaml
from op3_fall.scenarios import Scenario
from op3_fall.search import SearchConfig
from op3_fall.sensors import GRAVITY
from op3_fall.signals import FallEstimate, JointCommand, SensorReading
from op3_fall.truth import Measurement

pytest.importorskip("gymnasium")

from op3_fall import motion_search
from op3_fall.motion_search import (
    Generation,
    cost,
    draw_falls,
    search,
    to_motion,
    to_vector,
)

Array = NDArray[np.float64]
SEEDS = st.integers(0, 2**32)
SIDES = st.sampled_from(DIRECTIONS)
NAMES = [f.name for f in fields(Motion)]
HEAD = [robot.JOINT_INDEX[joint] for joint in robot.HEAD]
TINY = SearchConfig(generations=2, candidates=8, falls=1, seed=3)
OURS = Tolerances()


def same(a: Motion, b: Motion) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in NAMES)


def length(direction: str) -> int:
    return len(to_vector(motion(0, direction), direction))


@given(SEEDS, SIDES)
def test_a_motion_comes_back_from_its_vector(seed: int, direction: str) -> None:
    """All but the head, which stays as in the stand."""
    there = motion(seed, direction)
    back = to_motion(to_vector(there, direction), direction)
    for name in ("early", "landing"):
        wanted = getattr(there, name).copy()
        wanted[HEAD] = robot.POSES["stand"][HEAD]
        np.testing.assert_allclose(getattr(back, name), wanted, rtol=0, atol=1e-12)
    for name, span in (("landing_tilt_rad", 1.0), ("soft_tilt_rad", 1.0), ("arms", 0.95),
                       ("legs", 0.95)):  # fmt: skip
        # The ends of a range are infinitely far away: one hundredth of it is cut off.
        off = np.abs(getattr(back, name) - getattr(there, name))
        assert off.max() <= 0.01 * span + 1e-9, name
    again = to_motion(to_vector(back, direction), direction)
    for name in NAMES:
        np.testing.assert_allclose(getattr(again, name), getattr(back, name), rtol=0, atol=1e-9)


def test_a_side_of_its_own_mirror_image_has_half_the_angles() -> None:
    assert [length(direction) for direction in DIRECTIONS] == [26, 44, 44, 44, 26]


@given(SEEDS, SIDES, st.floats(0.01, 30))
def test_whatever_the_vector_the_robot_can_do_the_motion(
    seed: int, direction: str, size: float
) -> None:
    vectors = size * np.random.default_rng(seed).normal(size=(2, 3, length(direction)))
    many = to_motion(vectors, direction)
    for i in np.ndindex(2, 3):
        one = to_motion(vectors[i], direction)
        assert same(one, Motion(*(getattr(many, name)[i] for name in NAMES)))
        ProtectiveMotions(motions(0).by_direction | {direction: one})


def test_zero_is_the_stand_half_soft() -> None:
    middle = to_motion(np.zeros(44), "left")
    np.testing.assert_array_equal([middle.early, middle.landing], [robot.POSES["stand"]] * 2)
    assert (middle.landing_tilt_rad, middle.soft_tilt_rad) == (0.8, 0.8)
    np.testing.assert_allclose([middle.arms, middle.legs], 0.525)


FORWARD_AND_LEFT = {
    "front": (1, 0), "front_left": (1, 1), "left": (0, 1), "back_left": (-1, 1), "back": (-1, 0)
}  # fmt: skip


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_falls_go_to_the_asked_side(direction: str) -> None:
    falls = draw_falls(direction, 0, 40)
    forward, left = falls.push_force.T[:2] / np.linalg.norm(falls.push_force[:, :2], axis=1)
    x, y = np.array(FORWARD_AND_LEFT[direction]) / np.hypot(*FORWARD_AND_LEFT[direction])
    assert len(forward) == 40
    assert (forward * x + left * y).min() >= np.cos(np.pi / 8) - 1e-9
    assert np.ptp(np.arctan2(left * x - forward * y, forward * x + left * y)) > 0.3


def test_falls_depend_on_the_seed_alone() -> None:
    first, again, other = (draw_falls("left", seed, 20) for seed in (4, 4, 5))
    for f in fields(Scenario):
        np.testing.assert_array_equal(getattr(first, f.name), getattr(again, f.name), f.name)
    pushes = np.concatenate([first.push_force, other.push_force])
    assert len(np.unique(pushes, axis=0)) == 40


def test_the_first_falls_are_the_same_whatever_their_number() -> None:
    np.testing.assert_array_equal(
        draw_falls("back", 1, 3).push_force, draw_falls("back", 1, 9).push_force[:3]
    )


def test_no_two_rounds_share_falls_and_none_meets_those_of_the_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[range] = []

    def record(phase: Any, seeds: NDArray[np.int64], episodes: NDArray[np.int64]) -> Any:
        assert (np.diff(seeds) == 1).all() and not episodes.any()
        drawn.append(range(int(seeds[0]), int(seeds[-1]) + 1))
        raise InterruptedError

    monkeypatch.setattr(motion_search, "draw_scenario", record)
    last = SearchConfig.__dataclass_fields__["seed"].metadata["range"][1]
    rounds = (int(last) + 1) * 10_000
    for seed in (0, 1, 2, rounds - 2, rounds - 1):
        with pytest.raises(InterruptedError):
            draw_falls("left", seed, 10_000)
    ends = [end for seeds in drawn for end in (seeds.start, seeds.stop)]
    assert ends == sorted(ends) and ends[0] >= 2**40 and ends[-1] <= 2**41
    with pytest.raises(BadInputError):
        SearchConfig(seed=int(last) + 1)


def fallen(*loads: tuple[str, float]) -> Measurement:
    """One fall with these loads, each `name` at one joint or part, or of the whole robot."""
    truth = Measurement.start(1)
    truth.hit[:] = True
    for name, value in loads:
        values = LOADS[name](truth)
        values[(0,) * values.ndim] = value
    return truth


LOADS: dict[str, Callable[[Measurement], Array]] = {
    "head_speed": lambda truth: truth.head_contact_speed,
    "head_acceleration": lambda truth: truth.impact_peak.head_acceleration,
    "head_force": lambda truth: truth.impact_peak.floor_force,
    "gear_load": lambda truth: truth.impact_peak.gear_load,
    "servo_torque": lambda truth: truth.impact_peak.torque,
    "servo_impulse": lambda truth: truth.impact_impulse,
    "servo_energy": lambda truth: truth.impact_energy,
    "torque_load": lambda truth: truth.impact_peak.torque_load,
}


@pytest.mark.parametrize(
    ("loads", "wanted"),
    [
        ((), 0.0),
        # Half its tolerance: (max + 4-norm) / 1.36; blows are quarters of a half.
        ([("head_speed", 0.5)], 1.0 / 1.36 + 4.0),
        ([("head_acceleration", 50 * GRAVITY)], 1.0 / 1.36 + 50 / 37 / 8),
        ([("head_force", 72.5)], 1.0 / 1.36 + 72.5 / 830 / 8),
        ([("gear_load", 20.5)], 1.0 / 1.36 + 20.5 / 30 / 8),
        ([("servo_torque", 2.05)], 1.0 / 1.36),
        ([("servo_impulse", 10.25)], 1.0 / 1.36),
        ([("servo_energy", 1.0)], 1.0 / 1.36),
        ([("torque_load", 7.1)], 1.0),
        ([("servo_torque", 2.05), ("servo_energy", 1.0)], 0.5 * (1 + 2**0.25) / 1.36),
    ],
)  # fmt: skip
def test_what_a_fall_costs(loads: list[tuple[str, float]], wanted: float) -> None:
    assert cost(fallen(*loads), OURS).tolist() == pytest.approx([wanted])


@pytest.mark.parametrize(("time_s", "wanted"), [(1e-9, 0.5), (0.02, 0.6), (0.1, 1.0), (1.0, 1.0)])
def test_saturation_costs_by_itself_and_by_its_time(time_s: float, wanted: float) -> None:
    truth = fallen()
    truth.impact_saturated_s[:] = time_s
    assert cost(truth, OURS).tolist() == pytest.approx([wanted])


@given(SEEDS, st.sampled_from(sorted(LOADS)), st.floats(1.01, 3.0))
def test_more_of_any_load_costs_more(seed: int, name: str, times: float) -> None:
    """Also of one that is not the worst, so that none is paid with another."""
    rng = np.random.default_rng(seed)
    loads = {other: rng.uniform(0.2, 0.8) * LARGEST[other] for other in LOADS}
    more = loads | {name: times * loads[name]}
    less, dear = (cost(fallen(*given.items()), OURS)[0] for given in (loads, more))
    assert less < dear


LARGEST = {
    "head_speed": 1.0, "head_acceleration": 100 * GRAVITY, "head_force": 145.0, "gear_load": 41.0,
    "servo_torque": 4.1, "servo_impulse": 20.5, "servo_energy": 2.0, "torque_load": 30.0,
}  # fmt: skip
"""At the tolerance each, and twice the load of a fall into a stiff pose."""


def test_physics_that_broke_down_costs_more_than_all_at_their_tolerance() -> None:
    broken = fallen(("head_acceleration", np.nan))
    broken.diverged[:] = True
    assert np.isfinite(cost(broken, OURS)).all()
    assert cost(broken, OURS)[0] > cost(fallen(*LARGEST.items()), OURS)[0]


def test_falls_are_counted_one_by_one() -> None:
    single = [fallen(item) for item in LARGEST.items()]
    truth = Measurement.start(len(single))
    truth.hit[:] = True
    for i, (name, value) in enumerate(LARGEST.items()):
        values = LOADS[name](truth)
        values[(i,) + (0,) * (values.ndim - 1)] = value
    np.testing.assert_allclose(cost(truth, OURS), [cost(one, OURS)[0] for one in single])


@pytest.fixture(scope="module")
def start() -> ProtectiveMotions:
    return load_motions(None)


@pytest.fixture(scope="module")
def tiny(start: ProtectiveMotions) -> list[Generation]:
    return list(search(start, "front_left", TINY, OURS))


def test_a_search_can_be_repeated(start: ProtectiveMotions, tiny: list[Generation]) -> None:
    again = list(search(start, "front_left", TINY, OURS))
    assert len(tiny) == 2
    for a, b in zip(tiny, again, strict=True):
        assert same(found(a), found(b)) and (a.best, a.mean) == (b.best, b.mean)
    assert not same(found(tiny[0]), found(tiny[1]))
    assert not same(found(tiny[0]), start.by_direction["front_left"])


def found(generation: Generation) -> Motion:
    return generation.motions.by_direction["front_left"]


def test_each_round_gives_motions_and_tells_how_good_they_are(
    start: ProtectiveMotions, tiny: list[Generation]
) -> None:
    for generation in tiny:
        for other in ("front", "left", "back_left", "back"):
            assert generation.motions.by_direction[other] is start.by_direction[other]
        assert 0.3 < generation.best <= generation.mean < 10


def test_a_search_for_the_arms_leaves_legs_and_head_as_they_stand(
    start: ProtectiveMotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[ProtectiveMotions] = []

    def record(simulation: Any, falls: Scenario, motions: ProtectiveMotions) -> Array:
        tried.append(motions)
        return np.arange(len(falls.push_force), dtype=float)

    monkeypatch.setattr(motion_search, "_try", record)
    monkeypatch.setattr(motion_search, "cost", lambda truth, tolerances: truth)
    config = SearchConfig(generations=2, candidates=4, falls=1, arms_only=True)
    tried += [generation.motions for generation in search(start, "left", config, OURS)]
    arms = np.isin(robot.JOINTS, robot.ARMS)
    for motion_ in (motion_ for each in tried for motion_ in each.by_direction.values()):
        for pose in (motion_.early, motion_.landing):
            same_legs = np.broadcast_to(robot.POSES["stand"], pose.shape)
            np.testing.assert_array_equal(pose[..., ~arms], same_legs[..., ~arms])
        np.testing.assert_array_equal(motion_.legs, 1.0)
    front, kept = tried[-1].by_direction["front"], start.by_direction["front"]
    np.testing.assert_array_equal(front.landing[arms], kept.landing[arms])


def test_the_cost_of_the_mean_is_that_of_the_start_at_first(
    start: ProtectiveMotions, tiny: list[Generation]
) -> None:
    """Whatever else is tried."""
    other = SearchConfig(generations=2, candidates=4, falls=1, seed=3, spread=0.01)
    found = next(search(start, "front_left", other, OURS))
    assert found.mean == pytest.approx(tiny[0].mean, rel=1e-9)
    assert found.best != pytest.approx(tiny[0].best, rel=1e-3)


def test_all_candidates_of_a_round_meet_the_same_falls_and_each_round_others(
    start: ProtectiveMotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[Array, Motion]] = []

    def record(simulation: Any, falls: Scenario, motions: ProtectiveMotions) -> Array:
        tried.append((falls.push_force, motions.by_direction["front_left"]))
        for other in ("front", "left", "back_left", "back"):
            assert motions.by_direction[other] is start.by_direction[other]
        return np.arange(len(falls.push_force), dtype=float)

    monkeypatch.setattr(motion_search, "_try", record)
    monkeypatch.setattr(motion_search, "cost", lambda truth, tolerances: truth)
    for seed in (0, 1):
        config = SearchConfig(generations=3, candidates=4, falls=2, seed=seed)
        *_, last = search(start, "front_left", config, OURS)
        assert (last.best, last.mean) == (0.5, 0.5), "of the falls of the first candidate"
    for pushes, motion_ in tried:
        np.testing.assert_array_equal(pushes.reshape(4, 2, 3), [pushes[:2]] * 4)
        first, second = motion_.early.reshape(4, 2, 20).swapaxes(0, 1)
        np.testing.assert_array_equal(first, second)
        assert len(np.unique(first, axis=0)) == 4
    assert len(np.unique([pushes for pushes, _ in tried], axis=0)) == 6
    assert len(np.unique(np.concatenate([pushes for pushes, _ in tried]), axis=0)) == 12


@pytest.mark.parametrize("direction", ["front", "left"])
def test_a_search_comes_near_to_what_is_best(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cost that tells the distance to a motion, in place of falls."""
    goal = to_motion(np.random.default_rng(0).normal(size=length(direction)) / 2, direction)

    def far(tried: Motion, tolerances: Tolerances) -> Array:
        poses = sum(np.abs(getattr(tried, name) - getattr(goal, name)).mean(axis=-1)
                    for name in ("early", "landing"))  # fmt: skip
        return poses + np.abs(tried.soft_tilt_rad - goal.soft_tilt_rad)

    monkeypatch.setattr(
        motion_search, "_try", lambda simulation, falls, motions: motions.by_direction[direction]
    )
    monkeypatch.setattr(motion_search, "cost", far)
    stand = to_motion(np.zeros(length(direction)), direction)
    start = ProtectiveMotions(motions(0).by_direction | {direction: stand})
    config = SearchConfig(generations=60, candidates=40, falls=1)
    *_, last = search(start, direction, config, OURS)
    assert far(last.motions.by_direction[direction], OURS) < 0.2 * far(stand, OURS)


SERVO = robot.Servo()
POSTURE = np.stack([robot.POSES["stand"], robot.POSES["walkready"]])
NO_IMPACT = impact_estimate((2,))
STILL = SensorReading(
    np.zeros(2), POSTURE, 0 * POSTURE, 0 * POSTURE, np.zeros((2, 3)), np.zeros((2, 3)),
    np.tile([1.0, 0, 0, 0], (2, 1)),
)  # fmt: skip
NORMAL, FALLING, IMPACT, DOWN = FallPhase


class Moved:
    """A controller of two robots, whose wanted targets are given for each step."""

    def __init__(self) -> None:
        self.wanted = POSTURE, np.ones((2, 20))
        self.controller = MotionController(lambda fall: self.wanted, POSTURE, SERVO)

    def step(self, goal: Array, stiffness: float, *phases: FallPhase) -> JointCommand:
        self.wanted = goal, np.full((2, 20), stiffness)
        return self.controller.step(STILL, fall_estimate((2,), phase=phases), NO_IMPACT)


def assert_held(command: JointCommand, position: Array) -> None:
    """With the gains that the driver starts with."""
    held = JointCommand.hold(position)
    for f in fields(JointCommand):
        np.testing.assert_array_equal(getattr(command, f.name), getattr(held, f.name), f.name)


def test_until_the_alarm_the_posture_is_held() -> None:
    robots = Moved()
    for _ in range(3):
        assert_held(robots.step(POSTURE + 1.0, 0.5, NORMAL, NORMAL), POSTURE)


def test_goals_move_half_a_radian_in_a_step_and_the_stiffness_at_once() -> None:
    robots = Moved()
    for moved in (0.5, 1.0, 1.2, 1.2):
        command = robots.step(POSTURE + 1.2, 0.5, FALLING, NORMAL)
        np.testing.assert_allclose(command.position[0], POSTURE[0] + moved)
        np.testing.assert_array_equal(command.p_gain[0], 400)
        np.testing.assert_array_equal(command.position[1], POSTURE[1])
        np.testing.assert_array_equal(command.p_gain[1], 800)
    back = robots.step(POSTURE - 1.2, 0.25, IMPACT, FALLING)
    np.testing.assert_allclose(back.position[0], POSTURE[0] + 0.7)
    np.testing.assert_allclose(back.position[1], POSTURE[1] - 0.5)
    np.testing.assert_array_equal(back.p_gain, 200)


def test_who_lies_rests_until_it_moves_again() -> None:
    robots = Moved()
    last = robots.step(POSTURE + 0.3, 0.5, FALLING, FALLING)
    for stiffness in (0.9, 0.1):
        rests = robots.step(POSTURE - 1.0, stiffness, DOWN, DOWN)
        for f in fields(JointCommand):
            np.testing.assert_array_equal(getattr(rests, f.name), getattr(last, f.name), f.name)
    again = robots.step(POSTURE - 1.0, 0.25, FALLING, DOWN)
    np.testing.assert_allclose(again.position[0], POSTURE[0] - 0.2)
    np.testing.assert_array_equal(again.position[1], last.position[1])
    np.testing.assert_array_equal(again.p_gain, [[200] * 20, [400] * 20])


def test_who_stands_again_takes_its_posture() -> None:
    robots = Moved()
    for phase in (FALLING, DOWN):
        robots.step(POSTURE + 0.3, 0.5, phase, phase)
    assert_held(robots.step(POSTURE + 0.3, 0.5, NORMAL, NORMAL), POSTURE)


def test_motions_are_such_targets() -> None:
    protective = load_motions(None)
    controller = MotionController(protective.targets, POSTURE, SERVO)
    fall: FallEstimate = fall_estimate(
        (2,), phase=[FALLING] * 2, tilt=[1.4] * 2, fall_angle=[-np.pi / 2, np.pi / 2]
    )
    commands = [controller.step(STILL, fall, NO_IMPACT) for _ in range(8)]
    left = protective.by_direction["left"]
    np.testing.assert_allclose(commands[-1].position, [left.landing, left.mirrored.landing])


SEARCH = ("search", "left", "--generations", "1", "--candidates", "4", "--falls", "1")


def test_the_command_changes_the_asked_direction_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, out = tmp_path / "start.yaml", tmp_path / "found.yaml"
    begin.write_text(motions_yaml(motions(5)))
    assert main([*SEARCH, "--start", str(begin), "--out", str(out)]) == 0
    before, after = load_motions(begin).by_direction, load_motions(out).by_direction
    assert [name for name in DIRECTIONS if not same(before[name], after[name])] == ["left"]
    assert sorted(tmp_path.iterdir()) == [out, begin]
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("cost of the mean motion: ")
    assert second == (
        f"Motions: {out}; imitate them: op3-fall train arms_legs --imitation.motions {out}"
    )


@pytest.mark.parametrize(
    ("out", "reason"),
    [("nowhere/found.yaml", "No such file or directory"), ("", "Is a directory")],
)
def test_a_place_that_cannot_be_written_is_told(
    tmp_path: Path, out: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    path = folder / out
    assert main([*SEARCH, "--out", str(path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"op3-fall: out is '{path}', which cannot be written ({reason}); allowed is a file in a "
        "folder that exists; choose another --out"
    )
    assert list(tmp_path.rglob("*")) == [folder]


def test_motions_that_cannot_be_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "start.yaml", tmp_path / "found.yaml"
    path.write_text("front: 1\n")
    assert main([*SEARCH, "--start", str(path), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"op3-fall: motion file '{path}': 'front' is laid out differently; allowed is a mapping "
        "of landing_tilt_rad, soft_tilt_rad, arms, legs, early, landing; see config/motions.yaml\n"
    )
    assert not out.exists()
