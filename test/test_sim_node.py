# SPDX-License-Identifier: Apache-2.0
"""The node `sim` against the facts of ROBOTIS' driver, over real DDS: one test a fact.

What follows from the driver's logic alone is in test_driver.py.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make ros)")
pytest.importorskip("op3_fall.msg", reason="the messages are not built (make ros)")
pytest.importorskip("robotis_controller_msgs", reason="the messages are not built (make ros)")

from geometry_msgs.msg import Vector3
from op3_fall.msg import Push
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy
from robotis_controller_msgs.msg import (
    JointCtrlModule,
    StatusMsg,
    SyncWriteItem,
    WriteControlTable,
)
from robotis_controller_msgs.srv import GetJointModule, LoadOffset, SetJointModule, SetModule
from sensor_msgs.msg import JointState
from sim_graph import (
    ELBOW,
    GOAL,
    IMU,
    KNEE,
    NAMES,
    POSITION_COUNT,
    PRESENT,
    PUBLISHED,
    SERVO,
    STAND,
    TAKEN,
    Graph,
    graph,
    seconds,
)
from std_msgs.msg import Int32, String
from std_srvs.srv import Trigger

from op3_fall import robot
from op3_fall.physics import Physics


@pytest.fixture
def stock() -> Iterator[Graph]:
    with graph() as g:
        yield g


@pytest.fixture
def ideal() -> Iterator[Graph]:
    with graph(profile="ideal") as g:
        yield g


# Facts 1 and 10.1: topics, types, quality of service, rates, order, frames


def test_topics_have_the_drivers_types_depths_and_reliable_volatile_qos(stock: Graph) -> None:
    offered = {p.topic_name: p for p in stock.sim.publishers}
    wanted = {s.topic_name: s for s in stock.sim.subscriptions}
    for table, found in ((PUBLISHED, offered), (TAKEN, wanted)):
        for topic, (kind, depth) in table.items():
            assert found[topic].msg_type is kind, topic
            assert found[topic].qos_profile.depth == depth, topic
    infos = [i for t in PUBLISHED for i in stock.client.get_publishers_info_by_topic(t)]
    infos += [i for t in TAKEN for i in stock.client.get_subscriptions_info_by_topic(t)]
    assert len(infos) >= len(PUBLISHED) + len(TAKEN)
    for info in infos:
        assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE, info
        assert info.qos_profile.durability == QoSDurabilityPolicy.VOLATILE, info


def test_every_cycle_publishes_clock_imu_present_and_goal_8_ms_apart(stock: Graph) -> None:
    stock.step(50)
    for topic in (IMU, PRESENT, GOAL):
        stamps = [seconds(m.header.stamp) for m in stock.heard[topic]]
        assert len(stamps) == 50
        np.testing.assert_allclose(np.diff(stamps), 0.008, atol=1e-6)
    for present, goal, imu in zip(*(stock.heard[t] for t in (PRESENT, GOAL, IMU)), strict=True):
        assert present.header.stamp == goal.header.stamp == imu.header.stamp
    order = [stock.sent_at[t] for t in ("/clock", IMU, PRESENT, GOAL)]
    order[0] = order[0][-50:]  # one more came before everything else
    for sent in zip(*order, strict=True):
        assert list(sent) == sorted(sent)
    assert seconds(stock.heard["/clock"][-1].clock) == pytest.approx(stamps[-1], abs=1e-6)


def test_joint_states_are_alphabetical_full_and_without_a_frame(stock: Graph) -> None:
    stock.step(2)
    for topic in (PRESENT, GOAL):
        message = stock.heard[topic][-1]
        assert list(message.name) == sorted(message.name) == NAMES
        assert len(message.position) == len(message.velocity) == len(message.effort) == 20
        assert message.header.frame_id == ""
    imu = stock.heard[IMU][-1]
    assert imu.header.frame_id == "body_link"
    for covariance in (imu.orientation_covariance, imu.angular_velocity_covariance,
                       imu.linear_acceleration_covariance):  # fmt: skip
        assert list(covariance) == [0.0] * 9


def test_simulated_time_starts_at_the_wall_clock(stock: Graph) -> None:
    assert abs(seconds(stock.step().header.stamp) - time.time()) < 10.0


# Facts 10.2: velocity and effort


def test_stock_velocity_and_effort_are_zero(stock: Graph) -> None:
    stock.free()
    stock.target(l_el=0.5)
    state = stock.step(20)
    assert abs(state.position[ELBOW] - STAND[ELBOW]) > 0.1
    assert list(state.velocity) == list(state.effort) == [0.0] * 20
    goal = stock.heard[GOAL][-1]
    assert list(goal.velocity) == list(goal.effort) == [0.0] * 20


def test_extended_velocity_and_effort_are_quantised() -> None:
    with graph(profile="extended") as g:
        g.free()
        g.target(l_el=0.5, r_sho_pitch=0.4)
        g.step(10)
        for name, per_unit in (("velocity", 41.707853), ("effort", 149.795386991)):
            counts = np.array([getattr(m, name) for m in g.heard[PRESENT]]) * per_unit
            np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
            assert np.abs(counts).max() > 20


# Facts 10.3: position


def test_positions_are_whole_counts(stock: Graph) -> None:
    stock.free()
    stock.target(l_el=0.5, r_el=-0.5)
    stock.step(20)
    angles = np.array([m.position for m in stock.heard[PRESENT]])
    counts = angles / np.pi * np.where(angles > 0, 2047, 2048)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)


def test_the_state_is_one_cycle_old(stock: Graph) -> None:
    joints = stock.sim._twin.simulation.physics.model.qpos_index
    true = []
    stock.free()
    stock.target(l_el=0.8)
    for _ in range(15):
        stock.step()
        true.append(stock.sim._twin.simulation.physics.qpos[0, joints][ELBOW])
    seen = [m.position[ELBOW] for m in stock.heard[PRESENT]]
    np.testing.assert_allclose(seen[1:], true[:-1], atol=POSITION_COUNT)
    assert np.abs(np.array(seen) - true).max() > 5 * POSITION_COUNT


def test_a_command_is_applied_in_the_next_cycle_and_held(stock: Graph) -> None:
    stock.free()
    stock.step()
    stock.target(l_el=0.25)
    stock.step()
    assert stock.goal[ELBOW] == 0.25
    state = [stock.step().position[ELBOW] for _ in range(60)]
    # It was written at the end of that cycle; the first sample of the motion comes 2 later.
    assert abs(state[0] - STAND[ELBOW]) <= POSITION_COUNT < abs(state[1] - STAND[ELBOW])
    assert state[-1] == pytest.approx(0.25, abs=5 * POSITION_COUNT)
    assert stock.goal[ELBOW] == 0.25


# Facts 10.4 and 3.6: ownership


def test_it_stands_and_base_module_owns_every_joint(stock: Graph) -> None:
    assert stock.owners() == dict.fromkeys(NAMES, "base_module")
    stock.target(l_el=0.5)
    stock.step(3)
    assert stock.goal[ELBOW] == pytest.approx(STAND[ELBOW], abs=POSITION_COUNT)
    stock.free()
    stock.target(l_el=0.5)
    stock.step()
    assert stock.goal[ELBOW] == 0.5


def test_the_drivers_own_start_goes_to_ini_pose_and_keeps_the_joints_for_4_s() -> None:
    with graph(start_pose="ini_pose") as g:
        assert g.owners() == dict.fromkeys(NAMES, "none")
        g.step(14)
        g.hears("/robotis/present_joint_ctrl_modules", "base_module")
        g.hears("/robotis/status", "Start Init Pose")
        g.free()
        g.step(450)
        assert set(g.owners().values()) == {"base_module"}
        g.step(60)
        g.hears("/robotis/status", "Finish Init Pose")
        assert set(g.owners().values()) == {"none"}
        np.testing.assert_allclose(g.goal, robot.POSES["ini_pose"], atol=1e-9)


def test_ini_pose_on_demand_moves_the_robot_into_the_crouch(stock: Graph) -> None:
    stock.send("/robotis/base/ini_pose", String(data="something else"))
    stock.send("/robotis/base/ini_pose", String(data="ini_pose"))
    state = stock.step(560)
    np.testing.assert_allclose(state.position, robot.POSES["ini_pose"], atol=0.05)
    message = stock.hears("/robotis/status", "Finish Init Pose")
    assert (message.type, message.module_name) == (StatusMsg.STATUS_INFO, "Base")
    assert seconds(message.header.stamp) > 0
    assert message.header.frame_id == ""


def test_a_running_page_keeps_the_joints_until_it_is_braked(stock: Graph) -> None:
    stock.send("/robotis/enable_ctrl_module", String(data="action_module"))
    stock.send("/robotis/action/page_num", Int32(data=9))
    stock.step(5)
    stock.hears("/robotis/status", "Succeed to start page 9")
    stock.free()
    stock.step(20)
    assert set(stock.owners().values()) == {"action_module"}
    stock.send("/robotis/action/page_num", Int32(data=-2))
    stock.step(2)
    assert set(stock.owners().values()) == {"none"}


def test_walking_gives_way_at_a_phase_boundary(stock: Graph) -> None:
    stock.send("/robotis/enable_ctrl_module", String(data="walking_module"))
    stock.step(1)
    stock.send("/robotis/walking/command", String(data="start"))
    stock.step(5)
    stock.hears("/robotis/status", "Start walking")
    assert stock.register("position_p_gain", KNEE) == 4000
    stock.send("/robotis/set_joint_ctrl_modules", JointCtrlModule(
        joint_name=["l_knee"], module_name=["none"]))  # fmt: skip
    stock.step(20)
    assert stock.owners()["l_knee"] == "walking_module"
    stock.step(20)
    assert stock.owners()["l_knee"] == "none"


def test_a_page_that_ends_is_told(stock: Graph) -> None:
    stock.send("/robotis/enable_ctrl_module", String(data="action_module"))
    stock.send("/robotis/action/page_num", Int32(data=77))
    stock.send("/robotis/action/page_num", Int32(data=9))
    stock.step(190)
    stock.until(lambda: len(stock.heard["/robotis/movement_done"]) == 2)
    assert [m.data for m in stock.heard["/robotis/movement_done"]] == ["action_failed", "action"]
    failed = stock.hears("/robotis/status", "Failed to start page 77")
    assert (failed.type, failed.module_name) == (StatusMsg.STATUS_ERROR, "Action")


# Facts 10.5, 3.4 and 6: registers


def test_gains_and_cap_reach_the_servos(stock: Graph) -> None:
    for item, value in (("position_p_gain", 300), ("position_i_gain", 5),
                        ("position_d_gain", 60), ("goal_pwm", 500)):  # fmt: skip
        stock.write(item, value)
        stock.step()
        assert {stock.register(item, j) for j in range(20)} == {value}
    command = stock.sim._twin.simulation.cycles[-1].command
    assert (command.p_gain == 300).all()
    assert (command.d_gain == 60).all()
    assert (command.goal_pwm == 500).all()


def test_lamps_and_power_do_nothing(stock: Graph) -> None:
    stock.write("LED", 1)
    stock.step()
    stock.write("dynamixel_power", 0, ["open-cr"])
    before = stock.step(2).position
    np.testing.assert_allclose(stock.step(10).position, before, atol=2 * POSITION_COUNT)


@pytest.mark.parametrize(("merge_bug", "d_gain"), [(True, 0), (False, 50)])
def test_items_of_one_cycle_merge_with_the_bug_only(merge_bug: bool, d_gain: int) -> None:
    with graph(merge_bug=merge_bug) as g:
        g.write("position_p_gain", 300)
        g.write("position_d_gain", 50)
        g.step()
        assert g.register("position_p_gain") == 300
        assert g.register("position_d_gain") == d_gain


def test_write_control_table_writes_bytes(stock: Graph) -> None:
    stock.send("/robotis/write_control_table", WriteControlTable(
        joint_name="l_el", start_item_name="position_d_gain", data_length=6,
        data=[9, 0, 0, 0, 0x2C, 1]))  # fmt: skip
    stock.step()
    assert [stock.register(f"position_{g}_gain") for g in "pid"] == [300, 0, 9]


def test_goal_position_can_be_written_raw_where_nothing_writes_over_it(stock: Graph) -> None:
    stock.send("/robotis/set_control_mode", String(data="DirectControlMode"))
    stock.write("goal_position", 2000, ["l_el"])
    stock.step()
    assert stock.register("goal_position") == 2000


def test_stiffness_is_as_the_p_gain_says(ideal: Graph) -> None:
    """A static push at the forearm: a quarter of the gain, four times the angle."""
    bent = []
    for p_gain in (800, 200):
        ideal.write("position_p_gain", p_gain)
        rest = ideal.step(100).position[ELBOW]
        ideal.send("/op3_fall/push", Push(
            body="l_el_link", force=Vector3(x=0.0, y=4.0, z=0.0), duration=2.0))  # fmt: skip
        bent.append(abs(ideal.step(150).position[ELBOW] - rest))
        ideal.call(Trigger, "/sim/reset")
    # 4 N at 70 mm are 0.28 N m, less 0.03 N m of friction at most; the arm gives way too.
    assert 0.22 / 18.9 < bent[0] < 0.32 / 18.9
    assert bent[1] / bent[0] == pytest.approx(4, rel=0.15)


def test_goal_pwm_caps_the_torque(ideal: Graph) -> None:
    ideal.free()
    ideal.write("goal_pwm", 100, ["l_el"])
    ideal.step()
    ideal.target(l_el=1.5)
    ideal.step(5)
    torque = np.array([m.effort[ELBOW] for m in ideal.heard[PRESENT]]) / SERVO.effort_per_n_m
    cap = 4.1 * 100 / 885
    assert 0.8 * cap < np.abs(torque).max() <= cap * 1.001


def test_torque_off_stops_following_targets(stock: Graph) -> None:
    stock.free()
    stock.write("torque_enable", 0, ["l_el"])
    stock.step()
    stock.target(l_el=1.0, r_el=-1.0)
    state = stock.step(40)
    assert abs(state.position[ELBOW] - STAND[ELBOW]) < 0.2
    assert state.position[robot.JOINT_INDEX["r_el"]] < -0.8
    stock.write("torque_enable", 1, ["l_el"])
    assert stock.step(60).position[ELBOW] > 0.8


def test_dxl_torque_restores_the_gains(stock: Graph) -> None:
    stock.write("position_p_gain", 100)
    stock.step()
    stock.send("/robotis/dxl_torque", String(data="check"))
    stock.step()
    assert stock.register("position_p_gain") == 800


# Facts 10.6: services and the map of modules


def test_the_map_of_modules_is_told_on_a_change_only(stock: Graph) -> None:
    maps = stock.heard["/robotis/present_joint_ctrl_modules"]
    stock.step(20)
    before = len(maps)
    stock.free()
    stock.step()
    stock.until(lambda: len(maps) == before + 1)
    assert list(maps[-1].joint_name) == NAMES
    assert list(maps[-1].module_name) == ["none"] * 20
    stock.step(20)
    assert len(maps) == before + 1


def test_the_module_services_switch_and_tell(stock: Graph) -> None:
    assert stock.call(SetModule, "/robotis/set_present_ctrl_modules", module_name="none").result
    response = stock.call(SetJointModule, "/robotis/set_present_joint_ctrl_modules",
                          joint_name=["l_el"], module_name=["action_module"])  # fmt: skip
    assert response.result
    assert stock.owners()["l_el"] == "action_module"
    assert stock.owners()["l_knee"] == "none"
    assert not stock.call(
        SetJointModule, "/robotis/set_present_joint_ctrl_modules", joint_name=["l_el"],
        module_name=[],
    ).result  # fmt: skip
    empty = stock.call(GetJointModule, "/robotis/get_present_joint_ctrl_modules", joint_name=[])
    assert list(empty.joint_name) == list(empty.module_name) == []


def test_a_service_answers_after_the_switch_and_writes_wait_for_it(stock: Graph) -> None:
    stock.send("/robotis/base/ini_pose", String(data="ini_pose"))
    stock.step(470)
    registers: list[int] = []

    def go_on() -> None:
        if not registers:  # the request is on its way: let it come in before the write
            for _ in range(20):
                stock.executor.spin_once(timeout_sec=0.005)
            stock.write("position_p_gain", 300)
        stock.step()
        registers.append(stock.register("position_p_gain"))

    response = stock.call(
        SetModule, "/robotis/set_present_ctrl_modules", while_waiting=go_on, module_name="none"
    )
    assert response.result
    assert 30 <= registers.index(300) <= 33  # what was left of 501 cycles, and one more


def test_offsets_are_loaded_from_a_file(stock: Graph, tmp_path: Path) -> None:
    file = tmp_path / "offset.yaml"
    file.write_text("offset:\n  l_el: 0.1\n  r_el: 0.0\ninit_pose_for_offset_tuner: {}\n")
    assert stock.call(LoadOffset, "/robotis/load_offset", file_path=str(file)).result
    state = stock.step(3)
    assert state.position[ELBOW] == pytest.approx(STAND[ELBOW] - 0.1, abs=0.02)
    assert stock.call(LoadOffset, "/robotis/load_offset", file_path="/nowhere").result


# Facts 10.7 and 4: the IMU


def test_the_imu_at_rest_feels_gravity_and_says_upright(stock: Graph) -> None:
    stock.step(100)
    imu = stock.heard[IMU][-1]
    acceleration = imu.linear_acceleration
    assert acceleration.z == pytest.approx(9.81, abs=0.1)
    assert abs(acceleration.x) < 0.3 and abs(acceleration.y) < 0.1
    assert imu.orientation.w > 0.999
    for value in (acceleration.x, acceleration.y, acceleration.z):
        assert abs(value) <= 2 * 9.80665


def test_the_imu_clips_and_filters(stock: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    stock.step(50)
    start = stock.heard[IMU][-1].linear_acceleration.z
    felt = np.array([[0.0, 0.0, 100.0, 1.0, 0.0, -50.0]])
    monkeypatch.setattr(Physics, "inertial", property(lambda self: felt))
    chip, filtered, expected = start, start, []
    limit, weight = 2 * 9.80665, 1 - np.exp(-2 * np.pi * 41 * 0.002)
    for _ in range(30):
        filtered += 0.4 * (chip - filtered)  # of the sample that the last cycle asked for
        expected.append(filtered)
        for _ in range(4):
            chip += weight * (limit - chip)
    stock.step(30)
    seen = [m.linear_acceleration.z for m in stock.heard[IMU][-30:]]
    np.testing.assert_allclose(seen, expected, atol=0.02)
    assert seen[-1] == pytest.approx(limit, abs=0.01)
    turning = stock.heard[IMU][-1].angular_velocity
    assert turning.x == pytest.approx(1.0, abs=2e-3)
    assert turning.z == pytest.approx(-np.radians(2000) * 32768 / 32800, abs=1e-3)


def test_the_imu_freezes_in_direct_control_mode(stock: Graph) -> None:
    stock.step(5)
    stock.send("/robotis/set_control_mode", String(data="DirectControlMode"))
    stock.send("/op3_fall/push", Push(
        body="body_link", force=Vector3(x=30.0), duration=0.2))  # fmt: skip
    stock.step(8)
    values = {str((m.angular_velocity, m.linear_acceleration)) for m in stock.heard[IMU][-8:]}
    assert len(values) == 1
    stamps = [seconds(m.header.stamp) for m in stock.heard[IMU][-8:]]
    np.testing.assert_allclose(np.diff(stamps), 0.008, atol=1e-6)
    before = stock.taken["/robotis/sync_write_item"]
    stock.step(1)  # open_cr asks for power on the topic, which the driver takes itself
    stock.until(lambda: stock.taken["/robotis/sync_write_item"] > before)


# Buttons, malformed messages, and what a simulator adds


def test_buttons_are_told(stock: Graph) -> None:
    stock.send("/op3_fall/sim/press_button", String(data="start"))
    stock.send("/op3_fall/sim/press_button", String(data="power"))
    stock.step()
    stock.hears("/robotis/open_cr/button", "start")
    stock.hears("/robotis/status", "Button : start")
    assert len(stock.heard["/robotis/open_cr/button"]) == 1


def test_malformed_messages_are_logged_and_skipped(
    stock: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    stock.free()
    before = np.array(stock.step(2).position)
    states, items = "/robotis/set_joint_states", "/robotis/sync_write_item"
    for topic, message in (
        (states, JointState(name=["l_el", "r_el"], position=[-1.0])),
        (states, JointState(name=["l_el"], position=[np.nan])),
        (states, JointState(name=["nose"], position=[1.0])),
        (states, JointState()),
        (items, SyncWriteItem(item_name="position_p_gain", joint_name=NAMES, value=[1, 2])),
        (items, SyncWriteItem(item_name="", joint_name=[""], value=[1])),
        ("/robotis/write_control_table", WriteControlTable(
            joint_name="l_el", start_item_name="goal_pwm", data_length=65535, data=[1])),
        ("/robotis/set_joint_ctrl_modules", JointCtrlModule(joint_name=NAMES, module_name=[])),
        ("/robotis/enable_ctrl_module", String(data="my_module")),
        ("/robotis/set_control_mode", String(data="")),
        ("/robotis/action/page_num", Int32(data=-99)),
        ("/robotis/walking/command", String(data="fly")),
        ("/op3_fall/push", Push(body="nose", duration=1.0)),
        ("/op3_fall/push", Push(body="body_link", force=Vector3(x=np.nan), duration=1.0)),
    ):  # fmt: skip
        stock.send(topic, message)
    after = stock.step(5)
    np.testing.assert_allclose(after.position, before, atol=2 * POSITION_COUNT)
    assert set(stock.owners().values()) == {"none"}
    log = capfd.readouterr().err
    for text in ("has 2 names and 1 positions", "not finite", "no joint 'nose'",
                 "20 devices and 2 values", "no device ''", "says 65535 bytes and has 1",
                 "20 joints and 0 modules", "no module 'my_module'", "no mode ''",
                 "body 'nose' is unknown", "force x is nan N"):  # fmt: skip
        assert text in log


def test_a_warning_is_not_repeated_at_once(
    stock: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        stock.send("/robotis/set_control_mode", String(data="Fast"))
        stock.step()
    assert capfd.readouterr().err.count("there is no mode 'Fast'") == 1


def test_a_push_topples_the_robot_and_a_reset_puts_it_up_again(stock: Graph) -> None:
    stock.send("/op3_fall/push", Push(
        body="head_tilt_link", force=Vector3(x=20.0), duration=0.1))  # fmt: skip
    stock.free()
    last = seconds(stock.step(200).header.stamp)
    assert stock.heard[IMU][-1].linear_acceleration.z < 3
    assert stock.call(Trigger, "/sim/reset").success
    state = stock.step(5)
    assert stock.heard[IMU][-1].linear_acceleration.z > 9
    # The gap tells estimators to begin afresh.
    assert seconds(state.header.stamp) == pytest.approx(last + 1 + 5 * 0.008, abs=1e-6)
    assert set(stock.owners().values()) == {"base_module"}


def test_a_reset_answers_a_service_that_waits(stock: Graph) -> None:
    stock.send("/robotis/base/ini_pose", String(data="ini_pose"))
    stock.step(3)
    waiting = stock.client.create_client(SetModule, "/robotis/set_present_ctrl_modules")
    stock.until(waiting.service_is_ready)
    future = waiting.call_async(SetModule.Request(module_name="none"))
    for _ in range(20):
        stock.executor.spin_once(timeout_sec=0.005)
    stock.step()
    assert not future.done()
    stock.call(Trigger, "/sim/reset")
    stock.until(future.done)
    result = future.result()
    assert result is not None and not result.result


def test_its_own_push_comes_when_it_is_due() -> None:
    with graph(push_force_n=20.0, push_after_s=0.08, push_direction_deg=90.0) as g:
        g.step(11)
        assert abs(g.heard[IMU][-1].angular_velocity.x) < 0.1
        g.step(30)
        assert g.heard[IMU][-1].angular_velocity.x > 0.3  # right side down


def test_parameters_are_checked_when_set(stock: Graph) -> None:
    result = stock.sim.set_parameters([Parameter("profile", value="perfect")])[0]
    assert not result.successful
    assert result.reason == (
        "profile 'perfect' is unknown; allowed are stock, extended, ideal; choose one of them"
    )
    assert stock.sim.set_parameters([Parameter("profile", value="ideal")])[0].successful
    stock.call(Trigger, "/sim/reset")  # from then on
    position = np.array(stock.step(3).position)
    counts = position / np.pi * 2048
    assert np.abs(counts - np.rint(counts)).max() > 0.01
