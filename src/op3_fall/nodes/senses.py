# SPDX-License-Identifier: Apache-2.0
"""The driver's IMU and joint states as readings, and whether they can be trusted."""

from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import Imu, JointState

from op3_fall.errors import BadInputError
from op3_fall.nodes import topics
from op3_fall.nodes.conversions import time_of, vector
from op3_fall.nodes.running import Voice
from op3_fall.readings import ReadingAssembler
from op3_fall.safety import Health, Level, SafetyConfig, SensorGuard
from op3_fall.signals import SensorReading

__all__ = ["Senses"]


class Senses:
    """Subscribes to both topics and calls back with every reading that is usable."""

    def __init__(
        self, node: Node, config: SafetyConfig, heard: Callable[[SensorReading, Health], None]
    ) -> None:
        """Subscribe at once."""
        self._node, self._heard, self._voice = node, heard, Voice(node)
        self.assembler, self.guard = ReadingAssembler(), SensorGuard(config)
        node.create_subscription(Imu, topics.IMU, self._on_imu, topics.RELIABLE)
        node.create_subscription(JointState, topics.PRESENT, self._on_joints, topics.RELIABLE)

    def now_s(self) -> float:
        """The node's clock, which stands still with a paused simulator."""
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _on_imu(self, message: Imu) -> None:
        q = message.orientation
        self._take(
            self.assembler.imu(
                time_of(message.header), vector(message.angular_velocity),
                vector(message.linear_acceleration), [q.w, q.x, q.y, q.z],
            )
        )  # fmt: skip

    def _on_joints(self, message: JointState) -> None:
        try:
            reading = self.assembler.joints(
                time_of(message.header), list(message.name), message.position, message.velocity,
                message.effort,
            )  # fmt: skip
        except BadInputError as error:
            self._voice.error("joints", str(error))
            return
        self._take(reading)

    def _take(self, reading: SensorReading | None) -> None:
        if reading is None:
            return
        health = self.guard.step(self.now_s(), reading)
        if health.level != Level.OK:
            self._voice.warning("health", health.reason)
        if health.usable:
            self._heard(reading, health)
