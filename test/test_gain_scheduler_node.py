# SPDX-License-Identifier: Apache-2.0
"""The node `gain_scheduler` beside the simulated driver, over real DDS: what reaches the servos.

The driver has its merge bug throughout.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make ros)")
pytest.importorskip("op3_fall.msg", reason="the messages are not built (make ros)")
pytest.importorskip("robotis_controller_msgs", reason="the messages are not built (make ros)")

from graph_helpers import ARMED, DAMPED_P, DOMAIN, NODES, NOMINAL, Robot, standing
from lifecycle_msgs.msg import Transition
from std_srvs.srv import Trigger

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig
from op3_fall.gain_schedule import GainConfig, GainPhase
from op3_fall.nodes import conversions, topics
from op3_fall.safety import SafetyConfig

SERVO = robot.Servo()
SOFT = {"stiffness_scale": 0.5, "damping_scale": 2.0}
SOFT_REGISTERS = (int(SERVO.p_register(0.5)), int(SERVO.d_register(2.0)), 885, 0)
DAMPED = (DAMPED_P, int(SERVO.d_register(2.0)), 885, 0)
FOR_ALL = 40
"""Cycles in which four registers reach the servos, each in a cycle of its own."""


@pytest.fixture
def armed() -> Iterator[Robot]:
    with standing("fall_detector", "gain_scheduler", "policy", policy=ARMED,
                  gain_scheduler=ARMED | SOFT) as r:  # fmt: skip
        r.step_until(lambda: r.registers == NOMINAL)
        yield r


@pytest.fixture
def alone() -> Iterator[Robot]:
    """Unconfigured."""
    with standing("gain_scheduler") as r:
        yield r


# Parameters


def test_every_parameter_has_a_description_and_numbers_a_range(alone: Robot) -> None:
    own = [n for n in alone.nodes["gain_scheduler"]._parameters
           if n not in ("use_sim_time", "start_type_description_service")]  # fmt: skip
    assert {"stiffness_scale", "damping_scale", "restore_s", "longest_soft_s",
            "min_stiffness_scale", "nominal_p_gain"} <= set(own)  # fmt: skip
    for described in alone.describe("gain_scheduler", *own):
        assert described.description, described.name
        default = alone.nodes["gain_scheduler"].get_parameter(described.name).value
        if isinstance(default, float):
            assert described.floating_point_range, described.name
        elif isinstance(default, int) and not isinstance(default, bool):
            assert described.integer_range, described.name


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("stiffness_scale", 1.5, "stiffness_scale"),
        ("stiffness_scale", float("nan"), "stiffness_scale out of range"),
        ("damping_scale", 0.5, "damping_scale"),
        ("restore_s", -1.0, "restore_s"),
        ("nominal_p_gain", 20000, "nominal_p_gain"),
        ("nominal_goal_pwm", 1000, "nominal_goal_pwm"),
        ("stiffness_scale", 1, "expected 'Type.DOUBLE'"),
        ("mode", "weak", "mode 'weak' is unknown; allowed are compliant, stiff, soft"),
        ("min_damping_scale", 3.0, "damping scale is 1; allowed is min_damping_scale to"),
        ("max_stiffness_scale", 0.3, "stiffness scale is 0.8; allowed is min_stiffness_scale to"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_reason(
    alone: Robot, name: str, value: object, reason: str
) -> None:
    before = alone.nodes["gain_scheduler"].get_parameter(name).value
    result = alone.set("gain_scheduler", **{name: value})[0]
    assert not result.successful
    assert reason in result.reason
    assert alone.nodes["gain_scheduler"].get_parameter(name).value == before


def test_several_are_taken_together_or_not_at_all(alone: Robot) -> None:
    node = alone.nodes["gain_scheduler"]
    result = alone.set_together(
        "gain_scheduler", stiffness_scale=0.4, restore_s=1.0, longest_soft_s=-1.0
    )
    assert not result.successful
    assert node.get_parameter("stiffness_scale").value == ComplianceConfig().stiffness_scale
    assert node.get_parameter("restore_s").value == ComplianceConfig().restore_s
    # Each alone is below or above the other's old value; together they are a range.
    pair = {"min_stiffness_scale": 0.2, "max_stiffness_scale": 0.3, "stiffness_scale": 0.25}
    assert not alone.set("gain_scheduler", max_stiffness_scale=0.3)[0].successful
    assert alone.set_together("gain_scheduler", **pair).successful
    assert node.settings[GainConfig].max_stiffness_scale == 0.3
    wrong = alone.set_together("gain_scheduler", min_stiffness_scale=0.9, max_stiffness_scale=0.8)
    assert not wrong.successful
    assert "min stiffness scale 0.9 is above max stiffness scale 0.8" in wrong.reason


def test_scales_set_at_run_time_reach_the_servos_though_the_driver_merges(armed: Robot) -> None:
    assert armed.set("gain_scheduler", mode="soft")[0].successful
    armed.step_until(lambda: armed.registers == SOFT_REGISTERS, within=FOR_ALL)
    assert armed.set("gain_scheduler", stiffness_scale=0.3)[0].successful
    armed.step_until(
        lambda: armed.registers == (SERVO.p_register(0.3), *SOFT_REGISTERS[1:]), within=FOR_ALL
    )
    assert armed.set("gain_scheduler", mode="compliant")[0].successful
    armed.step_until(lambda: armed.registers == NOMINAL, within=FOR_ALL)


def test_what_another_node_writes_is_written_over(armed: Robot) -> None:
    armed.set("gain_scheduler", mode="soft")
    armed.step_until(lambda: armed.registers == SOFT_REGISTERS, within=FOR_ALL)
    armed.write("position_p_gain", 100)
    armed.step()
    armed.step_until(lambda: armed.registers == SOFT_REGISTERS, within=4 * FOR_ALL)


# When nominal registers are restored


def test_configuring_restores_what_a_crash_has_left(alone: Robot) -> None:
    alone.spoil(position_p_gain=100, position_d_gain=500, goal_pwm=300, position_i_gain=7)
    assert alone.registers == (100, 500, 300, 7)
    assert alone.state("gain_scheduler") == "unconfigured"
    assert alone.change("gain_scheduler", Transition.TRANSITION_CONFIGURE)
    alone.step_until(lambda: alone.registers == NOMINAL, within=FOR_ALL)
    assert alone.state("gain_scheduler") == "inactive"


@pytest.mark.parametrize(
    "transition",
    [Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN],
    ids=["deactivate", "shutdown"],
)
def test_deactivate_and_shutdown_restore_in_mid_fall(armed: Robot, transition: int) -> None:
    armed.fall()
    armed.step_until(lambda: armed.registers == SOFT_REGISTERS)
    assert armed.change("gain_scheduler", transition)
    armed.step_until(lambda: armed.registers == NOMINAL, within=FOR_ALL)
    armed.step(FOR_ALL)
    assert armed.registers == NOMINAL


def test_ctrl_c_restores_before_the_process_ends() -> None:
    with standing("fall_detector") as r:
        process = subprocess.Popen(
            [sys.executable, "-m", "op3_fall.nodes.gain_scheduler", "--ros-args",
             "-p", "autostart:=activate", "-p", "mode:=soft", "-p", "stiffness_scale:=0.5",
             "-p", "damping_scale:=2.0", "-p", "use_sim_time:=true"],
            env=os.environ | {"ROS_DOMAIN_ID": str(DOMAIN)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            r.until(lambda: r.client.count_subscribers(topics.FALL_STATE) == 2)
            for _ in range(2000):
                if r.registers == SOFT_REGISTERS:
                    break
                r.sim.cycle()
                for _ in range(10):
                    r.executor.spin_once(timeout_sec=0.002)
            assert r.registers == SOFT_REGISTERS
            process.send_signal(signal.SIGINT)
            while process.poll() is None:  # the driver goes on meanwhile
                r.sim.cycle()
                for _ in range(10):
                    r.executor.spin_once(timeout_sec=0.002)
            assert process.returncode == 0
            assert r.registers == NOMINAL
            assert "Traceback" not in process.communicate()[1]
        finally:
            process.kill()
            process.wait()


# A fall


def test_a_fall_softens_then_restores_and_tells_what_it_commands(armed: Robot) -> None:
    armed.fall()
    armed.step_until(lambda: armed.registers == SOFT_REGISTERS)
    armed.step_until(lambda: armed.registers == NOMINAL, within=500)
    told = armed.said[topics.JOINT_GAINS]
    order = [told[0].phase, *(b.phase for a, b in pairwise(told)
                              if a.phase != b.phase)]  # fmt: skip
    assert order == [GainPhase.STIFF, GainPhase.SOFT, GainPhase.RESTORE, GainPhase.DONE]
    soft = [m for m in told if m.phase == GainPhase.SOFT]
    for message in soft:
        assert (message.stiffness_scale, message.damping_scale) == (0.5, 2.0)
        assert set(message.p_gain) == {SOFT_REGISTERS[0]}
        assert set(message.d_gain) == {SOFT_REGISTERS[1]}
        assert set(message.goal_pwm) == {885} and set(message.i_gain) == {0}
        assert list(message.joint_name) == list(robot.JOINTS)
    assert not soft[0].written and soft[-1].written
    scales = [m.stiffness_scale for m in told if m.phase == GainPhase.RESTORE]
    assert (np.diff(scales) >= 0).all() and len(set(scales)) > 5
    # One message with every reading of the fall: stamps are those of the fall states.
    stamps = {round(conversions.time_of(m.header), 3) for m in told}
    falling = {round(conversions.time_of(m.header), 3)
               for m in armed.said[topics.FALL_STATE] if m.phase}  # fmt: skip
    assert len(falling - stamps) <= 2


def test_a_second_fall_softens_until_its_own_impact(armed: Robot) -> None:
    """What was felt in the first one does not count."""
    armed.fall()
    armed.step_until(lambda: armed.gains.phase == GainPhase.DONE, within=500)
    armed.call(Trigger, "/sim/reset")
    armed.step_until(lambda: armed.phase == 0, within=400)
    felt = armed.said[topics.TORQUE_LOAD][-1].impact_count
    del armed.said[topics.JOINT_GAINS][:]
    armed.fall()
    armed.step_until(lambda: armed.gains.phase == GainPhase.SOFT)
    armed.step_until(lambda: armed.gains.phase == GainPhase.RESTORE)
    assert armed.said[topics.TORQUE_LOAD][-1].impact_count > felt
    assert armed.said[topics.TORQUE_LOAD][-1].subsided


# E-stop


def test_the_estop_damps_and_is_latched_until_it_is_cleared(armed: Robot) -> None:
    assert armed.call(Trigger, topics.ESTOP).success
    armed.step_until(lambda: armed.registers == DAMPED, within=FOR_ALL)
    assert armed.gains.phase == GainPhase.DAMPED
    armed.step(100)
    assert armed.registers == DAMPED
    answer = armed.call(Trigger, topics.CLEAR_ESTOP)
    assert (answer.success, answer.message) == (True, "cleared")
    armed.step_until(lambda: armed.registers == NOMINAL, within=FOR_ALL)
    answer = armed.call(Trigger, topics.CLEAR_ESTOP)
    assert (answer.success, answer.message) == (False, "it was not pressed")


def test_the_estop_works_disarmed() -> None:
    with standing("fall_detector", "gain_scheduler") as r:
        assert r.change("gain_scheduler", Transition.TRANSITION_CONFIGURE)
        r.step_until(lambda: r.registers == NOMINAL)
        r.step(FOR_ALL)
        r.call(Trigger, topics.ESTOP)
        r.step_until(lambda: r.registers == DAMPED, within=FOR_ALL)
        r.call(Trigger, topics.CLEAR_ESTOP)
        r.step_until(lambda: r.registers == NOMINAL, within=FOR_ALL)


def test_arming_and_disarming_do_not_undo_the_estop(armed: Robot) -> None:
    armed.call(Trigger, topics.ESTOP)
    armed.step_until(lambda: armed.registers == DAMPED, within=FOR_ALL)
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        assert armed.change("gain_scheduler", transition)
        for _ in range(FOR_ALL):
            armed.step()
            assert armed.registers == DAMPED


def test_the_estop_survives_the_schedulers_death(armed: Robot) -> None:
    armed.call(Trigger, topics.ESTOP)
    armed.step_until(lambda: armed.registers == DAMPED, within=FOR_ALL)
    armed.remove("gain_scheduler")
    armed.connect()
    armed.step(20)
    assert armed.registers == DAMPED  # nobody writes
    armed.add("gain_scheduler", NODES["gain_scheduler"]())
    armed.connect()
    armed.step(2 * FOR_ALL)
    assert armed.registers == DAMPED
    assert armed.call(Trigger, topics.CLEAR_ESTOP).success
    armed.step_until(lambda: armed.registers == NOMINAL, within=FOR_ALL)


# Sensors and parts that fail


def silence(r: Robot) -> None:
    """The driver's sensors fall silent; it still takes commands."""
    r.remove("fall_detector")
    r.connect()
    r.step(round(SafetyConfig().fault_after_s / 0.008) + 2)


def test_a_silent_detector_damps_during_a_fall(armed: Robot) -> None:
    armed.fall()
    silence(armed)
    armed.step_until(lambda: armed.registers == DAMPED, within=FOR_ALL)
    assert armed.gains.phase == GainPhase.DAMPED


def test_a_silent_detector_changes_nothing_while_the_robot_stands(armed: Robot) -> None:
    armed.step(20)
    silence(armed)
    armed.step(FOR_ALL)
    assert armed.registers == NOMINAL


def test_an_imu_that_fails_damps_during_a_fall(armed: Robot) -> None:
    armed.fall()
    imu: Any = armed.sim._topics._imu
    imu.publish = lambda _: None
    for _ in range(60):
        armed.sim.cycle()
        armed.settle()
    assert armed.registers == DAMPED


def test_readings_that_come_back_end_the_damping(armed: Robot) -> None:
    armed.fall()
    silence(armed)
    armed.step_until(lambda: armed.registers == DAMPED, within=FOR_ALL)
    armed.add("fall_detector", NODES["fall_detector"]())
    armed.connect()
    armed.step_until(lambda: armed.registers != DAMPED, within=200)


def test_a_request_with_too_few_registers_is_told_and_ignored(
    armed: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    from op3_fall.msg import JointGains

    publisher = armed.client.create_publisher(JointGains, topics.GAIN_REQUEST, 10)
    armed.connect()
    publisher.publish(JointGains(p_gain=[1, 2]))
    armed.settle()
    armed.step(5)
    assert armed.registers == NOMINAL
    assert "allowed is 20 of each; it is ignored" in capfd.readouterr().err
