# SPDX-License-Identifier: Apache-2.0
"""Laws of the batched simulation: determinism, symmetry, physics, timing and independence."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.model import load_model
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import CYCLE_S, Simulation

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
SERVO = robot.Servo()
STAND = robot.POSES["stand"]
ELBOW, KNEE = robot.JOINT_INDEX["l_el"], robot.JOINT_INDEX["l_knee"]
PUSH = PushSpec(force_n=20, direction_deg=30, start_s=0.2)


def run(
    simulation: Simulation,
    scenario: Scenario,
    control_steps: int,
    *,
    command: JointCommand | None = None,
    each_step: Callable[[int], object] = lambda k: None,
) -> Array:
    """Configurations after every control step, (steps, n, nq); a pose is held if no command."""
    simulation.reset(scenario)
    command = command or JointCommand.hold(scenario.position)
    qpos, states = simulation.batch.bind("qpos"), []
    for k in range(control_steps):
        each_step(k)
        simulation.step(command)
        states.append(np.array(qpos))
    return np.stack(states)


def same_reading(a: SensorReading, b: SensorReading) -> bool:
    return all(getattr(a, f.name).tobytes() == getattr(b, f.name).tobytes() for f in fields(a))


def one_by_one(simulation: Simulation, command: JointCommand, steps: int) -> Array:
    """Configurations after every physics step, (steps, n, nq)."""
    qpos, states = simulation.batch.bind("qpos"), []
    for _ in range(steps):
        simulation.advance(command, 1)
        states.append(np.array(qpos))
    return np.stack(states)


@pytest.fixture(scope="module")
def falls() -> tuple[Scenario, Array, SensorReading]:
    """64 falls of 0.8 s on one thread."""
    scenario = pushed_stand(PUSH, range(64), seed=0)
    simulation = Simulation(64, threads=1)
    states = run(simulation, scenario, 40)
    return scenario, states, simulation.step(JointCommand.hold(scenario.position))


def test_a_fall_is_the_same_alone_on_two_threads_and_again(
    falls: tuple[Scenario, Array, SensorReading],
) -> None:
    scenario, states, reading = falls
    two = Simulation(64, threads=2)
    for _ in range(2):
        assert run(two, scenario, 40).tobytes() == states.tobytes()
    assert same_reading(two.step(JointCommand.hold(scenario.position)), reading)
    for k in (0, 17, 63):
        alone = run(Simulation(1, threads=1), scenario.take([k]), 40)
        assert alone.tobytes() == np.ascontiguousarray(states[:, [k]]).tobytes()


def test_resetting_some_leaves_the_others_alone_and_starts_afresh(
    falls: tuple[Scenario, Array, SensorReading],
) -> None:
    scenario, states, _ = falls
    eight = scenario.take(range(8))
    again = replace(
        scenario.take([50, 51]), mass_scale=np.full((2, 14), 1.2), friction=np.array([0.3, 0.8])
    )
    simulation, rows = Simulation(8), np.array([2, 5])
    position = eight.position.copy()
    run(simulation, eight, 20)
    simulation.reset(again, rows)
    position[rows] = again.position
    later = []
    for _ in range(20):
        simulation.step(JointCommand.hold(position))
        later.append(np.array(simulation.batch.bind("qpos")))
    others = np.setdiff1d(np.arange(8), rows)
    np.testing.assert_array_equal(np.stack(later)[:, others], states[20:40, others])
    fresh = Simulation(2)
    np.testing.assert_array_equal(np.stack(later)[:, rows], run(fresh, again, 20))
    mine, theirs = simulation.measure(), fresh.measure()
    for name in ("time_s", "impact_impulse", "com", "head_speed", "first_contact_s"):
        np.testing.assert_array_equal(getattr(mine, name)[rows], getattr(theirs, name))
    np.testing.assert_array_equal(mine.peak.gear_load[rows], theirs.peak.gear_load)
    assert (mine.time_s[others] > mine.time_s[rows].max()).all()


def test_a_reset_forgets_everything(falls: tuple[Scenario, Array, SensorReading]) -> None:
    scenario, states, _ = falls
    simulation = Simulation(2)
    odd = replace(
        scenario.take([5, 6]), mass_scale=np.full((2, 14), 2.0), friction=np.full(2, 0.1),
        strength=np.full(2, 0.3),
    )  # fmt: skip
    run(simulation, odd, 30, command=replace(
        JointCommand.hold(odd.position), p_gain=np.full((2, 20), 100)))  # fmt: skip
    np.testing.assert_array_equal(run(simulation, scenario.take([0, 1]), 40), states[:, :2])


def test_mirrored_pushes_give_mirrored_falls() -> None:
    right = replace(Scenario.standing(1), push_force=np.array([[8.0, -15.0, 0.0]]),
                    push_start_s=np.array([0.1]), push_duration_s=np.array([0.1]))  # fmt: skip
    left = replace(right, push_force=right.push_force * [1, -1, 1])
    simulation = Simulation(2)
    pair = Scenario(**{f.name: np.concatenate([getattr(s, f.name) for s in (right, left)])
                       for f in fields(Scenario)})  # fmt: skip
    states = run(simulation, pair, 20)
    base, joints = states[..., :7], states[..., simulation.model.qpos_index]
    mirrored = base[:, 0] * [1, -1, 1, 1, -1, 1, -1]
    # Torso and head are not quite symmetric: the centre of mass lies 0.07 mm to the left.
    np.testing.assert_allclose(base[:, 1], mirrored, atol=0.02)
    np.testing.assert_allclose(joints[:, 1], robot.mirror_joints(joints[:, 0]), atol=0.02)
    assert base[-1, 0, 1] < -0.01


def test_free_flight_conserves_energy_and_momentum() -> None:
    mj = load_model(timestep_s=0.0005).mj
    mj.opt.integrator = mujoco.mjtIntegrator.mjINT_RK4
    mj.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    mj.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_LIMIT
    mj.opt.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    mj.dof_damping[:], mj.dof_frictionloss[:], mj.actuator_forcerange[:] = 0, 0, 0
    data = mujoco.MjData(mj)
    data.qpos[2], data.qpos[3] = 5.0, 1.0
    data.qvel[:] = np.random.default_rng(0).uniform(-2, 2, mj.nv)
    energy, momentum = [], []
    for _ in range(600):
        mujoco.mj_step(mj, data)
        energy.append(data.energy.sum())
        mujoco.mj_subtreeVel(mj, data)
        momentum.append(data.subtree_linvel[0] - [0, 0, -9.81 * data.time])
    np.testing.assert_allclose(energy, energy[0], rtol=1e-6)
    np.testing.assert_allclose(momentum[-1][:2], momentum[0][:2], atol=1e-6)


def floor_force(simulation: Simulation) -> Array:
    """The floor's force on all links together, in the world, (n, 3)."""
    model, data = simulation.model, simulation.batch.bind("sensordata")
    links = [model.mj.body(int(b)).name for part in model.part_bodies for b in part]
    return np.sum([data[:, model.sensor(f"floor_force_{name}")] for name in links], axis=0)


def test_a_standing_robot_presses_with_its_weight() -> None:
    scenario = Scenario.standing(3)
    scenario.mass_scale[1] = 1.5
    scenario.mass_scale[2, robot.PARTS.index("torso")] = 1.2
    simulation = Simulation(3, profile="ideal")
    run(simulation, scenario, 100)
    mj = simulation.model.mj
    mass = [scenario.mass_scale[i] @ [mj.body_mass[b].sum() for b in simulation.model.part_bodies]
            for i in range(3)]  # fmt: skip
    np.testing.assert_allclose(floor_force(simulation)[:, 2], np.array(mass) * 9.81, rtol=2e-3)
    np.testing.assert_allclose(floor_force(simulation)[:, :2], 0, atol=0.05)
    reading = simulation.step(JointCommand.hold(scenario.position))
    force = np.sqrt((reading.linear_acceleration**2).sum(axis=-1))
    np.testing.assert_allclose(force, 9.81, rtol=2e-3)
    truth = simulation.measure()
    assert not truth.hit.any()
    assert np.isnan(truth.impact_s).all()
    assert (np.abs(truth.head_speed) < 0.01).all()


def test_impulses_add_up_to_momentum() -> None:
    """Floor, push and gravity over a whole fall give the robot's momentum."""
    scenario = pushed_stand(PUSH, [0], seed=1)
    simulation = Simulation(1)
    simulation.reset(scenario)
    mj, dt, steps = simulation.model.mj, simulation.dt_s, 450
    command, impulse = JointCommand.hold(scenario.position), np.zeros(3)
    qpos, qvel = simulation.batch.bind("qpos"), simulation.batch.bind("qvel")
    for _ in range(steps):
        simulation.advance(command, 1)
        impulse += floor_force(simulation)[0] * dt
    assert simulation.measure().hit.all()
    impulse += scenario.push_force[0] * scenario.push_duration_s[0]
    impulse[2] -= mj.body_mass.sum() * 9.81 * steps * dt
    data = mujoco.MjData(mj)
    data.qpos[:], data.qvel[:] = qpos[0], qvel[0]
    mujoco.mj_forward(mj, data)
    mujoco.mj_subtreeVel(mj, data)
    momentum = mj.body_mass.sum() * data.subtree_linvel[0]
    np.testing.assert_allclose(impulse, momentum, atol=0.05)


def test_driver_cycles_come_every_8_ms_two_or_three_a_control_step() -> None:
    scenario = Scenario.standing(2)
    simulation = Simulation(2)
    counts, times = [], []

    def note(_: int) -> None:
        counts.append(len(simulation.cycles))
        times.extend(cycle.reading.time_s[0] for cycle in simulation.cycles)

    run(simulation, scenario, 21, each_step=note)
    assert counts == [0, *[2, 3] * 10]
    np.testing.assert_allclose(times, CYCLE_S * np.arange(1, 51))


@pytest.mark.parametrize("profile", ["extended", "ideal"])
def test_a_reading_is_one_cycle_old_and_the_ideal_one_is_the_truth(profile: str) -> None:
    simulation, scenario = Simulation(1, profile=profile), Scenario.standing(1)
    simulation.reset(scenario)
    goal, seen, true, attitude = scenario.position.copy(), [], [scenario.position], []
    for _ in range(20):
        goal[0, [ELBOW, KNEE]] += [-0.05, 0.02]
        simulation.step(JointCommand.hold(goal))
        for cycle in simulation.cycles:
            seen.append(cycle.reading.position)
            true.append(cycle.qpos[:, simulation.model.qpos_index])
            attitude.append((cycle.reading.orientation, cycle.qpos[:, 3:7]))
    if profile == "ideal":
        np.testing.assert_array_equal(seen, true[1:])
        for mine, truth in attitude:
            np.testing.assert_array_equal(mine, truth)
    else:
        np.testing.assert_allclose(seen, true[:-1], atol=1.6e-3)
        assert np.abs(np.array(seen) - true[1:]).max() > 0.01


def test_a_command_takes_effect_at_the_next_driver_cycle() -> None:
    simulation, scenario = Simulation(2), Scenario.standing(2)
    simulation.reset(scenario)
    simulation.advance(JointCommand.hold(scenario.position), 1)
    goal = scenario.position.copy()
    goal[1, ELBOW] -= 0.5
    states = one_by_one(simulation, JointCommand.hold(goal), 6)
    # Asked for after step 1, written after step 4, felt in step 5.
    np.testing.assert_array_equal(states[:3, 0], states[:3, 1])
    assert (states[3:, 0] != states[3:, 1]).any(axis=-1).all()


def test_a_gain_change_affects_that_simulation_alone(
    falls: tuple[Scenario, Array, SensorReading],
) -> None:
    scenario, states, _ = falls
    three = scenario.take([0, 1, 2])
    for register in ("p_gain", "d_gain", "goal_pwm"):
        command = JointCommand.hold(three.position)
        getattr(command, register)[1] = 300
        changed = run(Simulation(3), three, 40, command=command)
        np.testing.assert_array_equal(changed[:, [0, 2]], states[:, [0, 2]])
        assert (changed[-1, 1] != states[-1, 1]).any()


@pytest.mark.parametrize(("pwm", "strength"), [(885, 1.0), (400, 1.0), (885, 0.5), (0, 1.0)])
def test_goal_pwm_and_strength_cap_the_drive(pwm: int, strength: float) -> None:
    scenario = replace(Scenario.standing(1), strength=np.array([strength]))
    goal = JointCommand.hold(np.tile(robot.POSES["ini_pose"], (1, 1)))
    simulation = Simulation(1)
    simulation.reset(scenario)
    force, largest = simulation.batch.bind("actuator_force"), 0.0
    simulation.advance(JointCommand.hold(scenario.position), 3)
    command = replace(goal, goal_pwm=np.full((1, 20), pwm))
    for k in range(60):
        simulation.advance(command, 1)
        if k > 1:
            largest = max(largest, float(np.abs(force).max()))
    assert largest == pytest.approx(4.1 * strength * pwm / 885, rel=1e-6)


@pytest.mark.parametrize(
    ("p_gain", "strength"), [(800, 1.0), (400, 1.0), (1600, 1.0), (800, 0.5), (200, 1.0)]
)
def test_a_held_joint_yields_by_torque_over_stiffness(p_gain: int, strength: float) -> None:
    model = load_model()
    model.mj.opt.gravity[:] = 0
    model.mj.dof_frictionloss[:] = 0
    simulation = Simulation(1, model=model)
    scenario = replace(Scenario.standing(1), strength=np.array([strength]))
    simulation.reset(scenario)
    command = JointCommand.hold(scenario.position)
    command.p_gain[:] = p_gain
    torque = 0.5
    simulation.batch.bind("qfrc_applied")[0, model.dof_index[ELBOW]] = torque
    for _ in range(150):
        simulation.step(command)
    angle = simulation.batch.bind("qpos")[0, model.qpos_index[ELBOW]]
    stiffness = 0.0235945 * p_gain * strength
    assert angle - STAND[ELBOW] == pytest.approx(torque / stiffness, rel=5e-3)


def test_peaks_are_taken_at_physics_rate(falls: tuple[Scenario, Array, SensorReading]) -> None:
    scenario = falls[0].take(range(4))
    simulation = Simulation(4, profile="ideal")
    simulation.reset(scenario)
    command, best = JointCommand.hold(scenario.position), np.zeros((4, 20))
    for _ in range(60):
        simulation.step(command)
        for cycle in simulation.cycles:
            torque = np.abs(cycle.reading.effort) / SERVO.effort_per_n_m
            assert (cycle.peak.torque >= torque - 1e-12).all()
            assert (cycle.peak.torque_load >= torque.sum(axis=-1) - 1e-9).all()
            assert (cycle.peak.torque_load <= cycle.peak.torque.sum(axis=-1) + 1e-9).all()
            best = np.maximum(best, cycle.peak.torque)
    truth = simulation.measure()
    np.testing.assert_array_equal(truth.peak.torque, best)  # 1.2 s are 150 whole cycles
    assert truth.hit.all()
    for f in fields(truth.peak):
        assert (getattr(truth.impact_peak, f.name) <= getattr(truth.peak, f.name)).all()
    assert (truth.impact_s < truth.time_s).all()
    # Someone who measures after every step sees the same in the end, and what he got stays.
    run(simulation, scenario, 60, each_step=lambda _: simulation.measure())
    again = simulation.measure()
    np.testing.assert_array_equal(again.impact_peak.torque, truth.impact_peak.torque)
    np.testing.assert_array_equal(again.impact_impulse, truth.impact_impulse)


def test_a_diverged_simulation_is_told_and_harms_no_other(
    falls: tuple[Scenario, Array, SensorReading], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file
    scenario, states, _ = falls
    four, simulation = scenario.take(range(4)), Simulation(4)

    def break_one(k: int) -> None:
        if k == 10:
            assert not simulation.measure().diverged.any()
            simulation.batch.bind("qvel")[1, 3] = np.nan

    broken = run(simulation, four, 40, each_step=break_one)
    assert simulation.measure().diverged.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(broken[:, [0, 2, 3]], states[:, [0, 2, 3]])
    np.testing.assert_array_equal(run(simulation, four, 40), states[:, :4])
    assert not simulation.measure().diverged.any()


def test_friction_is_each_simulations_own() -> None:
    scenario = replace(
        Scenario.standing(3), push_force=np.tile([6.0, 0, 0], (3, 1)),
        push_duration_s=np.full(3, 0.2), friction=np.array([np.nan, 1.0, 0.01]),
    )  # fmt: skip
    states = run(Simulation(3), scenario, 25)
    np.testing.assert_array_equal(states[:, 0], states[:, 1])  # the model's own is 1
    assert states[-1, 2, 0] > states[-1, 0, 0] + 0.05


def test_masses_are_each_simulations_own() -> None:
    scenario = pushed_stand(PUSH, [0, 0], seed=0)
    scenario.mass_scale[1] = 1.3
    states = run(Simulation(2), scenario, 25)
    np.testing.assert_array_equal(run(Simulation(1), scenario.take([0]), 25)[:, 0], states[:, 0])
    assert np.abs(states[-1, 0] - states[-1, 1]).max() > 0.01


def refuse_length() -> None:
    Simulation(4).reset(Scenario.standing(3))


def refuse_rows() -> None:
    Simulation(4).reset(Scenario.standing(3), np.array([1, 2]))


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (refuse_length, "scenario has 3 simulations; allowed is 4, one for each that is reset; "
         "give Scenario.take(...) of as many"),
        (refuse_rows, "scenario has 3 simulations; allowed is 2, one for each that is reset; "
         "give Scenario.take(...) of as many"),
        (lambda: Simulation(0), "number of simulations is 0; allowed is 1 or more; raise it"),
        (lambda: Simulation(1, profile="exact"), "sensor profile 'exact' is unknown; allowed are "
         "stock, extended, ideal; choose one of them"),
        (lambda: Simulation(1, model=load_model(timestep_s=0.003)), "physics step is 3 ms; "
         "allowed are steps that divide the driver cycle of 8 ms; choose for example 0.5, 1, 2 "
         "or 4 ms"),
        (lambda: Simulation(1, model=load_model(timestep_s=0.008)), "physics step is 8 ms; "
         "allowed are steps that divide the control period of 20 ms; choose for example 0.5, 1, "
         "2 or 4 ms"),
    ],
    ids=["length", "rows", "none", "profile", "step and cycle", "step and period"],
)  # fmt: skip
def test_what_cannot_be_simulated_is_told(bad: Callable[[], None], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        bad()
    assert str(error.value) == text


def test_rows_out_of_step_take_new_commands_at_their_own_driver_cycles() -> None:
    """After a partial reset 20 ms in, row 1's cycles fall 4 ms beside row 0's."""
    scenario = Scenario.standing(2)
    together, alone = Simulation(2), Simulation(1)
    together.reset(scenario)
    together.step(JointCommand.hold(scenario.position))
    together.reset(scenario.take([1]), np.array([1]))
    alone.reset(scenario.take([1]))
    for k in range(20):
        bent = robot.POSES["walkready"] if k % 2 else robot.POSES["stand"]
        reading = together.step(JointCommand.hold(np.tile(bent, (2, 1))))
        expected = alone.step(JointCommand.hold(bent[None]))
        np.testing.assert_array_equal(reading.position[1], expected.position[0])
        np.testing.assert_array_equal(reading.effort[1], expected.effort[0])
    assert {tuple(c.rows) for c in together.cycles} == {(0,), (1,)}


def test_a_push_at_run_time_is_that_of_a_scenario(
    falls: tuple[Scenario, Array, SensorReading],
) -> None:
    scenario, states, _ = falls
    calm = replace(scenario.take([3, 4]), push_force=np.zeros((2, 3)))
    simulation = Simulation(2)

    def push(k: int) -> None:
        if k == 10:  # 0.2 s: the scenario's time
            for row in (0, 1):
                force = scenario.push_force[3 + row]
                simulation.push("head_tilt_link", force, 0.1, np.array([row]))

    pushed = run(simulation, calm, 40, each_step=push)
    np.testing.assert_array_equal(pushed, states[:, [3, 4]])


def test_pushes_add_up_and_end_one_by_one() -> None:
    scenario = replace(
        Scenario.standing(2), push_force=np.tile([1.0, 0, 0], (2, 1)),
        push_start_s=np.full(2, 0.02), push_duration_s=np.full(2, 0.02),
    )  # fmt: skip
    simulation = Simulation(2)
    command, mj = JointCommand.hold(scenario.position), simulation.model.mj
    simulation.reset(scenario)
    applied = simulation.batch.bind("xfrc_applied")
    head, foot = mj.body("head_tilt_link").id, mj.body("l_ank_roll_link").id
    seen = []
    for k in range(30):
        if k == 5:
            simulation.push("head_tilt_link", [0.0, 2.0, 0.0], 0.03)
        if k == 7:
            simulation.push("l_ank_roll_link", [0.0, 0.0, 3.0], 0.0, np.array([1]))
        simulation.advance(command, 1)
        seen.append(applied[:, [head, foot], :3].copy())
    expected = np.zeros((30, 2, 2, 3))
    expected[10:20, :, 0, 0] = 1.0
    expected[5:20, :, 0, 1] = 2.0
    expected[7, 1, 1, 2] = 3.0
    np.testing.assert_array_equal(seen, expected)


def test_a_reset_ends_the_pushes_of_its_rows() -> None:
    simulation, scenario = Simulation(2), Scenario.standing(2)
    simulation.reset(scenario)
    simulation.push("body_link", [5.0, 0.0, 0.0], 1.0)
    simulation.push("body_link", [3.0, 0.0, 0.0], 0.004)
    simulation.reset(scenario.take([0]), np.array([0]))
    simulation.advance(JointCommand.hold(scenario.position), 4)  # the other row's short one ends
    torso = simulation.model.torso_id
    applied = simulation.batch.bind("xfrc_applied")
    assert applied[:, torso, 0].tolist() == [0.0, 5.0]


@pytest.mark.parametrize(
    ("body", "force", "duration", "text"),
    [
        ("nose", [1.0, 0, 0], 0.1, "body 'nose' is unknown; allowed are body_link, "),
        ("body_link", [np.nan, 0, 0], 0.1,
         "force x is nan N; allowed is from -1000 to 1000 N; choose a value of force x in that "
         "range"),
        ("body_link", [1.0, 0, 0], np.inf,
         "push duration is inf s; allowed is from 0 to 60 s; choose a value of push duration in "
         "that range"),
    ],
)  # fmt: skip
def test_what_cannot_be_pushed_is_told(
    body: str, force: list[float], duration: float, text: str
) -> None:
    simulation = Simulation(1)
    simulation.reset(Scenario.standing(1))
    with pytest.raises(BadInputError) as error:
        simulation.push(body, force, duration)
    assert str(error.value).startswith(text)


def test_drivers_may_go_on_in_the_rhythm_of_the_batch() -> None:
    """A robot that is reset after 20 ms has its first cycle with the others', 4 ms later."""
    scenario = pushed_stand(PushSpec(start_s=0.1), [1, 2], seed=0)
    together = Simulation(2)
    together.reset(scenario)
    hold = JointCommand.hold(scenario.position)
    together.step(hold)
    for in_rhythm, latest_s in ((True, 0.020), (False, 0.016)):
        together.reset(scenario.take([1]), np.array([1]), in_rhythm=in_rhythm)
        assert together.step(hold).time_s[1] == pytest.approx(latest_s)
        assert [len(cycle.rows) for cycle in together.cycles] == (
            [2, 2, 2] if in_rhythm else [1, 1, 1, 1, 1]
        )
        together.step(hold)
