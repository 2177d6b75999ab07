# SPDX-License-Identifier: Apache-2.0
"""Loading the model: foreign files with the OP3's joints fall the same; broken ones are told."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.model import Op3Model, load_model
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation

Array = NDArray[np.float64]
OWN = Path(__file__).resolve().parents[1] / "models/op3.xml"


def root_body(tree: ET.Element) -> ET.Element:
    body = tree.find("worldbody/body")
    assert body is not None
    return body


def reverse_limbs(tree: ET.Element) -> None:
    """Another joint order: the limbs the other way round."""
    base = root_body(tree)
    limbs = base.findall("body")
    for limb in limbs:
        base.remove(limb)
    base.extend(reversed(limbs))


def rename_bodies(tree: ET.Element) -> None:
    new = {body.get("name"): f"part{i}" for i, body in enumerate(tree.iter("body"))}
    for element in tree.iter():
        for attribute in {"name", "target", "body1", "body2"} & set(element.attrib):
            element.set(attribute, new.get(element.get(attribute), element.get(attribute, "")))


def add_own_servos(tree: ET.Element) -> None:
    actuators = ET.SubElement(tree, "actuator")
    for joint in reversed(robot.JOINTS[:7]):
        ET.SubElement(actuators, "motor", name=f"{joint}_act", joint=joint, gear="3")
    sensors = ET.SubElement(tree, "sensor")
    ET.SubElement(sensors, "jointpos", joint="l_knee")
    ET.SubElement(sensors, "gyro", site=add_site(tree))


def add_site(tree: ET.Element) -> str:
    ET.SubElement(root_body(tree), "site", name="torso_site")
    return "torso_site"


def add_keyframe(tree: ET.Element) -> None:
    keys = ET.SubElement(tree, "keyframe")
    ET.SubElement(keys, "key", name="home", qpos=" ".join(["0 0 0.3 1 0 0 0", *["0.1"] * 20]))


def add_floor_of_another_name(tree: ET.Element) -> None:
    world = tree.find("worldbody")
    assert world is not None
    ET.SubElement(world, "geom", name="ground", type="plane", size="0 0 1")


def add_joint_values(tree: ET.Element) -> None:
    for joint in tree.iter("joint"):
        joint.attrib |= {"damping": "9", "armature": "1", "frictionloss": "2", "range": "-1 1"}


def no_change(tree: ET.Element) -> None:
    """Without the scene there is no floor."""


CHANGES: dict[str, Callable[[ET.Element], None]] = {
    "no floor": no_change,
    "another joint order": reverse_limbs,
    "other body names": rename_bodies,
    "actuators and sensors of its own": add_own_servos,
    "a keyframe": add_keyframe,
    "another floor": add_floor_of_another_name,
    "joint values of its own": add_joint_values,
}


def write(folder: Path, *changes: Callable[[ET.Element], None]) -> str:
    tree = ET.fromstring(OWN.read_text())
    for change in changes:
        change(tree)
    path = folder / "foreign.xml"
    path.write_text(ET.tostring(tree, encoding="unicode"))
    return str(path)


def fall(model: Op3Model | None) -> tuple[Array, Array]:
    """Joint angles and torso height over 0.6 s of two falls, before they hit the floor."""
    simulation = Simulation(2, model=model, threads=1)
    model = simulation.model
    scenario = pushed_stand(PushSpec(direction_deg=20), [0, 1], seed=0)
    simulation.reset(scenario)
    joints, base = [], []
    for _ in range(30):
        simulation.step(JointCommand.hold(scenario.position))
        joints += [cycle.qpos[:, model.qpos_index] for cycle in simulation.cycles]
        base += [cycle.qpos[:, :7] for cycle in simulation.cycles]
    return np.stack(joints), np.stack(base)


@pytest.fixture(scope="module")
def own_fall() -> tuple[Array, Array]:
    return fall(None)


@pytest.mark.parametrize("changes", [*[[c] for c in CHANGES.values()], list(CHANGES.values())],
                         ids=[*CHANGES, "all of it"])  # fmt: skip
def test_a_foreign_file_falls_the_same(
    changes: list[Callable[[ET.Element], None]], tmp_path: Path, own_fall: tuple[Array, Array]
) -> None:
    model = load_model(write(tmp_path, *changes))
    assert model.mj.nu == 20
    assert model.mj.nkey == 0
    for mine, other in zip(own_fall, fall(model), strict=True):
        np.testing.assert_allclose(other, mine, atol=1e-3)


def test_the_index_is_in_driver_order(tmp_path: Path) -> None:
    mj = (model := load_model(write(tmp_path, reverse_limbs))).mj
    for i, name in enumerate(robot.JOINTS):
        assert model.qpos_index[i] == mj.joint(name).qposadr[0]
        assert model.dof_index[i] == mj.joint(name).dofadr[0]
        assert mj.actuator(model.actuator_index[i]).trnid[0] == mj.joint(name).id
    assert (np.diff(model.qpos_index) < 0).any()
    np.testing.assert_array_equal(
        mj.jnt_range[[mj.joint(n).id for n in robot.JOINTS]],
        np.stack([robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD], axis=-1),
    )
    bodies = np.concatenate(model.part_bodies)
    assert sorted(bodies) == list(range(1, mj.nbody))
    assert sorted(np.concatenate(model.part_sensors)) == list(range(mj.nbody - 1))


@pytest.mark.parametrize("voltage", [11.1, 12.0, 14.8])
def test_every_joint_gets_the_servo(voltage: float) -> None:
    servo = robot.Servo(voltage)
    mj = load_model(servo=servo, timestep_s=0.001).mj
    assert mj.opt.timestep == 0.001
    np.testing.assert_allclose(mj.dof_damping[6:], servo.back_emf_damping)
    np.testing.assert_allclose(mj.dof_armature[6:], 0.045)
    np.testing.assert_allclose(mj.dof_frictionloss[6:], 0.03)
    np.testing.assert_allclose(mj.actuator_gainprm[:, 0], servo.stiffness_per_p * 800)
    np.testing.assert_allclose(mj.actuator_biasprm[:, 1], -servo.stiffness_per_p * 800)
    np.testing.assert_allclose(mj.actuator_forcerange[:, 1], servo.stall_torque_n_m)
    assert not mj.dof_damping[:6].any()
    assert mj.body_mass.sum() == pytest.approx(3.14747)


def rename_joints(tree: ET.Element) -> None:
    for joint in tree.iter("joint"):
        if joint.get("name", "").startswith("l_"):
            joint.set("name", "left" + joint.get("name", "")[1:])


def drop_free_joint(tree: ET.Element) -> None:
    base = root_body(tree)
    for joint in [*base.findall("freejoint"), *base.findall("joint")]:
        base.remove(joint)


LEFT = [j for j in robot.JOINTS if j.startswith("l_")]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (rename_joints, f"model '{{path}}' lacks 9 of the OP3's 20 joints ({', '.join(LEFT)}); "
         "allowed is an MJCF with all of them; rename its joints or give another model"),
        (drop_free_joint, "model '{path}' has no free joint on 'body_link', the body that carries "
         "head_pan; allowed is a floating base; add <freejoint/> to it"),
    ],
    ids=["no OP3 joints", "no free joint"],
)  # fmt: skip
def test_a_model_that_is_no_op3_is_told(
    change: Callable[[ET.Element], None], text: str, tmp_path: Path
) -> None:
    path = write(tmp_path, change)
    with pytest.raises(BadInputError) as error:
        load_model(path)
    assert str(error.value) == text.format(path=path)


def test_a_missing_file_is_told() -> None:
    with pytest.raises(BadInputError) as error:
        load_model("/no/such/robot.xml")
    assert str(error.value) == (
        "model file '/no/such/robot.xml' does not exist; allowed is an MJCF file with the OP3's "
        "joint names, or 'menagerie'; check the path"
    )


@pytest.mark.parametrize("content", ["<mujoco><worldbody>", "no XML at all", "", "\x00\xff"])
def test_a_broken_file_is_told_in_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.xml"
    path.write_text(content)
    with pytest.raises(BadInputError) as error:
        load_model(str(path))
    text = str(error.value)
    assert text.startswith(f"model file '{path}' cannot be read (")
    assert text.endswith("); allowed is a valid MJCF file; repair it or give another")
    assert "\n" not in text


def test_a_missing_menagerie_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(BadInputError) as error:
        load_model("menagerie")
    assert str(error.value) == (
        "model 'menagerie' needs the package mujoco-menagerie, which is not installed; "
        "install it with: pip install mujoco-menagerie"
    )
