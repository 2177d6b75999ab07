# SPDX-License-Identifier: Apache-2.0
"""Joint targets over time: moves, swings and steps, each robot its own."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.kinematics import find_stance
from op3_fall.motions import Motion

Array = NDArray[np.float64]
STAND, READY = robot.POSES["stand"], robot.POSES["walkready"]
INDEX = robot.JOINT_INDEX


def at(motion: Motion, time_s: ArrayLike) -> Array:
    """Targets of the first robot, (t, 20)."""
    return np.array([motion.at(np.full(len(motion.base), t))[0] for t in np.atleast_1d(time_s)])


def moving(returns: bool, duration_s: float = 2.0) -> Motion:
    return replace(
        Motion.hold([STAND]), move=np.full((1, 20), 0.1), move_start_s=np.array([1.0]),
        move_s=np.array([duration_s]), returns=np.array([returns]),
    )  # fmt: skip


@given(st.floats(0, 100))
def test_a_motion_of_nothing_holds_the_pose(time_s: float) -> None:
    np.testing.assert_array_equal(at(Motion.hold([STAND]), time_s)[0], STAND)


def test_a_move_eases_to_its_goal_and_stays() -> None:
    """Cosine: half way at half time, a quarter of pi/2 slopes at the ends."""
    share = (at(moving(False), [0, 1, 1.5, 2, 2.5, 3, 9]) - STAND)[:, 0] / 0.1
    eased = (1 - math.cos(math.pi / 4)) / 2
    assert share == pytest.approx([0, 0, eased, 0.5, 1 - eased, 1, 1])


def test_a_move_that_returns_goes_back_and_forth() -> None:
    share = (at(moving(True), [0, 2, 3, 4, 5, 7, 9]) - STAND)[:, 0] / 0.1
    assert share == pytest.approx([0, 0.5, 1, 0.5, 0, 1, 0])


def test_a_move_of_no_duration_is_a_step_of_the_goal() -> None:
    share = (at(moving(False, 0.0), [0.999, 1.001, 5]) - STAND)[:, 0] / 0.1
    assert share == pytest.approx([0, 1, 1])


def test_a_swing_is_a_sine_about_the_rest() -> None:
    swing = np.zeros((1, 20))
    swing[0, INDEX["l_el"]] = -0.3
    motion = replace(Motion.hold([STAND]), swing=swing, swing_s=np.array([0.8]))
    found = at(motion, [0, 0.2, 0.4, 0.6, 0.8])[:, INDEX["l_el"]]
    assert found == pytest.approx(STAND[INDEX["l_el"]] + np.array([0, -0.3, 0, 0.3, 0]))


def stepping(height: float = 0.02, sway: float = 0.02) -> Motion:
    return replace(
        Motion.hold([READY]), step_height=np.array([height]), step_sway=np.array([sway]),
        step_s=np.array([0.8]),
    )  # fmt: skip


def test_steps_lift_one_foot_by_the_height_and_then_the_other() -> None:
    """After the first second, in which they build up; the standing leg keeps its length."""
    rest = [float(sole.centre[2]) for sole in find_stance(READY).soles]
    for quarter, lifted in ((1.8, 0), (2.2, 1)):
        soles = find_stance(at(stepping(sway=0.0), quarter)[0]).soles
        rise = [float(sole.centre[2]) - low for sole, low in zip(soles, rest, strict=True)]
        assert rise[lifted] == pytest.approx(0.02, abs=2e-3)
        assert rise[1 - lifted] == pytest.approx(0, abs=1e-4)
        ahead = float(soles[lifted].centre[0]) - float(find_stance(READY).soles[0].centre[0])
        assert ahead == pytest.approx(0, abs=3e-3), "straight up"


def test_the_hips_sway_to_the_standing_side() -> None:
    """While the left foot is up, the soles are to the left of the torso: it stands right."""
    middle = np.mean([s.centre[1] for s in find_stance(READY).soles])
    soles = find_stance(at(stepping(height=1e-6), 1.8)[0]).soles
    shift = np.mean([s.centre[1] for s in soles]) - middle
    assert shift == pytest.approx(0.02, abs=4e-3)


def test_steps_are_mirror_images_half_a_period_apart() -> None:
    one, other = at(stepping(), [1.5, 1.9])
    np.testing.assert_allclose(robot.mirror_joints(one), other, atol=1e-9)


def test_steps_begin_from_the_pose() -> None:
    np.testing.assert_allclose(at(stepping(), 0.0)[0], READY)


@given(st.floats(0, 5), st.floats(-9, 9), st.floats(-9, 9))
def test_targets_stay_within_the_limits(time_s: float, move: float, swing: float) -> None:
    motion = replace(
        moving(True), move=np.full((1, 20), move), swing=np.full((1, 20), swing),
        step_height=np.array([0.05]),
    )  # fmt: skip
    target = at(motion, time_s)[0]
    assert (target >= robot.LOWER_LIMIT_RAD).all() and (target <= robot.UPPER_LIMIT_RAD).all()


def test_robots_move_on_their_own() -> None:
    """Each at its own time; taken or joined they are the same."""
    parts = [moving(False), stepping(), Motion.hold([STAND])]
    motion = Motion.join(parts)
    times = np.array([1.7, 2.3, 0.4])
    together = motion.at(times)
    for k, part in enumerate(parts):
        np.testing.assert_array_equal(together[k], part.at(times[k : k + 1])[0])
    np.testing.assert_array_equal(motion.take([2, 0]).at(times[[2, 0]]), together[[2, 0]])
    for f in fields(Motion):
        assert len(getattr(motion.take([1]), f.name)) == 1
