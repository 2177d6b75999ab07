# SPDX-License-Identifier: Apache-2.0
"""`fall_detector`: IMU and joint states in, FallState and TorqueLoad out on every reading."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rclpy.node import Node

from op3_fall import robot
from op3_fall.attitude import AttitudeConfig
from op3_fall.detectors import DetectorConfig, Detectors, suited
from op3_fall.fall_detection import FallRule
from op3_fall.impact_detection import ImpactRule
from op3_fall.msg import FallState, TorqueLoad
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.parameters import NodeSettings
from op3_fall.nodes.running import Voice, run_node
from op3_fall.nodes.senses import Senses
from op3_fall.safety import Health, Level, SafetyConfig
from op3_fall.settings import Settings, choice, setting
from op3_fall.signals import ReadingUse, SensorReading

__all__ = ["DriverConfig", "FallDetectorNode", "main"]

_NO_EFFORT = (
    "effort has been zero in every reading: the driver's bulk read lacks present_current. Add "
    "present_velocity and present_current to the last column of all 20 dynamixel rows of "
    "OP3.robot and power-cycle the servos (docs/robot.md). Going on with the IMU alone: impacts "
    "are felt by gyro and accelerometer, not in the torques"
)
_PATIENCE = 250
"""Readings without effort before it is said: 2 s."""


@dataclass(frozen=True)
class DriverConfig(Settings):
    """What the readings come from."""

    profile: str = choice("extended", "extended", "stock", "ideal")
    """What the driver reads; stock: no velocity and effort (ROBOTIS' own OP3.robot)."""
    voltage_v: float = setting(12.0, 11.1, 14.8, unit="V")
    """Supply voltage under load, V: 11.1 on the OP3's battery, 12 on its power supply."""


class FallDetectorNode(Node):
    """Runs the detectors on the stream; all times come from the stamps."""

    def __init__(self) -> None:
        """Declare parameters, subscribe, publish."""
        super().__init__("fall_detector")
        configs = DriverConfig(), FallRule(), AttitudeConfig(), ImpactRule(), SafetyConfig()
        self._settings = NodeSettings(self, *configs, changed=self._configure)
        self._voice = Voice(self)
        self._detectors: Detectors | None = None
        self._silent = 0
        self._states = self.create_publisher(FallState, topics.FALL_STATE, topics.RELIABLE)
        self._loads = self.create_publisher(TorqueLoad, topics.TORQUE_LOAD, topics.RELIABLE)
        self._senses = Senses(self, self._settings[SafetyConfig], self._on_reading)
        self._configure()

    def _configure(self) -> None:
        settings = self._settings
        self._servo = robot.Servo(settings[DriverConfig].voltage_v)
        rule = replace(settings[FallRule], attitude=settings[AttitudeConfig])
        config = DetectorConfig(rule, settings[ImpactRule])
        self._config = suited(config, settings[DriverConfig].profile)
        if self._detectors is not None:
            self._detectors.change(self._config)
        self._senses.guard.config = settings[SafetyConfig]

    def _on_reading(self, reading: SensorReading, health: Health) -> None:
        if self._detectors is None or health.restart:
            self._detectors = Detectors(reading, self._servo, self._config)
        fall, impact = self._detectors.step(reading)
        torque = reading.effort / self._servo.effort_per_n_m
        if np.isnan(impact.torque_load):
            torque = np.full(robot.NUM_JOINTS, np.nan)
            self._mention_effort()
        if fall.use == ReadingUse.JUMP:
            self._voice.warning("jump",
                "stamp of the sensor reading jumps; allowed are gaps up to "
                f"{self._config.fall.longest_gap_s:g} s; the detectors start anew, check the "
                "driver",
            )  # fmt: skip
        if health.level == Level.FAULT:
            return  # what cannot be trusted is not told; the others see that it stays away
        time_s = float(reading.time_s)
        self._states.publish(conversions.fall_state(time_s, fall))
        self._loads.publish(conversions.torque_load(time_s, torque, impact))

    def _mention_effort(self) -> None:
        if self._settings[DriverConfig].profile == "stock":
            return
        self._silent += 1
        if self._silent == _PATIENCE:
            self.get_logger().warning(_NO_EFFORT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; exit status 0, or 2 after bad input."""
    return run_node(FallDetectorNode, argv)


if __name__ == "__main__":
    sys.exit(main())
