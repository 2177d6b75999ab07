# SPDX-License-Identifier: Apache-2.0
"""The simulated robot behind the simulated driver, cycle by cycle."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import mujoco
import mujoco.viewer
import numpy as np
import pytest

from op3_fall import robot
from op3_fall.control_table import to_register
from op3_fall.errors import BadInputError
from op3_fall.scenarios import PushSpec, Scenario, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation
from op3_fall.twin import SimConfig, Twin, TwinCycle
from op3_fall.viewer import Viewer

STAND = robot.POSES["stand"]
ELBOW = robot.JOINT_INDEX["l_el"]


def run(twin: Twin, cycles: int) -> list[TwinCycle]:
    return [twin.cycle() for _ in range(cycles)]


def test_a_fall_is_the_simulations_own_with_goals_cut_to_counts() -> None:
    """The driver in between changes nothing but the resolution of the goals."""
    push = PushSpec(force_n=20, start_s=0.2, force_jitter=0, direction_jitter_deg=0,
                    pose_jitter_deg=0)  # fmt: skip
    twin = Twin(SimConfig(profile="extended", push_force_n=20, push_after_s=0.2), 0.0)
    falls = run(twin, 120)
    simulation = Simulation(1, profile="extended")
    simulation.reset(pushed_stand(push, [0], seed=0))
    goal = (to_register(STAND) - 2048) * 2 * np.pi / 4096
    for cycle in falls:
        reading = simulation.advance(JointCommand.hold(goal[None]), 4)
        for name in ("position", "velocity", "effort", "angular_velocity", "orientation"):
            np.testing.assert_array_equal(getattr(cycle.reading, name), getattr(reading, name)[0])
    assert falls[-1].impact
    assert not falls[0].impact


def test_time_goes_on_from_where_it_is_told() -> None:
    twin = Twin(SimConfig(), 1000.0)
    times = [c.time_s for c in run(twin, 5)]
    np.testing.assert_allclose(times, 1000 + 0.008 * np.arange(1, 6))
    assert twin.time_s == times[-1]


def test_it_stands_in_the_pose_that_is_asked_for() -> None:
    for pose in ("stand", "ini_pose"):
        last = run(Twin(SimConfig(start_pose=pose), 0.0), 250)[-1]
        np.testing.assert_allclose(last.reading.position, robot.POSES[pose], atol=0.03)
        assert last.reading.linear_acceleration[2] > 9.5
        assert not last.impact


def test_the_voltage_is_that_of_the_servos_and_of_the_status() -> None:
    twin = Twin(SimConfig(voltage_v=11.1), 0.0)
    assert twin.simulation.servo.stall_torque_n_m == 3.8
    assert twin.cycle().driver.events.statuses[0].text == "Present Volt : 11.1V"


def test_offsets_are_taken_off_what_is_shown() -> None:
    twin = Twin(SimConfig(profile="ideal"), 0.0)
    plain = run(twin, 10)[-1].reading.position[ELBOW]
    twin.driver.set_offsets({"l_el": 0.2})
    run(twin, 100)
    # base_module holds the goal, so that the arm itself moves by the offset.
    assert twin.cycle().reading.position[ELBOW] == pytest.approx(plain, abs=0.005)
    true = twin.simulation.physics.joints[0][0, ELBOW]
    assert true == pytest.approx(plain + 0.2, abs=0.005)


def test_a_frozen_imu_repeats_while_joints_go_on() -> None:
    twin = Twin(SimConfig(profile="ideal"), 0.0)
    before = run(twin, 3)[-1].reading
    twin.driver.set_control_mode("DirectControlMode")
    twin.push("body_link", [50.0, 0.0, 0.0], 0.2)
    after = run(twin, 20)[-1].reading
    for name in ("angular_velocity", "linear_acceleration", "orientation"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert np.abs(after.position - before.position).max() > 1e-4
    twin.driver.set_control_mode("MotionModuleMode")
    moving = twin.cycle().reading
    assert np.abs(moving.angular_velocity - before.angular_velocity).max() > 0.01


def test_the_push_is_the_one_asked_for() -> None:
    right = SimConfig(push_force_n=10, push_direction_deg=90, push_duration_s=0.05,
                      push_after_s=0.04)  # fmt: skip
    twin = Twin(right, 0.0)
    applied = twin.simulation.batch.bind("xfrc_applied")
    head = twin.simulation.model.head_id
    forces = []
    for _ in range(15):
        forces.append(applied[0, head, :3].copy())
        twin.cycle()
    assert not np.any(forces[:5]) and not np.any(forces[13:])
    np.testing.assert_allclose(forces[7], [0, -10, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"profile": "exact"}, "profile 'exact' is unknown; allowed are stock, extended, ideal; "
         "choose one of them"),
        ({"start_pose": "lying"}, "start pose 'lying' is unknown; allowed are stand, ini_pose; "
         "choose one of them"),
        ({"real_time_factor": -1.0}, "real-time factor is -1; allowed is from 0 to 100; choose a "
         "value of real-time factor in that range"),
        ({"voltage_v": 24.0}, "voltage is 24 V; allowed is from 11.1 to 14.8 V; choose a value "
         "of voltage in that range"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_told(settings: dict[str, str | float], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        replace(SimConfig(), **settings)
    assert str(error.value) == text


def test_an_unknown_body_is_told() -> None:
    with pytest.raises(BadInputError, match="body 'nose' is unknown; allowed are body_link, "):
        Twin(SimConfig(), 0.0).push("nose", [1, 0, 0], 0.1)


def test_without_a_screen_there_is_no_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    simulation = Simulation(1)
    simulation.reset(Scenario.standing(1))
    with pytest.raises(BadInputError) as error:
        Viewer(simulation.model.mj)
    assert str(error.value) == (
        "a window was asked for, but there is no screen (DISPLAY is not set); allowed is a "
        "machine with one; go on without the window (viewer false, render_mode None)"
    )


def test_the_viewer_is_given_the_configuration_60_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Window:
        drawn: list[np.ndarray] = []  # noqa: RUF012

        def __init__(self, _: mujoco.MjModel, data: mujoco.MjData, **panels: bool) -> None:
            assert not any(panels.values()), "they would hide the robot"
            self._data, self.cam = data, mujoco.MjvCamera()

        def is_running(self) -> bool:
            return True

        def lock(self) -> AbstractContextManager[None]:
            return nullcontext()

        def sync(self) -> None:
            self.drawn.append(self._data.geom_xpos.copy())

        def close(self) -> None:
            self.drawn.append(np.zeros(0))

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("mujoco.viewer.launch_passive", Window)
    twin = Twin(SimConfig(), 0.0)
    viewer = Viewer(twin.simulation.model.mj)
    qpos = twin.simulation.physics.qpos[0].copy()
    viewer.show(qpos)
    viewer.show(qpos)  # too soon
    time.sleep(0.02)
    qpos[2] += 1.0
    viewer.show(qpos)
    viewer.close()
    first, second, last = Window.drawn
    robot_moved = (second - first)[:, 2].max()
    assert robot_moved == pytest.approx(1.0)
    assert last.size == 0


def test_a_breakdown_of_the_physics_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file
    twin = Twin(SimConfig(), 0.0)
    twin.cycle()
    assert not twin.broken
    twin.simulation.batch.bind("qvel")[0, 3] = np.nan
    twin.cycle()
    assert twin.broken
    twin.cycle()  # and it can be called on
