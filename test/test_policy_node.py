# SPDX-License-Identifier: Apache-2.0
"""The node `policy` beside the simulated driver, over real DDS: targets, gains, refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make ros)")
pytest.importorskip("op3_fall.msg", reason="the messages are not built (make ros)")
pytest.importorskip("robotis_controller_msgs", reason="the messages are not built (make ros)")
pytest.importorskip("onnx", reason="onnx is not installed")

from graph_helpers import ARMED, NOMINAL, Robot, standing
from lifecycle_msgs.msg import Transition
from policy_samples import ACTIONS, contract, layers, model, write
from sim_graph import POSITION_COUNT
from std_msgs.msg import Int32, String
from std_srvs.srv import Trigger

from op3_fall import robot
from op3_fall.nodes import conversions, topics
from op3_fall.onnx_policy import OnnxPolicy
from op3_fall.readings import JointOrder
from op3_fall.safety import SafetyConfig, TargetGuard
from op3_fall.signals import SensorReading

GOAL = robot.POSES["protect_front"]
PAGE_BRAKE = -2


@pytest.fixture
def armed() -> Iterator[Robot]:
    with standing("fall_detector", "gain_scheduler", "policy", policy=ARMED,
                  gain_scheduler=ARMED) as r:  # fmt: skip
        yield r


def stamp(message: Any) -> float:
    return round(conversions.time_of(message.header), 3)


def policy_file(path: Path, **given: Any) -> Path:
    """A small network with a contract that it keeps."""
    plain = contract(**given)
    network = layers(plain.observation_length, plain.action_length)
    return write(path, model(network), contract(network, **given).to_json())


# Lifecycle


def test_it_goes_through_the_lifecycle_and_starts_disarmed() -> None:
    with standing("policy") as r:
        assert r.state("policy") == "unconfigured"
        assert r.change("policy", Transition.TRANSITION_CONFIGURE)
        assert r.state("policy") == "inactive"
        assert r.change("policy", Transition.TRANSITION_ACTIVATE)
        assert r.state("policy") == "active"
        assert r.change("policy", Transition.TRANSITION_DEACTIVATE)
        assert r.change("policy", Transition.TRANSITION_CLEANUP)
        assert r.state("policy") == "unconfigured"


def test_a_robot_that_stands_is_left_alone(armed: Robot) -> None:
    armed.step(60)
    assert armed.said[topics.SET_JOINT_STATES] == armed.said[topics.ENABLE_MODULE] == []
    assert set(armed.owners().values()) == {"base_module"}


def test_inactive_it_lets_the_robot_fall() -> None:
    with standing("fall_detector", "policy", policy={"use_sim_time": True,
                                                     "autostart": "configure"}) as r:  # fmt: skip
        r.fall()
        r.step(40)
        assert r.said[topics.SET_JOINT_STATES] == r.said[topics.ENABLE_MODULE] == []


# A fall


def test_at_a_fall_it_takes_over_with_the_measured_pose_then_streams_at_50_hz(
    armed: Robot,
) -> None:
    armed.fall()
    armed.step(60)
    assert [m.data for m in armed.said[topics.ENABLE_MODULE]] == ["none"]
    assert [m.data for m in armed.said[topics.ACTION_PAGE]] == [PAGE_BRAKE]
    assert set(armed.owners().values()) == {"none"}
    targets = armed.said[topics.SET_JOINT_STATES]
    present = {stamp(m): m.position for m in armed.heard[topics.PRESENT]}
    alarm = next(m for m in armed.said[topics.FALL_STATE] if m.phase)
    assert stamp(targets[0]) == stamp(alarm)
    np.testing.assert_array_equal(targets[0].position, present[stamp(targets[0])])
    assert list(targets[0].name) == list(robot.JOINTS)
    # The driver acts on the first target that it gets once no module owns the joints: no jump.
    first = next(m for m in targets if stamp(m) > stamp(alarm))
    np.testing.assert_array_equal(first.position, present[stamp(first)])
    moves = [m for m in targets if stamp(m) > stamp(first)]
    gaps = np.diff([stamp(m) for m in [first, *moves]])
    assert np.isin(np.rint(gaps / 0.008), (2, 3)).all()
    assert np.mean(gaps) == pytest.approx(0.02, abs=0.001)
    steps = np.abs(np.diff([m.position for m in [first, *moves]], axis=0)).max(axis=1)
    assert steps.max() <= 0.5 + 1e-9  # 25 rad/s
    np.testing.assert_allclose(targets[-1].position, GOAL)
    np.testing.assert_allclose(armed.goal, GOAL)


def test_a_running_action_is_braked(armed: Robot) -> None:
    armed.send("/robotis/enable_ctrl_module", String(data="action_module"))
    armed.send(topics.ACTION_PAGE, Int32(data=1))
    armed.step(20)
    assert set(armed.owners().values()) == {"action_module"}
    armed.fall()
    armed.step(60)
    assert set(armed.owners().values()) == {"none"}
    np.testing.assert_allclose(armed.goal, GOAL)


def test_targets_stop_when_it_lies_and_the_driver_holds(armed: Robot) -> None:
    armed.fall()
    armed.step_until(lambda: armed.phase == 3, within=500)
    armed.step(140)
    sent = len(armed.said[topics.SET_JOINT_STATES])
    armed.step(30)
    assert len(armed.said[topics.SET_JOINT_STATES]) == sent
    np.testing.assert_allclose(armed.goal, GOAL)


def held(r: Robot, cycles: int = 40) -> np.ndarray:
    """The driver's goal, which does not change for some cycles."""
    sent = len(r.said[topics.SET_JOINT_STATES])
    before = np.array(r.goal)
    for _ in range(cycles):
        r.step()
        np.testing.assert_array_equal(r.goal, before)
    assert len(r.said[topics.SET_JOINT_STATES]) == sent
    return before


def test_the_estop_holds_targets_until_it_is_cleared(armed: Robot) -> None:
    armed.fall()
    armed.step(8)
    assert armed.call(Trigger, topics.ESTOP).success
    armed.step(3)
    goal = held(armed)
    assert np.abs(goal - GOAL).max() > 0.1
    armed.call(Trigger, topics.CLEAR_ESTOP)
    armed.step(40)
    np.testing.assert_allclose(armed.goal, GOAL)


def test_a_detector_that_dies_holds_targets(armed: Robot) -> None:
    armed.fall()
    armed.step(8)
    armed.remove("fall_detector")
    armed.connect()
    armed.step(3)
    held(armed)


def test_disarming_in_mid_fall_ends_the_targets(armed: Robot) -> None:
    armed.fall()
    armed.step(8)
    assert armed.change("policy", Transition.TRANSITION_DEACTIVATE)
    armed.step(3)
    held(armed)


# ONNX


def test_a_network_drives_joints_and_gains(tmp_path: Path) -> None:
    file = policy_file(tmp_path / "policy.onnx")
    with standing("fall_detector", "gain_scheduler", "policy", gain_scheduler=ARMED,
                  policy=ARMED | {"policy_file": str(file)}) as r:  # fmt: skip
        r.fall()
        r.step(40)
        requests = r.said[topics.GAIN_REQUEST]
        asked = requests[-1]
        arms = np.isin(robot.JOINTS, robot.ARMS)
        assert len(requests) > 10
        assert (np.array(asked.p_gain)[arms] != 800).any()
        np.testing.assert_array_equal(np.array(asked.p_gain)[~arms], 800)
        servos = r.sim._twin.driver.servos
        told = {stamp(m): np.array(m.p_gain) for m in r.said[topics.JOINT_GAINS]}
        np.testing.assert_array_equal(told[max(told)][~arms], np.array(asked.p_gain)[~arms])
        assert (servos.read("position_p_gain")[arms] != NOMINAL[0]).any()
        np.testing.assert_array_equal(servos.read("position_p_gain")[~arms], NOMINAL[0])
        targets = np.array([m.position for m in r.said[topics.SET_JOINT_STATES]])
        assert np.abs(targets[-1] - targets[0])[arms].max() > 0.01
        np.testing.assert_allclose(targets[-1][~arms], targets[1][~arms], atol=POSITION_COUNT)


def test_its_commands_are_those_that_it_gives_offline(tmp_path: Path) -> None:
    """The same readings and estimates, one after the other, without ROS."""
    file = policy_file(tmp_path / "policy.onnx")
    with standing("fall_detector", "gain_scheduler", "policy", gain_scheduler=ARMED,
                  policy=ARMED | {"policy_file": str(file)}) as r:  # fmt: skip
        r.fall()
        r.step(60)
        said = {
            topic: {stamp(m): m for m in messages}
            for topic, messages in (r.said | r.heard).items()
            if topic != "/clock" and have_stamps(messages)
        }
    targets, requests = said[topics.SET_JOINT_STATES], said[topics.GAIN_REQUEST]
    assert len(requests) > 15
    first = max(time for time in targets if time < min(requests))  # holds the measured pose
    policy, guard = OnnxPolicy.load(file), TargetGuard(SafetyConfig())
    policy.reset(reading_at(said, first))
    guard.start(reading_at(said, first).position)
    before = first
    for time in sorted(requests):
        reading = reading_at(said, time)
        command = policy.step(reading, conversions.fall_estimate(said[topics.FALL_STATE][time]))
        target, _ = guard.step(command.position, reading.position, time - before)
        np.testing.assert_allclose(targets[time].position, target, rtol=0, atol=1e-6)
        for name in ("p_gain", "d_gain", "goal_pwm"):
            np.testing.assert_array_equal(getattr(requests[time], name), getattr(command, name))
        before = time


def have_stamps(messages: list[Any]) -> bool:
    return bool(messages) and hasattr(messages[0], "header")


def reading_at(said: dict[str, dict[float, Any]], time: float) -> SensorReading:
    """What the driver published at that time."""
    joints = said[topics.PRESENT][time]
    columns = JointOrder().columns(
        list(joints.name), joints.position, joints.velocity, joints.effort
    )
    return conversions.sensor_reading(
        conversions.time_of(joints.header), columns, said[topics.IMU][time]
    )


@pytest.mark.parametrize("profile", ["extended", "stock"])
def test_the_shipped_policy_is_the_default_and_the_pose_stands_in(
    profile: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Stock sensing has no effort, which the shipped policy sees."""
    given = {"policy_file": "arms_legs", "profile": profile}
    with standing("fall_detector", "policy", policy=ARMED | given, sim={"profile": profile}) as r:
        log = capfd.readouterr().err
        r.fall()
        r.step(40)
        asked = r.said[topics.GAIN_REQUEST]
    if profile == "extended":
        assert "policy: arms_legs" in log and len(asked) > 5
    else:
        assert "sensor_profile is extended in the policy and stock here" in log
        assert "the scripted pose takes its place" in log and asked == []
        np.testing.assert_allclose(r.goal, GOAL)


def test_without_gain_actions_the_schedule_sets_the_gains(tmp_path: Path) -> None:
    given = {"action": ACTIONS[:1], "observation": contract().observation[:5]}
    file = policy_file(tmp_path / "policy.onnx", **given)
    with standing("fall_detector", "policy", policy=ARMED | {"policy_file": str(file)}) as r:
        r.fall()
        r.step(20)
        assert len(r.said[topics.SET_JOINT_STATES]) > 5
        assert r.said[topics.GAIN_REQUEST] == []


@pytest.mark.parametrize("kind", ["missing", "garbage", "no contract", "other contract"])
def test_a_file_that_does_not_fit_is_refused_and_the_node_lives(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    file = tmp_path / "policy.onnx"
    plain = contract()
    network = layers(plain.observation_length, plain.action_length)
    text = ""
    if kind == "missing":
        text = "cannot be read (No such file or directory)"
    elif kind == "garbage":
        file.write_bytes(b"\x00no network" * 50)
        text = str(file)
    elif kind == "no contract":
        write(file, model(network), None)
        text = "contract"
    else:
        policy_file(file, voltage_v=14.0, control_period_s=0.05)
        text = "voltage_v"
    with standing("policy", policy={"use_sim_time": True, "autostart": "activate",
                                    "policy_file": str(file),
                                    "fallback": False}) as r:  # fmt: skip
        log = capfd.readouterr().err
        assert text in log
        if kind == "other contract":
            assert "control_period_s" in log
        assert "Traceback" not in log
        assert r.state("policy") == "unconfigured"
        assert not r.change("policy", Transition.TRANSITION_CONFIGURE)
        r.step(10)
        assert r.set("policy", policy_file="")[0].successful
        assert r.change("policy", Transition.TRANSITION_CONFIGURE)
