# SPDX-License-Identifier: Apache-2.0
"""`fall_detector`: IMU and joint states in, FallState and TorqueLoad out on every reading."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from op3_fall import robot
from op3_fall.attitude import AttitudeConfig
from op3_fall.fall_detection import FallDetector, TiltRule
from op3_fall.impact_detection import ImpactDetector, SpikeRule
from op3_fall.msg import FallState, JointGains, TorqueLoad
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.parameters import NodeSettings
from op3_fall.nodes.running import run_node
from op3_fall.nodes.senses import Senses
from op3_fall.safety import Health, Level, SafetyConfig
from op3_fall.settings import Settings, choice, setting
from op3_fall.signals import JointCommand, SensorReading

__all__ = ["DetectorConfig", "FallDetectorNode", "main"]

_NO_EFFORT = (
    "effort has been zero in every reading: the driver's bulk read lacks present_current. Add "
    "present_velocity and present_current to the last column of all 20 dynamixel rows of "
    "OP3.robot and power-cycle the servos (docs/robot.md). Going on with the IMU alone: falls "
    "are noticed, impacts are not felt in the torques"
)
_SETTLE_S = 0.3
"""Nobody knows what the robot does when the node starts."""
_PATIENCE = 250
"""Readings without effort before it is said: 2 s."""


@dataclass(frozen=True)
class DetectorConfig(Settings):
    """What the robot is like."""

    profile: str = choice("extended", "extended", "stock", "ideal")
    """What the driver reads; stock: no velocity and effort (ROBOTIS' own OP3.robot)."""
    voltage_v: float = setting(12.0, 11.1, 14.8, unit="V")
    """Supply voltage under load, V: 11.1 on the OP3's battery, 12 on its power supply."""


class FallDetectorNode(Node):
    """Runs the detectors on the stream; all times come from the stamps."""

    def __init__(self) -> None:
        """Declare parameters, subscribe, publish."""
        super().__init__("fall_detector")
        rule = TiltRule(settle_s=_SETTLE_S)
        configs = DetectorConfig(), rule, AttitudeConfig(), SpikeRule(), SafetyConfig()
        self._settings = NodeSettings(self, *configs, changed=self._configure)
        self._fall: FallDetector | None = None
        self._impact: ImpactDetector | None = None
        self._goal: np.ndarray | None = None
        self._p_gain = np.full(robot.NUM_JOINTS, robot.Servo.NOMINAL_P)
        self._silent = 0
        self._states = self.create_publisher(FallState, topics.FALL_STATE, topics.RELIABLE)
        self._loads = self.create_publisher(TorqueLoad, topics.TORQUE_LOAD, topics.RELIABLE)
        self._senses = Senses(self, self._settings[SafetyConfig], self._on_reading)
        self.create_subscription(JointState, topics.GOAL, self._on_goal, topics.RELIABLE)
        self.create_subscription(JointGains, topics.JOINT_GAINS, self._on_gains, topics.RELIABLE)
        self._configure()

    def _configure(self) -> None:
        settings = self._settings
        self._servo = robot.Servo(settings[DetectorConfig].voltage_v)
        self._rule = replace(settings[TiltRule], attitude=settings[AttitudeConfig])
        if self._fall is not None and self._impact is not None:
            self._fall.rule, self._impact.rule = self._rule, settings[SpikeRule]
        self._senses.guard.config = settings[SafetyConfig]

    def _on_goal(self, message: JointState) -> None:
        if list(message.name) == list(robot.JOINTS) and len(message.position) == robot.NUM_JOINTS:
            self._goal = np.array(message.position)

    def _on_gains(self, message: JointGains) -> None:
        if len(message.p_gain) == robot.NUM_JOINTS:
            self._p_gain = np.array(message.p_gain)

    def _on_reading(self, reading: SensorReading, health: Health) -> None:
        if self._fall is None or self._impact is None or health.restart:
            self._fall = FallDetector(reading, self._rule)
            self._impact = ImpactDetector(reading, self._servo, self._settings[SpikeRule])
        effort = self._senses.assembler.effort_available
        self._mention_effort(effort)
        impact = self._impact.step(reading)
        fall = self._fall.step(reading, impact.onset)
        if self._goal is not None:  # of the cycle before: its spike is in the next reading
            command = replace(JointCommand.hold(self._goal), p_gain=self._p_gain)
            self._impact.expect(command, reading.time_s)
        torque = reading.effort / self._servo.effort_per_n_m
        if not effort:
            torque = np.full(robot.NUM_JOINTS, np.nan)
            impact = replace(impact, torque_load=np.float64(np.nan), spike=np.float64(np.nan))
        if health.level == Level.FAULT:
            return  # what cannot be trusted is not told; the others see that it stays away
        time_s = float(reading.time_s)
        self._states.publish(conversions.fall_state(time_s, fall))
        self._loads.publish(conversions.torque_load(time_s, torque, impact))

    def _mention_effort(self, available: bool) -> None:
        if available or self._settings[DetectorConfig].profile == "stock":
            return
        self._silent += 1
        if self._silent == _PATIENCE:
            self.get_logger().warning(_NO_EFFORT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; exit status 0, or 2 after bad input."""
    return run_node(FallDetectorNode, argv)


if __name__ == "__main__":
    sys.exit(main())
