# SPDX-License-Identifier: Apache-2.0
"""Start heights and end effectors against MuJoCo, and by hand."""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from op3_fall import robot
from op3_fall.end_effectors import END_EFFECTORS
from op3_fall.model import load_model
from op3_fall.rotations import from_roll_pitch
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation


def poses(n: int) -> Scenario:
    """Any attitude and angles."""
    rng = np.random.default_rng(4)
    attitude = rng.normal(size=(n, 4))
    return replace(
        Scenario.standing(n),
        position=rng.uniform(robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD, (n, 20)),
        orientation=attitude / np.linalg.norm(attitude, axis=-1, keepdims=True),
    )


@pytest.mark.parametrize("bumps", [False, True])
def test_the_lowest_corner_starts_on_the_floor(bumps: bool) -> None:
    simulation, scenario = Simulation(9, model=load_model(bumps=bumps)), poses(9)
    simulation.reset(scenario)
    mj, data = simulation.model.mj, mujoco.MjData(simulation.model.mj)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    for qpos in simulation.state[0]:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(mj, data)
        low = [
            (data.geom_xpos[g] + (mj.geom_aabb[g, :3] + signs * mj.geom_aabb[g, 3:])
             @ data.geom_xmat[g].reshape(3, 3).T)[:, 2].min()
            for g in range(mj.ngeom)
            if (mj.geom_contype[g] or mj.geom_conaffinity[g]) and mj.geom_bodyid[g]
        ]  # fmt: skip
        assert min(low) == pytest.approx(0, abs=1e-12)


def test_a_height_is_the_same_alone_in_a_batch_and_for_some() -> None:
    scenario = poses(9)
    simulation, one = Simulation(9), Simulation(1)
    simulation.reset(scenario)
    heights = simulation.torso_position[:, 2]
    for k in range(9):
        one.reset(scenario.take([k]))
        assert one.torso_position[0, 2] == heights[k]
    simulation.reset(scenario.take([0, 5]), np.array([3, 8]))
    np.testing.assert_array_equal(simulation.torso_position[[3, 8], 2], heights[[0, 5]])


def test_end_effectors_by_hand() -> None:
    """Arms out, legs straight: lengths of the URDF added up, from the torso's origin."""
    simulation = Simulation(1)
    scenario = Scenario.standing(1, np.zeros(20))
    simulation.reset(scenario)
    origin = simulation.torso_position[0]
    tips = dict(zip(END_EFFECTORS, simulation.end_effectors[0] - origin, strict=True))
    mj = simulation.model.mj
    chain = ["l_sho_pitch_link", "l_sho_roll_link", "l_el_link"]
    shoulder = np.sum([mj.body(name).pos for name in chain], axis=0)
    forearm = mj.geom("l_forearm")  # a capsule along y
    reach = forearm.pos[1] + forearm.size[0] + forearm.size[1]
    assert tips["l_hand"][1] == pytest.approx(shoulder[1] + reach, abs=1e-9)
    legs = ["l_hip_yaw_link", "l_hip_roll_link", "l_hip_pitch_link", "l_knee_link",
            "l_ank_pitch_link", "l_ank_roll_link"]  # fmt: skip
    ankle = np.sum([mj.body(name).pos for name in legs], axis=0)
    assert tips["l_foot"][2] == pytest.approx(ankle[2] - 0.0305, abs=1e-9)
    assert tips["l_foot"][2] + origin[2] == pytest.approx(0, abs=1e-9)
    head = mj.body("head_pan_link").pos + mj.body("head_tilt_link").pos
    np.testing.assert_allclose(tips["head"], head + mj.body("head_tilt_link").ipos, atol=1e-12)
    np.testing.assert_allclose(tips["r_hand"], tips["l_hand"] * [1, -1, 1], atol=1e-9)
    np.testing.assert_allclose(tips["r_foot"], tips["l_foot"] * [1, -1, 1], atol=1e-9)


def test_end_effectors_and_the_torso_are_those_of_now() -> None:
    scenario = pushed_stand(PushSpec(force_n=20, start_s=0.1), range(3), seed=0)
    simulation = Simulation(3)
    simulation.reset(scenario)
    mj, data = simulation.model.mj, mujoco.MjData(simulation.model.mj)
    spin = np.zeros(6)
    for _ in range(45):
        simulation.step(JointCommand.hold(scenario.position))
        tips, bodies = simulation.end_effectors, simulation.model.end_effectors.bodies
        for k in range(3):
            data.qpos[:], data.qvel[:] = (x[k] for x in simulation.state)
            mujoco.mj_forward(mj, data)
            rotation = data.xmat[bodies].reshape(-1, 3, 3)
            points = simulation.model.end_effectors.points
            expected = data.xpos[bodies] + np.einsum("eij,ej->ei", rotation, points)
            np.testing.assert_allclose(tips[k], expected, atol=1e-12)
            torso = simulation.model.torso_id
            mujoco.mj_objectVelocity(mj, data, mujoco.mjtObj.mjOBJ_XBODY, torso, spin, 1)
            np.testing.assert_allclose(simulation.torso_angular_velocity[k], spin[:3], atol=1e-9)
            np.testing.assert_allclose(simulation.torso_orientation[k], data.xquat[torso])
    parts = simulation.floor_forces
    np.testing.assert_allclose(
        np.delete(parts, [robot.PARTS.index(f"{s}_foot") for s in "lr"], axis=1).sum(axis=-1),
        simulation.body_floor_force,
    )


def test_a_robot_that_has_diverged_has_no_places_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file
    simulation = Simulation(3)
    simulation.reset(Scenario.standing(3))
    before = simulation.end_effectors
    simulation.batch.bind("qpos")[1] = np.nan
    after = simulation.end_effectors
    assert np.isnan(after[1]).all()
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("roll", [0.0, 0.3])
def test_a_robot_on_another_file_has_them_too(tmp_path: Path, roll: float) -> None:
    """Links without collision shapes end at their joints; the base may be turned in the file."""
    spec = mujoco.MjSpec.from_file(str(Path(__file__).resolve().parents[1] / "models/scene.xml"))
    for geom in list(spec.geoms):
        if geom.parent.name in ("r_el_link", "r_ank_roll_link"):
            spec.delete(geom)
    spec.body("body_link").quat = from_roll_pitch(roll, 0.0)
    spec.compile()
    path = tmp_path / "other.xml"
    path.write_text(spec.to_xml())
    theirs, ours = load_model(str(path)).end_effectors, load_model().end_effectors
    other = [END_EFFECTORS.index(name) for name in ("r_hand", "r_foot")]
    np.testing.assert_array_equal(theirs.points[other], 0)
    kept = [k for k in range(5) if k not in other]
    np.testing.assert_array_equal(theirs.bodies, ours.bodies)
    np.testing.assert_allclose(theirs.points[kept], ours.points[kept], atol=1e-9)
