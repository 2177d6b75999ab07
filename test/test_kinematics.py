# SPDX-License-Identifier: Apache-2.0
"""Centre of mass, soles and clearance against MuJoCo's kinematics of models/op3.xml."""

import math

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from op3_fall import kinematics, robot
from op3_fall.kinematics import Vector, clearance, dot, find_stance, half_span
from op3_fall.model import load_model
from op3_fall.motion_pages import PAGES

Array = NDArray[np.float64]
MODEL = load_model()
MJ = MODEL.mj
POSTURES = np.array([
    *robot.POSES.values(), *(step.goal for page in PAGES.values() for step in page)
])  # fmt: skip
SOLE_CENTRE = np.array([0.024, 0.013, -0.0305])
"""Of the left sole in its link: between its two boxes, at their lower side."""
_COLLIDING = [g for g in range(MJ.ngeom) if MJ.geom_group[g] == 3]
SOLES = [g for g in _COLLIDING if "sole" in MJ.geom(g).name]
_LOW = ("ank_pitch_link", "ank_roll_link", "knee_link")
NOT_FEET = [g for g in _COLLIDING if not MJ.body(MJ.geom_bodyid[g]).name.endswith(_LOW)]
"""The shank counts with its upper end alone, which the thigh's box covers: the lower one is close
to the sole whatever the robot does."""
_HEAD = [robot.JOINT_INDEX[joint] for joint in robot.HEAD]
seeds = st.integers(0, 2**32 - 1)


def placed(position: Array) -> mujoco.MjData:
    """MuJoCo's kinematics of a robot at these angles, torso at the origin."""
    data = mujoco.MjData(MJ)
    data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    data.qpos[MODEL.qpos_index] = position
    mujoco.mj_kinematics(MJ, data)
    mujoco.mj_comPos(MJ, data)
    return data


def depth(data: mujoco.MjData, geoms: list[int], down: Array) -> float:
    """How far the boxes and capsules reach along `down`, m."""
    reach = []
    for g in geoms:
        along = np.abs(data.geom_xmat[g].reshape(3, 3).T @ down)
        size = MJ.geom_size[g]
        capsule = MJ.geom_type[g] == mujoco.mjtGeom.mjGEOM_CAPSULE
        half = size[0] + size[1] * along[2] if capsule else along @ size
        reach.append(data.geom_xpos[g] @ down + half)
    return max(reach)


def vector(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> Vector:
    return np.asarray(x), np.asarray(y), np.asarray(z)


def any_angles(rng: np.random.Generator) -> Array:
    return rng.uniform(robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)


def posture(rng: np.random.Generator) -> Array:
    """Between two postures that the robot takes, every joint off by a few degrees."""
    one, other = POSTURES[rng.integers(len(POSTURES), size=2)]
    angles = one + rng.uniform() * (other - one) + rng.normal(0, 0.05, robot.NUM_JOINTS)
    return np.clip(angles, robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)


def any_down(rng: np.random.Generator) -> Array:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def com_error_m(position: Array) -> float:
    data = placed(position)
    com = data.subtree_com[MODEL.torso_id] - data.xpos[MODEL.torso_id]
    return float(np.linalg.norm(np.array(find_stance(position).com) - com))


@given(seeds)
def test_the_centre_of_mass_is_the_models(seed: int) -> None:
    """Head and hip links count as fixed: what they move costs millimetres."""
    rng = np.random.default_rng(seed)
    position = posture(rng)
    position[_HEAD] = any_angles(rng)[_HEAD]
    assert com_error_m(position) < 4e-3
    assert com_error_m(any_angles(rng)) < 6e-3


def test_the_centre_of_mass_of_straight_joints_is_exact() -> None:
    assert com_error_m(np.zeros(20)) < 2e-4
    assert com_error_m(robot.POSES["stand"]) < 2e-4


@given(seeds)
def test_the_soles_are_the_models(seed: int) -> None:
    position = any_angles(np.random.default_rng(seed))
    data = placed(position)
    for sole, side, mirror in zip(find_stance(position).soles, "lr", (1, -1), strict=True):
        body = MJ.body(f"{side}_ank_roll_link").id
        turn = data.xmat[body].reshape(3, 3)
        centre = data.xpos[body] + turn @ (SOLE_CENTRE * [1, mirror, 1])
        np.testing.assert_allclose(sole.centre, centre, atol=2e-4)
        np.testing.assert_allclose(sole.forward, turn[:, 0], atol=1e-5)
        np.testing.assert_allclose(sole.left, turn[:, 1], atol=1e-5)


def test_masses_and_lengths_are_those_of_the_model_file() -> None:
    def origin(body: str) -> Array:
        return np.abs(MJ.body(body).pos)

    leg = ("hip_pitch", "knee", "ank_pitch", "ank_roll")
    hip = origin("l_hip_yaw_link") + origin("l_hip_roll_link") * [-1, 1, -1]
    assert MJ.body_subtreemass[MODEL.torso_id] == pytest.approx(kinematics._TOTAL_KG, abs=1e-4)
    legs = sum(float(MJ.body(f"l_{name}_link").mass[0]) for name in leg)
    assert legs == pytest.approx(kinematics._LEG_KG, abs=1e-9)
    assert origin("l_knee_link")[2] == kinematics._THIGH
    assert origin("l_ank_pitch_link")[2] == kinematics._SHANK
    assert hip[1:] == pytest.approx([kinematics._HIP_Y, kinematics._HIP_Z])
    assert origin("l_hip_pitch_link")[0] == kinematics._HIP_X
    assert origin("l_el_link")[1] == kinematics._UPPER_ARM
    lengths, widths = MJ.geom_size[SOLES][:, 0], MJ.geom_size[SOLES][:, 1]
    assert lengths.max() == kinematics._SOLE_HALF_LENGTH
    assert widths.min() < kinematics._SOLE_HALF_WIDTH < widths.max()
    torso = MJ.geom("torso")
    assert (tuple(torso.pos), tuple(torso.size)) == kinematics._BOXES[0]


@given(seeds)
def test_a_mirrored_robot_stands_mirrored(seed: int) -> None:
    rng = np.random.default_rng(seed)
    position, down, mirror = any_angles(rng), any_down(rng), np.array([1.0, -1.0, 1.0])
    here, there = find_stance(position), find_stance(robot.mirror_joints(position))
    np.testing.assert_allclose(there.com, mirror * here.com, atol=1e-6)
    for mine, twin in zip(here.soles, there.soles[::-1], strict=True):
        np.testing.assert_allclose(twin.centre, mirror * mine.centre, atol=1e-6)
        np.testing.assert_allclose(twin.forward, mirror * mine.forward, atol=1e-5)
        np.testing.assert_allclose(twin.left, -mirror * mine.left, atol=1e-5)
    found, twin = clearance(here, vector(*down)), clearance(there, vector(*(mirror * down)))
    assert twin == pytest.approx(found, abs=1e-6)


@given(seeds, st.sampled_from([(), (5,), (2, 3), (0,)]))
def test_leading_axes_come_last_and_do_not_change_the_numbers(
    seed: int, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    joints = rng.uniform(-1, 1, (*shape, 20))
    down = np.array(any_down(rng))
    many, spread = find_stance(joints), vector(*(np.full(shape[::-1], d) for d in down))
    found = clearance(many, spread)
    assert np.shape(found) == shape[::-1]
    for i in np.ndindex(shape):
        one, at = find_stance(joints[i]), i[::-1]
        for c, single in zip(many.com, one.com, strict=True):
            assert np.asarray(c)[at] == pytest.approx(single, abs=1e-7)
        assert np.asarray(found)[at] == pytest.approx(clearance(one, vector(*down)), abs=1e-6)


def test_clearance_in_postures_where_it_is_known() -> None:
    """The height of the knees, of the hands at the sides, and of a robot on its back."""
    aside = find_stance(np.zeros(20))
    knees = 0.0305 + 0.11 - 0.022  # foot, shank, radius of the knee
    assert clearance(aside, vector(0, 0, -1)) == pytest.approx(knees, abs=1e-5)
    hanging = find_stance(robot.POSES["stand"])
    hands = 0.111 - 0.01 - 0.0904 - 0.1315 - 0.015  # shoulder, two links, radius of the hand
    assert clearance(hanging, vector(0, 0, -1)) == pytest.approx(
        min(knees, 0.279 + hands), abs=1e-3
    )
    heel, back_plate = 0.0635, 0.0168 + 0.0873
    assert clearance(aside, vector(-1, 0, 0)) == pytest.approx(heel - back_plate, abs=1e-3)
    upside_down = -0.279 + 0.008 - (0.1925 + 0.039)  # the soles' thickness is not modelled
    assert clearance(aside, vector(0, 0, 1)) == pytest.approx(upside_down, abs=0.01)


@given(seeds)
def test_clearance_is_that_of_the_models_boxes_and_capsules(seed: int) -> None:
    """Boxes and rods instead of the parts: 2 cm where a part is near the floor."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        position, down = posture(rng), any_down(rng)
        data = placed(position)
        true = depth(data, SOLES, down) - depth(data, NOT_FEET, down)
        found = float(clearance(find_stance(position), vector(*down)))
        assert found == pytest.approx(true, abs=0.02 if abs(true) < 0.03 else 0.03)


def test_clearance_is_mostly_within_1_cm() -> None:
    rng, errors = np.random.default_rng(0), []
    for _ in range(400):
        position, down = posture(rng), any_down(rng)
        data = placed(position)
        true = depth(data, SOLES, down) - depth(data, NOT_FEET, down)
        errors.append(float(clearance(find_stance(position), vector(*down))) - true)
    assert np.percentile(np.abs(errors), 90) < 0.01
    assert abs(np.median(errors)) < 2e-3


@given(st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi))
def test_half_span_is_that_of_a_rectangle(heading: float, yaw: float) -> None:
    """Largest projection of the four corners, whatever way the foot points."""
    angles = np.zeros(20)
    angles[robot.JOINT_INDEX["l_hip_yaw"]] = yaw
    sole = find_stance(angles).soles[0]
    toward = vector(math.cos(heading), math.sin(heading), 0)
    corners = [
        s * 0.0635 * dot(sole.forward, toward) + t * 0.036 * dot(sole.left, toward)
        for s in (-1, 1) for t in (-1, 1)
    ]  # fmt: skip
    assert half_span(sole, toward) == pytest.approx(max(corners), abs=1e-6)


def test_half_span_along_and_across() -> None:
    sole = find_stance(np.zeros(20)).soles[1]
    assert half_span(sole, vector(-1, 0, 0)) == pytest.approx(0.0635)
    assert half_span(sole, vector(0, 1, 0)) == pytest.approx(0.036)
    diagonal = math.sqrt(0.5)
    assert half_span(sole, vector(diagonal, diagonal, 0)) == pytest.approx(
        0.0995 * diagonal, rel=1e-5
    )
