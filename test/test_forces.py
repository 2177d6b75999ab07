# SPDX-License-Identifier: Apache-2.0
"""Forces from outside: which part is pushed, a hand that holds, and ground truth of the torso."""

from collections.abc import Callable
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.rotations import from_roll_pitch
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation

# The first link of each part; of the head the link that carries the camera.
PUSHED = (
    "head_tilt_link", "body_link", "l_sho_pitch_link", "l_el_link", "r_sho_pitch_link",
    "r_el_link", "l_hip_yaw_link", "l_hip_pitch_link", "l_knee_link", "l_ank_pitch_link",
    "r_hip_yaw_link", "r_hip_pitch_link", "r_knee_link", "r_ank_pitch_link",
)  # fmt: skip


def test_each_part_is_pushed_at_its_first_link() -> None:
    n = len(robot.PARTS)
    scenario = replace(
        Scenario.standing(n), push_force=np.tile([1.0, 2.0, 3.0], (n, 1)),
        push_part=np.arange(n), push_start_s=np.full(n, 0.004), push_duration_s=np.full(n, 0.004),
    )  # fmt: skip
    simulation = Simulation(n)
    simulation.reset(scenario)
    applied, names = simulation.batch.bind("xfrc_applied"), simulation.model.mj.body
    for step in range(6):
        simulation.advance(JointCommand.hold(scenario.position), 1)
        expected = np.zeros_like(applied)
        if step in (2, 3):
            for k, name in enumerate(PUSHED):
                expected[k, names(name).id, :3] = 1, 2, 3
        np.testing.assert_array_equal(applied, expected)


def test_a_hand_carries_and_turns_the_robot() -> None:
    """Twice its weight lifts it with g; a torque on top begins to turn it about the vertical."""
    simulation, scenario = Simulation(3), Scenario.standing(3)
    simulation.reset(scenario)
    weight = simulation.model.mj.body_mass.sum() * 9.81
    wrench = np.zeros((3, 6))
    wrench[1:, 2], wrench[2, 5] = 2 * weight, 0.2
    simulation.hold(wrench)
    wrench[:] = 99.0  # the simulation has its own
    simulation.advance(JointCommand.hold(scenario.position), 50)
    rate = simulation.batch.bind("qvel")[:, 5]
    velocity = simulation.torso_velocity
    assert abs(velocity[0, 2]) < 0.01
    np.testing.assert_allclose(velocity[1:, 2], 9.81 * 0.1, rtol=0.1)
    assert abs(rate[0]) < 0.01
    assert abs(rate[1]) < 0.1 < 0.5 < rate[2] - rate[1]
    assert (simulation.torso_position[1:, 2] > simulation.torso_position[0, 2] + 0.03).all()
    simulation.hold(None)
    simulation.advance(JointCommand.hold(scenario.position), 1)
    assert not simulation.batch.bind("xfrc_applied").any()


def test_a_hand_adds_to_pushes_and_a_reset_takes_it_off() -> None:
    torso = robot.PARTS.index("torso")
    scenario = replace(
        Scenario.standing(2), push_force=np.tile([1.0, 0, 0], (2, 1)), push_part=np.full(2, torso),
        push_start_s=np.full(2, 0.004), push_duration_s=np.full(2, 0.004),
    )  # fmt: skip
    simulation, command = Simulation(2), JointCommand.hold(scenario.position)
    simulation.reset(scenario)
    applied, body = simulation.batch.bind("xfrc_applied"), simulation.model.torso_id
    simulation.hold([[0, 5, 0, 0, 0, 0.5]] * 2)
    simulation.push("body_link", [0, 0, 7.0], 0.006)
    seen = []
    for _ in range(6):
        simulation.advance(command, 1)
        seen.append(applied[0, body].tolist())
    assert seen == [[0, 5, 7, 0, 0, 0.5]] * 2 + [[1, 5, 7, 0, 0, 0.5]] + [
        [1, 5, 0, 0, 0, 0.5], *[[0, 5, 0, 0, 0, 0.5]] * 2]  # fmt: skip
    simulation.reset(scenario.take([0]), np.array([0]))
    simulation.advance(command, 3)
    assert applied[:, body].tolist() == [[1, 0, 0, 0, 0, 0], [0, 5, 0, 0, 0, 0.5]]


def test_a_hand_at_one_robot_leaves_the_others_alone() -> None:
    scenario = pushed_stand(PushSpec(force_n=20, start_s=0.2), range(3), seed=0)
    scenario = replace(scenario, push_part=np.full(3, robot.PARTS.index("torso")))
    command, states = JointCommand.hold(scenario.position), []
    for held in (False, True):
        simulation = Simulation(3)
        simulation.reset(scenario)
        simulation.advance(command, 100)
        if held:
            simulation.hold([[0.0] * 6, [0, 0, 20.0, 0, 0, 0], [0.0] * 6])
        simulation.advance(command, 200)
        states.append(np.array(simulation.physics.qpos))
    assert states[0][[0, 2]].tobytes() == states[1][[0, 2]].tobytes()
    assert (states[0][1] != states[1][1]).any()


@pytest.mark.parametrize(
    ("wrench", "text"),
    [
        ([0.0] * 6, "wrench has shape (6,); allowed is (2, 6), a force and a torque for each "
         "simulation; give as many"),
        ([[0.0] * 6, [0, 0, np.nan, 0, 0, 0]], "component of the wrench is nan; allowed is from "
         "-1000 to 1000; choose a value of component of the wrench in that range"),
        ([[0.0] * 6, [0, 0, 0, 0, -1001, 0]], "component of the wrench is -1001; allowed is from "
         "-1000 to 1000; choose a value of component of the wrench in that range"),
    ],
)  # fmt: skip
def test_what_no_hand_can_do_is_told(wrench: list[object], text: str) -> None:
    simulation = Simulation(2)
    simulation.reset(Scenario.standing(2))
    with pytest.raises(BadInputError) as error:
        simulation.hold(np.array(wrench, dtype=float))
    assert str(error.value) == text


def fallen(check: Callable[[Simulation], None]) -> Simulation:
    """Three robots of which the first stands and the others fall; checked every 20 ms."""
    scenario = pushed_stand(PushSpec(force_n=20, start_s=0.2), range(3), seed=0)
    scenario.push_force[0] = 0
    simulation = Simulation(3)
    simulation.reset(scenario)
    for _ in range(60):
        simulation.step(JointCommand.hold(scenario.position))
        check(simulation)
    return simulation


def test_the_floors_force_on_the_body_is_that_of_now() -> None:
    began = np.zeros(3, dtype=bool)

    def check(simulation: Simulation) -> None:
        force = simulation.body_floor_force
        began[:] |= force > 0
        assert (began <= simulation.measure().hit).all()

    simulation = fallen(check)
    assert began.tolist() == [False, True, True]
    model, data = simulation.model, simulation.batch.bind("sensordata")
    expected = np.zeros(3)
    for part, bodies in zip(robot.PARTS, model.part_bodies, strict=True):
        if "foot" not in part:
            names = [model.mj.body(int(b)).name for b in bodies]
            force = sum(data[:, model.sensor(f"floor_force_{name}")] for name in names)
            expected += np.linalg.norm(force, axis=-1)
    np.testing.assert_allclose(simulation.body_floor_force, expected, rtol=1e-12)
    assert (simulation.body_floor_force[1:] > 1).all()


def test_the_torsos_truth_is_mujocos() -> None:
    before = []

    def check(simulation: Simulation) -> None:
        before.append(simulation.torso_position)

    simulation = fallen(check)
    mj, data = simulation.model.mj, mujoco.MjData(simulation.model.mj)
    torso, velocity = simulation.model.torso_id, np.zeros(6)
    for k in range(3):
        data.qpos[:] = simulation.batch.bind("qpos")[k]
        data.qvel[:] = simulation.batch.bind("qvel")[k]
        mujoco.mj_forward(mj, data)
        down = -data.xmat[torso].reshape(3, 3)[2]
        np.testing.assert_allclose(simulation.torso_gravity[k], down, atol=1e-9)
        np.testing.assert_allclose(simulation.torso_position[k], data.xpos[torso], atol=1e-9)
        mujoco.mj_objectVelocity(mj, data, mujoco.mjtObj.mjOBJ_XBODY, torso, velocity, 0)
        np.testing.assert_allclose(simulation.torso_velocity[k], velocity[3:], atol=1e-9)
    assert (before[-1][1:, 2] < before[0][1:, 2] - 0.1).all()  # what was got stays


def test_gravity_in_the_torso_by_hand() -> None:
    """Nose down by 90 degrees x points down; right side down by 90 degrees y points up."""
    attitude = from_roll_pitch([0, 0, np.pi / 2], [0, np.pi / 2, 0])
    simulation = Simulation(3)
    simulation.reset(replace(Scenario.standing(3), orientation=attitude))
    expected = [[0, 0, -1], [1, 0, 0], [0, -1, 0]]
    np.testing.assert_allclose(simulation.torso_gravity, expected, atol=1e-12)
