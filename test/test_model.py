# SPDX-License-Identifier: Apache-2.0
"""The MuJoCo model of the OP3 against ROBOTIS' published kinematics and inertia."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
FACTS: dict[str, Any] = json.loads((ROOT / "test/data/op3_kinematics.json").read_text())
LINKS: list[dict[str, Any]] = FACTS["links"]
JOINTS: dict[str, dict[str, Any]] = {joint["name"]: joint for joint in FACTS["joints"]}
ARMS_HANGING = {"l_sho_roll": np.pi / 2, "r_sho_roll": -np.pi / 2}
POSES: dict[str, dict[str, float]] = {
    "zero": {},
    "arms_hanging": ARMS_HANGING,
    **FACTS["poses"],
}

RELATIVE = 1e-6
# The heights are rounded to a millimetre, the centre of mass of ini_pose by way of a rounded sum.
HEIGHT_TOLERANCE = 0.6e-3
# ROBOTIS' left and right meshes differ by up to 0.8 mm; the primitives are exact mirror images,
# so they cannot match both sides.
AABB_TOLERANCE = 1e-3
# The mirrored numbers in op3.xml are the same digits; this leaves room for their quaternions.
MIRROR_TOLERANCE = 1e-9
# Looks may stand out of the collision bounds by this much.
LOOK_TOLERANCE = 3e-3


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(ROOT / "models/scene.xml"))


@pytest.fixture
def data(model: mujoco.MjModel) -> mujoco.MjData:
    return mujoco.MjData(model)


def skew(v: Array) -> Array:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def rotation(axis: Array, angle: float) -> Array:
    """Rodrigues' formula; the axis has unit length."""
    k = skew(axis)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def quaternion_matrix(quat: Array) -> Array:
    angle = 2 * np.arctan2(np.linalg.norm(quat[1:]), quat[0])
    return np.eye(3) if angle == 0 else rotation(quat[1:] / np.linalg.norm(quat[1:]), angle)


def tensor(inertia: list[float]) -> Array:
    xx, yy, zz, xy, xz, yz = inertia
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def set_pose(
    model: mujoco.MjModel, data: mujoco.MjData, pose: dict[str, float], height: float = 1.0
) -> None:
    """Puts the upright robot in a pose, by default well above the floor."""
    mujoco.mj_resetData(model, data)
    data.qpos[2] = height
    for joint, angle in pose.items():
        data.joint(joint).qpos = angle
    mujoco.mj_forward(model, data)


def collision_geoms(model: mujoco.MjModel, body: int | None = None) -> Iterator[int]:
    """Geoms of the robot, or of one body of it, that can touch something."""
    for geom in range(model.ngeom):
        owner = model.geom_bodyid[geom]
        if model.geom_contype[geom] and owner != 0 and body in (None, owner):
            yield geom


def half_extent(model: mujoco.MjModel, geom: int, rotated: Array) -> Array:
    """Half the bounding box of a box or capsule, along the rows of a rotation."""
    size = model.geom_size[geom]
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX:
        return np.abs(rotated) @ size
    assert model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
    return np.abs(rotated[:, 2]) * size[1] + size[0]


def extremes(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[float, float]:
    """Height of the lowest and of the highest point of the robot."""
    spans = []
    for geom in collision_geoms(model):
        half = half_extent(model, geom, data.geom_xmat[geom].reshape(3, 3))[2]
        spans.append((data.geom_xpos[geom][2] - half, data.geom_xpos[geom][2] + half))
    return min(low for low, _ in spans), max(high for _, high in spans)


def mass_matrix(position: Array, base: Array, pose: dict[str, float]) -> Array:
    """Sums J' M J over the links of the facts, in MuJoCo's degrees of freedom.

    Those are: velocity of the base in the world, its angular velocity in its own frame, then the
    joints in the order of the links, which is depth first as in MuJoCo.
    """
    joint_names = [link["joint"] for link in LINKS if link["joint"]]
    size = 6 + len(joint_names)
    total = np.zeros((size, size))
    frames: dict[str, tuple[Array, Array]] = {}
    # Of each link: index, anchor and axis of every joint between it and the base.
    chains: dict[str, list[tuple[int, Array, Array]]] = {}
    for link in LINKS:
        name, parent = link["name"], link["parent"]
        if parent is None:
            frames[name], chains[name] = (position, base), []
        else:
            parent_position, parent_rotation = frames[parent]
            joint = JOINTS[link["joint"]]
            anchor = parent_position + parent_rotation @ joint["origin_xyz"]
            axis = np.array(joint["axis"])
            turned = parent_rotation @ rotation(axis, pose.get(joint["name"], 0.0))
            frames[name] = anchor, turned
            step = 6 + joint_names.index(joint["name"]), anchor, parent_rotation @ axis
            chains[name] = [*chains[parent], step]
        origin, orientation = frames[name]
        com = origin + orientation @ link["com"]
        linear, angular = np.zeros((3, size)), np.zeros((3, size))
        linear[:, :3] = np.eye(3)
        linear[:, 3:6] = -skew(com - position) @ base
        angular[:, 3:6] = base
        for index, anchor, axis in chains[name]:
            linear[:, index] = np.cross(axis, com - anchor)
            angular[:, index] = axis
        inertia = orientation @ tensor(link["inertia"]) @ orientation.T
        total += link["mass"] * linear.T @ linear + angular.T @ inertia @ angular
    return total


def test_bodies_and_joints_are_those_of_the_facts(model: mujoco.MjModel) -> None:
    bodies = [model.body(i).name for i in range(1, model.nbody)]
    joints = [model.joint(i).name for i in range(model.njnt)]
    assert bodies == [link["name"] for link in LINKS]
    assert joints == ["root"] + [link["joint"] for link in LINKS[1:]]
    assert model.joint("root").type == mujoco.mjtJoint.mjJNT_FREE
    assert model.nu == 0 and model.nsensor == 0


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link["name"])
def test_link(model: mujoco.MjModel, link: dict[str, Any]) -> None:
    body = model.body(link["name"])
    parent = model.body(body.parentid[0]).name
    assert parent == (link["parent"] or "world")
    if link["joint"]:
        joint = model.joint(link["joint"])
        assert joint.bodyid[0] == body.id
        assert joint.type == mujoco.mjtJoint.mjJNT_HINGE
        np.testing.assert_allclose(joint.pos, 0, atol=1e-12)
        np.testing.assert_allclose(joint.axis, JOINTS[link["joint"]]["axis"], atol=1e-12)
        np.testing.assert_allclose(body.pos, JOINTS[link["joint"]]["origin_xyz"], atol=1e-12)
        np.testing.assert_allclose(body.quat, [1, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(body.mass[0], link["mass"], rtol=RELATIVE)
    np.testing.assert_allclose(body.ipos, link["com"], atol=1e-12)
    axes = quaternion_matrix(body.iquat)
    expected = tensor(link["inertia"])
    actual = axes @ np.diag(body.inertia) @ axes.T
    np.testing.assert_allclose(actual, expected, atol=RELATIVE * np.abs(expected).max())


def test_total_mass(model: mujoco.MjModel) -> None:
    np.testing.assert_allclose(model.body_mass.sum(), 3.14747, rtol=RELATIVE)


@pytest.mark.parametrize("pose", FACTS["heights"])
def test_heights(model: mujoco.MjModel, data: mujoco.MjData, pose: str) -> None:
    set_pose(model, data, POSES[pose])
    low, high = extremes(model, data)
    expected = FACTS["heights"][pose]
    assert data.qpos[2] - low == pytest.approx(expected["body_link"], abs=HEIGHT_TOLERANCE)
    assert high - low == pytest.approx(expected["head_top"], abs=HEIGHT_TOLERANCE)
    assert data.subtree_com[1][2] - low == pytest.approx(expected["com"], abs=HEIGHT_TOLERANCE)


def test_start_is_with_the_soles_on_the_floor(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    mujoco.mj_forward(model, data)
    assert extremes(model, data)[0] == pytest.approx(0, abs=HEIGHT_TOLERANCE)


@pytest.mark.parametrize(
    ("pose", "quat"),
    [
        ("zero", [1.0, 0.0, 0.0, 0.0]),
        ("walkready", [1.0, 0.0, 0.0, 0.0]),
        ("ini_pose", [0.6, -0.3, 0.5, 0.4]),
    ],
)
def test_mass_matrix(
    model: mujoco.MjModel, data: mujoco.MjData, pose: str, quat: list[float]
) -> None:
    base = np.array(quat) / np.linalg.norm(quat)
    set_pose(model, data, POSES[pose])
    data.qpos[:3] = 0.3, -0.2, 0.9
    data.qpos[3:7] = base
    mujoco.mj_forward(model, data)
    actual = np.zeros((model.nv, model.nv))
    for i, unit in enumerate(np.eye(model.nv)):
        mujoco.mj_mulM(model, data, actual[i], unit)
    expected = mass_matrix(data.qpos[:3].copy(), quaternion_matrix(base), POSES[pose])
    assert model.nv == 26
    # Relative to the two diagonal entries that bound each entry.
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(actual / scale, expected / scale, atol=RELATIVE)


@pytest.mark.parametrize("side", ["l", "r"])
def test_soles(model: mujoco.MjModel, side: str) -> None:
    for name, box in zip(("long", "wide"), FACTS["foot_boxes"][side], strict=True):
        geom = model.geom(f"{side}_sole_{name}")
        assert model.body(geom.bodyid[0]).name == f"{side}_ank_roll_link"
        assert geom.type == mujoco.mjtGeom.mjGEOM_BOX
        np.testing.assert_allclose(geom.pos, box["pos"], atol=1e-12)
        np.testing.assert_allclose(geom.size, box["half_size"], atol=1e-12)
        np.testing.assert_allclose(geom.quat, [1, 0, 0, 0], atol=1e-12)


def test_camera(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    set_pose(model, data, {})
    camera = model.camera("egocentric")
    assert model.body(camera.bodyid[0]).name == FACTS["camera"]["parent"]
    assert camera.fovy[0] == FACTS["camera"]["fovy_deg"]
    np.testing.assert_allclose(camera.pos, FACTS["camera"]["xyz"], atol=1e-12)
    right, up, back = data.camera("egocentric").xmat.reshape(3, 3).T
    np.testing.assert_allclose(right, [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(back, [-1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link["name"])
def test_every_body_can_hit_the_floor(model: mujoco.MjModel, link: dict[str, Any]) -> None:
    floor = model.geom("floor")
    assert any(
        model.geom_contype[geom] & floor.conaffinity[0]
        or floor.contype[0] & model.geom_conaffinity[geom]
        for geom in collision_geoms(model, model.body(link["name"]).id)
    )


def test_who_can_touch_whom(model: mujoco.MjModel) -> None:
    def part(geom: int) -> str:
        name = model.body(model.geom_bodyid[geom]).name
        if name.startswith(("l_", "r_")):
            return name[:2] + ("arm" if name[2:].startswith(("sho", "el")) else "leg")
        return "trunk"

    touching = {frozenset({"l_leg", "r_leg"}), frozenset({"l_arm", "r_arm"})}
    for arm in ("l_arm", "r_arm"):
        touching |= {frozenset({arm, other}) for other in ("trunk", "l_leg", "r_leg")}
    geoms = list(collision_geoms(model))
    for first in geoms:
        for second in geoms:
            can = bool(
                model.geom_contype[first] & model.geom_conaffinity[second]
                or model.geom_contype[second] & model.geom_conaffinity[first]
            )
            assert can == (frozenset({part(first), part(second)}) in touching)


def test_collision_geoms_are_mirrored(model: mujoco.MjModel) -> None:
    mirror = np.array([1.0, -1.0, 1.0])
    pairs = 0
    for geom in collision_geoms(model):
        left = model.geom(geom)
        if not left.name.startswith("l_"):
            continue
        right = model.geom("r_" + left.name[2:])
        pairs += 1
        assert left.type == right.type
        np.testing.assert_allclose(left.size, right.size, atol=MIRROR_TOLERANCE)
        np.testing.assert_allclose(left.pos * mirror, right.pos, atol=MIRROR_TOLERANCE)
        axes_left = mirror[:, None] * quaternion_matrix(left.quat)
        axes_right = quaternion_matrix(right.quat)
        half_left, half_right = (
            half_extent(model, g.id, axes) for g, axes in ((left, axes_left), (right, axes_right))
        )
        np.testing.assert_allclose(half_left, half_right, atol=MIRROR_TOLERANCE)
    right_geoms = [g for g in collision_geoms(model) if model.geom(g).name.startswith("r_")]
    assert pairs == len(right_geoms) > 0


@pytest.mark.parametrize("pose", POSES)
def test_no_self_contact(model: mujoco.MjModel, data: mujoco.MjData, pose: str) -> None:
    set_pose(model, data, POSES[pose])
    pairs = [(model.geom(c.geom1).name, model.geom(c.geom2).name) for c in data.contact]
    assert pairs == []


def test_arm_can_touch_the_torso(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    set_pose(model, data, {**ARMS_HANGING, "l_sho_roll": np.pi / 2 + 0.5})
    assert data.ncon > 0


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link["name"])
def test_collision_bounds(model: mujoco.MjModel, link: dict[str, Any]) -> None:
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for geom in collision_geoms(model, model.body(link["name"]).id):
        half = half_extent(model, geom, quaternion_matrix(model.geom_quat[geom]))
        low = np.minimum(low, model.geom_pos[geom] - half)
        high = np.maximum(high, model.geom_pos[geom] + half)
    np.testing.assert_allclose([low, high], link["aabb"], atol=AABB_TOLERANCE)


def test_look_is_within_the_collision_bounds(model: mujoco.MjModel) -> None:
    for link in LINKS:
        body = model.body(link["name"]).id
        low, high = np.array(link["aabb"])
        for geom in range(model.ngeom):
            if model.geom_bodyid[geom] != body or model.geom_group[geom] != 2:
                continue
            axes = quaternion_matrix(model.geom_quat[geom])
            center = model.geom_pos[geom] + axes @ model.geom_aabb[geom, :3]
            half = np.abs(axes) @ model.geom_aabb[geom, 3:]
            assert np.all(center - half > low - LOOK_TOLERANCE), (link["name"], geom)
            assert np.all(center + half < high + LOOK_TOLERANCE), (link["name"], geom)
