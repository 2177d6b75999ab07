# SPDX-License-Identifier: Apache-2.0
"""Operating modes: what torque a goal makes, and when a change takes effect."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.model import load_model
from op3_fall.operating_modes import OperatingMode
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation

Array = NDArray[np.float64]
SERVO = robot.Servo()
B, STALL = SERVO.back_emf_damping, SERVO.stall_torque_n_m
CURRENT, VELOCITY, POSITION = OperatingMode.CURRENT, OperatingMode.VELOCITY, OperatingMode.POSITION
PAN, ELBOW = robot.JOINT_INDEX["head_pan"], robot.JOINT_INDEX["l_el"]


def floating(n: int = 1) -> Simulation:
    """Robots in the air without weight or gear friction, arms away from the body."""
    model = load_model()
    model.mj.opt.gravity[:] = 0
    model.mj.dof_frictionloss[:] = 0
    simulation = Simulation(n, model=model, profile="ideal")
    simulation.reset(Scenario.standing(n, robot.POSES["walkready"]))
    qpos, qvel = simulation.state
    qpos[:, 2] += 1
    simulation.place(qpos, qvel, JointCommand.hold(np.tile(robot.POSES["walkready"], (n, 1))))
    return simulation


def modes(n: int, **joints: OperatingMode) -> NDArray[np.int64]:
    """POSITION but for the named joints."""
    every = np.full((n, 20), int(POSITION))
    for name, mode in joints.items():
        every[:, robot.JOINT_INDEX[name]] = mode
    return every


def goals(n: int, **joints: float) -> JointCommand:
    """The start pose but for the named joints."""
    command = JointCommand.hold(np.tile(robot.POSES["walkready"], (n, 1)))
    for name, goal in joints.items():
        command.position[:, robot.JOINT_INDEX[name]] = goal
    return command


def mass_matrix(simulation: Simulation, qpos: Array) -> Array:
    mj, data = simulation.model.mj, mujoco.MjData(simulation.model.mj)
    data.qpos[:] = qpos
    mujoco.mj_forward(mj, data)
    columns = np.zeros((mj.nv, mj.nv))
    for column, unit in zip(columns, np.eye(mj.nv), strict=True):
        mujoco.mj_mulM(mj, data, column, unit)
    return columns.T


@pytest.mark.parametrize("mode", list(OperatingMode))
def test_the_torque_is_that_which_moves_the_masses(mode: OperatingMode) -> None:
    """From rest and without weight, M (v' - v) / dt is what the motors make, and nothing else."""
    simulation = floating()
    simulation.operate(np.full((1, 20), int(mode)))
    goal = robot.POSES["walkready"] + 0.05 if mode == POSITION else np.linspace(-0.5, 0.5, 20)
    command = JointCommand.hold(goal[None])
    still = JointCommand.hold(robot.POSES["walkready"][None])
    qpos = simulation.state[0][0]
    rest = replace(still, goal_pwm=np.zeros((1, 20)))
    simulation.place(simulation.state[0], simulation.state[1], rest)  # no drive until the cycle
    for _ in range(4):
        simulation.advance(command, 1)
    np.testing.assert_array_equal(simulation.state[1], 0)
    simulation.advance(command, 1)
    made = mass_matrix(simulation, qpos) @ simulation.state[1][0] / simulation.dt_s
    np.testing.assert_allclose(made[:6], 0, atol=1e-9)  # of the free base
    dofs = simulation.model.dof_index
    np.testing.assert_allclose(made[dofs], simulation.physics.torque[0], atol=1e-9)
    if mode == CURRENT:
        np.testing.assert_allclose(made[dofs], goal, atol=1e-9)


def test_in_current_mode_the_torque_is_the_goal_at_any_speed_that_the_duty_allows() -> None:
    """Drive 4.1 N m at most, less 0.851 N m s/rad: 1 N m up to 3.64 rad/s, then less and less."""
    simulation = floating()
    simulation.operate(modes(1, head_pan=CURRENT))
    command, fastest = goals(1, head_pan=1.0), 0.0
    simulation.advance(command, 4)
    for _ in range(130):
        simulation.advance(command, 1)
        speed = float(simulation.physics.joints[1][0, PAN])
        torque = float(simulation.physics.torque[0, PAN])
        if speed < (STALL - 1) / B:
            assert torque == pytest.approx(1.0, abs=1e-9)
        elif speed > (STALL - 1) / B + 0.1:
            assert torque == pytest.approx(STALL - B * speed, abs=1e-9)
        fastest = max(fastest, speed)
    assert fastest > (STALL - 1) / B + 0.2


def test_in_current_mode_work_becomes_motion() -> None:
    """The power of goal times speed is what the robot's kinetic energy gains."""
    simulation = floating()
    simulation.operate(modes(1, head_pan=CURRENT, l_el=CURRENT))
    simulation.model.mj.opt.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    command, work = goals(1, head_pan=0.3, l_el=-0.2), 0.0
    mj, data = simulation.model.mj, mujoco.MjData(simulation.model.mj)
    simulation.advance(command, 4)
    for _ in range(50):
        before = simulation.physics.joints[1][0].copy()
        simulation.advance(command, 1)
        after = simulation.physics.joints[1][0]
        work += simulation.dt_s * (simulation.physics.torque[0] @ (before + after)) / 2
    data.qpos[:], data.qvel[:] = (x[0] for x in simulation.state)
    mujoco.mj_forward(mj, data)
    assert work > 0.01
    assert data.energy[1] == pytest.approx(work, rel=0.02)


@pytest.mark.parametrize("goal", [-1.5, 0.4])
def test_in_velocity_mode_a_joint_without_load_turns_at_the_goal(goal: float) -> None:
    simulation = floating()
    simulation.operate(modes(1, head_pan=VELOCITY))
    command = goals(1, head_pan=goal)
    simulation.advance(command, 4)
    seen = []
    for _ in range(150):
        simulation.advance(command, 1)
        seen.append(simulation.physics.joints[1][0, PAN])
    assert seen[-1] == pytest.approx(goal, rel=1e-3)
    assert np.abs(seen).max() <= abs(goal) * 1.001


def test_an_error_of_1_rad_s_takes_the_full_duty() -> None:
    simulation = floating(2)
    wanted = modes(2, l_el=VELOCITY)
    simulation.operate(wanted)
    qpos, qvel = simulation.state
    qvel[:, simulation.model.dof_index[ELBOW]] = [-1.0, -0.4]
    simulation.advance(goals(2, l_el=0.0), 4)  # the cycle in which the mode is written
    simulation.place(qpos, qvel, goals(2, l_el=0.0))
    drive = simulation.batch.bind("actuator_force")[:, simulation.model.actuator_index[ELBOW]]
    np.testing.assert_allclose(drive, [STALL, 0.4 * STALL], rtol=1e-12)


def test_goal_pwm_and_strength_cap_every_mode() -> None:
    scenario = replace(Scenario.standing(3), strength=np.array([1.0, 0.5, 1.0]))
    for mode, goal in ((CURRENT, 9.0), (VELOCITY, 9.0)):
        simulation = Simulation(3)
        simulation.reset(scenario)
        simulation.operate(modes(3, head_pan=mode))
        command = JointCommand.hold(scenario.position)
        command.position[:, PAN], command.goal_pwm[2] = goal, 177
        simulation.advance(command, 5)
        force = simulation.batch.bind("actuator_force")[:, simulation.model.actuator_index[PAN]]
        np.testing.assert_allclose(force, STALL * np.array([1, 0.5, 0.2]), rtol=1e-9)


def test_a_change_of_mode_takes_effect_with_the_first_goal_after_it() -> None:
    """At the next driver cycle, or as many cycles later as commands are late."""
    scenario = replace(Scenario.standing(2, robot.POSES["walkready"]),
                       latency_s=np.array([0.0, 0.024]))  # fmt: skip
    simulation = Simulation(2, profile="ideal")
    simulation.reset(scenario)
    hold = JointCommand.hold(scenario.position)
    simulation.advance(hold, 9)
    wanted, command = modes(2, head_pan=CURRENT), goals(2, head_pan=1.0)
    torque = []
    for _ in range(40):
        simulation.operate(wanted)  # asking again changes nothing
        simulation.advance(command, 1)
        torque.append(simulation.physics.torque[:, PAN].copy())
    is_goal = np.abs(np.array(torque) - 1.0) < 1e-9
    # Asked for after step 9, written after step 12 (and 24), felt in the step after.
    assert is_goal[:, 0].tolist() == [False] * 3 + [True] * 37
    assert is_goal[:, 1].tolist() == [False] * 15 + [True] * 25


def test_a_reset_puts_its_rows_back_and_leaves_the_others() -> None:
    scenario = pushed_stand(PushSpec(force_n=20, start_s=0.1), range(3), seed=0)
    simulation, fresh = Simulation(3), Simulation(3)
    for each in (simulation, fresh):
        each.reset(scenario)
    simulation.operate(modes(3, l_el=CURRENT))
    command = JointCommand.hold(scenario.position)
    command.position[:, ELBOW] = 0.1
    for _ in range(5):
        simulation.step(command)
    simulation.reset(scenario.take([0, 2]), np.array([0, 2]))
    hold = JointCommand.hold(scenario.position)
    for _ in range(30):
        mixed = JointCommand.hold(hold.position.copy())
        mixed.position[1, ELBOW] = 0.1
        simulation.step(mixed)
        fresh.step(hold)
        assert simulation.state[0][[0, 2]].tobytes() == fresh.state[0][[0, 2]].tobytes()
    assert simulation.physics.torque[1, ELBOW] == pytest.approx(0.1, abs=1e-9)


def test_one_robots_modes_leave_the_others_alone_to_the_bit() -> None:
    scenario = pushed_stand(PushSpec(force_n=20, start_s=0.1), range(4), seed=0)
    hold = JointCommand.hold(scenario.position)
    runs = []
    for rows in ([], [1], [1, 3]):
        simulation, wanted = Simulation(4), modes(4)
        simulation.reset(scenario)
        wanted[rows, ELBOW] = CURRENT
        simulation.operate(wanted)
        for _ in range(40):
            reading = simulation.step(hold)
        runs.append((simulation.state[0], reading.effort))
    for state, effort in runs[1:]:
        for k in (0, 2):
            assert state[k].tobytes() == runs[0][0][k].tobytes()
            assert effort[k].tobytes() == runs[0][1][k].tobytes()
    assert runs[1][0][1].tobytes() == runs[2][0][1].tobytes() != runs[0][0][1].tobytes()


def test_encoders_offsets_are_for_angles_alone() -> None:
    scenario = replace(Scenario.standing(1, robot.POSES["walkready"]),
                       joint_offset=np.full((1, 20), 0.05))  # fmt: skip
    simulation = Simulation(1)
    simulation.reset(scenario)
    simulation.operate(modes(1, head_pan=CURRENT))
    simulation.advance(goals(1, head_pan=0.5), 6)
    assert simulation.physics.torque[0, PAN] == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.full((2, 20), 5), "operating mode is 5; allowed are 0 (CURRENT), 1 (VELOCITY), 3 "
         "(POSITION); choose one of them"),
        (np.full(20, 3), "operating modes have shape (20,); allowed is (2, 20), one for each "
         "joint of each simulation; give as many"),
    ],
)  # fmt: skip
def test_what_is_no_mode_is_told(given: Array, text: str) -> None:
    simulation = Simulation(2)
    simulation.reset(Scenario.standing(2))
    with pytest.raises(BadInputError) as error:
        simulation.operate(given)
    assert str(error.value) == text
