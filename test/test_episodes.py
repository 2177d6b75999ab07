# SPDX-License-Identifier: Apache-2.0
"""Seeded episodes: what each kind draws, a seed's own robot, the hand, and playing them."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.episode_runs import Moment, play
from op3_fall.episodes import KINDS, Episodes, draw, seeds_of
from op3_fall.hand import Hand
from op3_fall.kinematics import find_stance
from op3_fall.recipes import FALLS, NON_FALLS
from op3_fall.rotations import from_roll_pitch, rotate_inverse
from op3_fall.signals import SensorReading
from op3_fall.simulation import CYCLE_S, Simulation

Array = NDArray[np.float64]
every_kind = pytest.mark.parametrize("kind", KINDS)


def one_of(kind: str, number: int = 0) -> Episodes:
    return draw(seeds_of(kind, 1, number))


def assert_same(mine: object, other: object) -> None:
    """Every array of both, nested dataclasses too."""
    for name, value in vars(mine).items():
        theirs = getattr(other, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, theirs, err_msg=name)
        else:
            assert_same(value, theirs)


def test_the_seed_says_the_kind() -> None:
    assert (*FALLS, *NON_FALLS) == KINDS
    assert len(KINDS) == 18
    for kind in KINDS:
        drawn = draw(seeds_of(kind, 3, first=5))
        assert set(drawn.kind) == {kind} and len(drawn) == 3
    every = np.concatenate([seeds_of(kind, 4) for kind in KINDS])
    assert sorted(every) == list(range(4 * len(KINDS)))


@every_kind
def test_an_episode_is_the_same_alone_and_in_a_batch(kind: str) -> None:
    seeds = np.concatenate([seeds_of(kind, 2), np.arange(len(KINDS))])
    together = draw(seeds)
    assert_same(draw(seeds[1:2]), together.take([1]))
    assert_same(draw(seeds[::-1]), together.take(np.arange(len(seeds))[::-1]))
    assert draw(seeds[:1]).event_s != draw(seeds[1:2]).event_s


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_drawn_is_possible(seed: int) -> None:
    """Within limits, soles on the floor, a chip that is nearly straight, a push with a part."""
    drawn = draw([seed])
    for time_s in (0.0, 1.3, 4.0):
        target = drawn.command(np.array([time_s])).position
        assert (target >= robot.LOWER_LIMIT_RAD).all()
        assert (target <= robot.UPPER_LIMIT_RAD).all()
    scenario = drawn.scenario
    np.testing.assert_allclose(scenario.position, drawn.motion.at(np.zeros(1)), atol=1e-12)
    assert ((scenario.mass_scale > 0.8) & (scenario.mass_scale < 1.2)).all()
    assert 0 < scenario.friction < 2 and 0.8 < scenario.strength < 1.3
    assert np.linalg.norm(scenario.imu_mounting) == pytest.approx(1)
    assert abs(scenario.imu_mounting[0, 0]) > np.cos(np.radians(2))
    assert 0.6 <= drawn.event_s <= 1.4
    for f in fields(scenario):
        value = getattr(scenario, f.name)
        assert len(value) == 1, f.name
        assert np.isfinite(value).all() or f.name == "bumps", f.name
    for sole in find_stance(scenario.position).soles:
        forward = np.array([float(c[0]) for c in sole.forward])
        back = scenario.orientation[0] * [1, -1, -1, -1]
        assert abs(rotate_inverse(back, forward)[2]) < np.sin(np.radians(5)), "flat"


def test_kinds_do_what_their_names_say() -> None:
    def pushes(kind: str) -> NDArray[np.bool_]:
        return np.asarray(draw(seeds_of(kind, 10)).scenario.push_force.any(axis=-1))

    for kind in KINDS:
        assert pushes(kind).all() == ("pushed" in kind or kind == "slipped"), kind
    assert (draw(seeds_of("slipped", 10)).scenario.friction <= 0.2).all()
    limp = draw(seeds_of("leg limp", 10))
    assert set(limp.limp_leg) == {0, 1}
    np.testing.assert_array_equal(limp.limp_s, limp.event_s)
    assert (draw(seeds_of("lifted, put down", 5)).hand.lift_m > 0).all()
    tipped = draw(seeds_of("tipped slowly", 5)).hand
    assert (tipped.lift_m == 0).all() and tipped.speed.any(axis=-1).all()
    for kind in ("standing", "squatting", "getting up", "pushed standing"):
        assert np.isnan(draw(seeds_of(kind, 3)).hand.start_s).all()
        assert (draw(seeds_of(kind, 3)).limp_leg == -1).all()


def test_a_limp_leg_has_no_drive_from_its_time_on() -> None:
    drawn = draw(seeds_of("leg limp", 8))
    before = drawn.command(drawn.limp_s - 0.01).goal_pwm
    after = drawn.command(drawn.limp_s).goal_pwm
    assert (before == robot.Servo.MAX_PWM).all()
    for k, leg in enumerate(drawn.limp_leg):
        limp = np.array([j.startswith("lr"[leg]) and j in robot.LEGS for j in robot.JOINTS])
        assert (after[k, limp] == 0).all() and limp.sum() == 6
        assert (after[k, ~limp] == robot.Servo.MAX_PWM).all()


def final(simulation: Simulation, episodes: Episodes, duration_s: float) -> Moment:
    *_, last = play(simulation, episodes, duration_s)
    return last


def test_playing_an_episode_gives_the_same_alone_and_in_a_batch() -> None:
    """Bit for bit, whatever the others do: a hand, a limp leg, a push, steps."""
    kinds = ("lifted, put down", "leg limp", "pushed stepping", "standing", "tipped slowly")
    episodes = draw([int(seeds_of(kind, 1)[0]) for kind in kinds])
    together = final(Simulation(len(kinds)), episodes, 2.2)
    for k in range(len(kinds)):
        alone = final(Simulation(1), episodes.take([k]), 2.2)
        for f in fields(SensorReading):
            np.testing.assert_array_equal(
                getattr(alone.reading, f.name)[0], getattr(together.reading, f.name)[k],
                err_msg=f"{kinds[k]}: {f.name}",
            )  # fmt: skip
        np.testing.assert_array_equal(alone.gravity[0], together.gravity[k])


def test_playing_tells_the_truth_beside_the_readings() -> None:
    episodes = draw(seeds_of("protective pose", 2))
    simulation = Simulation(2)
    moments = list(play(simulation, episodes, 3.0))
    times = [m.time_s for m in moments]
    assert times == pytest.approx(CYCLE_S * np.arange(1, 376))
    assert [float(m.reading.time_s[0]) for m in moments] == pytest.approx(times)
    first = next(m.time_s for m in moments if m.floor_force[0] > 0)
    contact = simulation.measure().impact_s[0]
    assert first - CYCLE_S <= contact <= first
    np.testing.assert_array_equal(moments[-1].gravity, simulation.torso_gravity)


def test_what_responds_sees_the_reading_and_changes_the_command() -> None:
    episodes, seen = draw(seeds_of("standing", 2)), []

    def limp(reading: SensorReading, command):
        seen.append(float(reading.time_s[0]))
        return replace(command, goal_pwm=np.zeros_like(command.goal_pwm))

    simulation = Simulation(2)
    last = list(play(simulation, episodes, 1.6, limp))[-1]
    assert seen[:3] == pytest.approx([0.0, CYCLE_S, 2 * CYCLE_S])
    assert (simulation.torso_position[:, 2] < 0.2).all(), "without drive they collapse"
    assert last.time_s == pytest.approx(1.6)


def test_the_hand_lifts_and_puts_down() -> None:
    """Within a grip's give of the height it goes to; then the robot stands where it was."""
    episodes = draw(seeds_of("lifted, put down", 3))
    hand, simulation = episodes.hand, Simulation(3)
    heights = [simulation.torso_position[:, 2] for _ in play(simulation, episodes, 10.0)]
    height, times = np.array(heights), np.arange(1, len(heights) + 1) * CYCLE_S
    for k in range(3):
        stood = height[times < hand.start_s[k], k][-1]
        middle = (times > hand.start_s[k] + 0.4 * (hand.stop_s[k] - hand.start_s[k])) & (
            times < hand.start_s[k] + 0.6 * (hand.stop_s[k] - hand.start_s[k])
        )
        risen = height[middle, k].mean() - stood
        assert hand.lift_m[k] - 0.075 < risen < hand.lift_m[k] + 0.01
        assert height[-1, k] == pytest.approx(stood, abs=0.01), "it stands again"
        assert simulation.torso_gravity[k, 2] < -0.95


def hands(**change: Array) -> Hand:
    """A hand that holds from 1 s to 4 s and lifts by 10 cm, unless told otherwise."""
    held = replace(Hand.none(1), start_s=np.array([1.0]), stop_s=np.array([4.0]),
                   lift_m=np.array([0.1]))  # fmt: skip
    return replace(held, **change)


ORIGIN, UPRIGHT = np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]])


def wrench(
    hand: Hand, time_s: float, position: Array = ORIGIN, velocity: Array = ORIGIN,
    orientation: Array = UPRIGHT, rate: Array = ORIGIN,
) -> Array:  # fmt: skip
    return hand.wrench(np.array([time_s]), ORIGIN, position, velocity, orientation, rate)[0]


def test_a_hand_holds_from_its_start_to_its_stop() -> None:
    away = np.array([[0.01, 0.02, 0.03]])
    for time_s, holds in ((0.99, False), (1.0, True), (3.99, True), (4.0, False)):
        assert wrench(hands(), time_s, position=away).any() == holds
    assert not wrench(Hand.none(1), 1.0, position=away).any()


def test_a_lifting_hand_pulls_to_its_height_and_back() -> None:
    """Up in the first second of three, down in the last; half way at half a second."""
    up = [wrench(hands(), t)[2] for t in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5)]
    full = up[2]
    assert full > 0
    assert np.array(up) / full == pytest.approx([0, 0.5, 1, 1, 1, 0.5])
    for axis in range(3):
        back = wrench(hands(), 1.0, position=0.01 * np.eye(3)[axis][None])
        assert back[axis] < 0 and np.abs(np.delete(back, axis)).max() < 1e-9
        slowed = wrench(hands(), 1.0, velocity=0.1 * np.eye(3)[axis][None])
        assert slowed[axis] < 0


@pytest.mark.parametrize(("roll", "pitch"), [(0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2)])
def test_a_lifting_hand_turns_the_torso_to_its_lean(roll: float, pitch: float) -> None:
    turned = from_roll_pitch(np.array([roll]), np.array([pitch]))
    torque = wrench(hands(), 2.0, orientation=turned)[3:]
    assert torque[0] * roll <= 0 and torque[1] * pitch <= 0 and np.abs(torque).max() > 0.5
    up = rotate_inverse(turned * [1, -1, -1, -1], np.array([0.0, 0.0, 1.0]))
    at_ease = wrench(hands(lean=up), 2.0, orientation=turned)[3:]
    np.testing.assert_allclose(at_ease, 0, atol=1e-12)
    damped = wrench(hands(), 2.0, rate=np.array([[0.5, 0.0, 0.0]]))[3]
    assert damped < 0


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(1.0, 3.9))
def test_a_pushing_hand_never_pulls_and_never_turns(x: float, y: float, time_s: float) -> None:
    push = hands(lift_m=np.zeros(1), speed=np.array([[0.1, 0.0, 0.0]]))
    found = wrench(push, time_s, position=np.array([[x, y, 0.0]]))
    assert found[0] >= 0 and not found[1:].any()
    if x < (time_s - 1) * 0.1:
        assert found[0] > 0


def test_hands_are_taken_and_joined() -> None:
    both = Hand.join([hands(), Hand.none(2)])
    assert both.start_s[0] == 1.0 and np.isnan(both.start_s[1:]).all()
    assert_same(both.take([0]), hands())
