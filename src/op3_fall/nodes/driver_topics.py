# SPDX-License-Identifier: Apache-2.0
"""The topics and services of ROBOTIS' op3_manager, in front of the simulated driver."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from robotis_controller_msgs.msg import (
    JointCtrlModule,
    StatusMsg,
    SyncWriteItem,
    WriteControlTable,
)
from robotis_controller_msgs.srv import GetJointModule, LoadOffset, SetJointModule, SetModule
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Int32, String

from op3_fall import robot
from op3_fall.driver import Driver
from op3_fall.driver_packets import OPEN_CR
from op3_fall.nodes import conversions, topics
from op3_fall.twin import TwinCycle

__all__ = ["DriverTopics"]

_REMEMBERED = 64
"""Cycles whose time of publication is kept: half a second."""
_SILENCE_S = 5.0
"""The same warning is not logged again for so long."""


class DriverTopics:
    """Callbacks into the driver, and its cycles out. Depths and types are the real driver's.

    Callbacks run in the executor, cycles in another thread; `lock` is held for the driver alone.
    """

    def __init__(self, node: Node, driver: Callable[[], Driver], lock: threading.Lock) -> None:
        """Publish, subscribe and serve.

        Args:
            node: whose topics they are.
            driver: the driver of the moment (a reset makes a new one).
            lock: guards it.
        """
        self._node, self._driver, self._lock = node, driver, lock
        self._told: dict[str, float] = {}
        self._published: dict[int, float] = {}
        self.latencies_s: deque[float] = deque(maxlen=6000)
        """Time from joint states to the targets that bear their stamp, the latest ones, s."""
        self._imu = node.create_publisher(Imu, topics.IMU, 1)
        self._present = node.create_publisher(JointState, topics.PRESENT, 10)
        self._goal = node.create_publisher(JointState, topics.GOAL, 10)
        self._modules = node.create_publisher(JointCtrlModule, topics.MODULES, 10)
        self._status = node.create_publisher(StatusMsg, "/robotis/status", 10)
        self._done = node.create_publisher(String, "/robotis/movement_done", 10)
        self._button = node.create_publisher(String, "/robotis/open_cr/button", 1)
        self._power = node.create_publisher(SyncWriteItem, topics.SYNC_WRITE, 10)
        self._subscribe()
        self._serve()

    def _subscribe(self) -> None:
        for kind, topic, depth, take in (
            (JointState, topics.SET_JOINT_STATES, 10, self._take_targets),
            (SyncWriteItem, topics.SYNC_WRITE, 10,
             lambda d, m: d.sync_write_item(m.item_name, m.joint_name, list(m.value))),
            (WriteControlTable, "/robotis/write_control_table", 5,
             lambda d, m: d.write_control_table(
                 m.joint_name, m.start_item_name, m.data_length, bytes(m.data))),
            (String, topics.ENABLE_MODULE, 10, lambda d, m: d.enable_ctrl_module(m.data)),
            (JointCtrlModule, "/robotis/set_joint_ctrl_modules", 10,
             lambda d, m: d.set_joint_ctrl_modules(m.joint_name, m.module_name)),
            (String, "/robotis/set_control_mode", 10, lambda d, m: d.set_control_mode(m.data)),
            (Bool, "/robotis/enable_offset", 10, lambda d, m: d.enable_offset(m.data)),
            (String, "/robotis/base/ini_pose", 5,
             lambda d, m: d.ini_pose() if m.data == "ini_pose" else None),
            (Int32, topics.ACTION_PAGE, 10, lambda d, m: d.action_page(m.data)),
            (String, "/robotis/walking/command", 10,
             lambda d, m: d.walking_command(m.data)),
            (String, "/robotis/dxl_torque", 1, lambda d, m: d.dxl_torque()),
        ):  # fmt: skip
            self._node.create_subscription(kind, topic, self._guarded(take), depth)

    def _take_targets(self, driver: Driver, message: JointState) -> None:
        published = self._published.get(_milliseconds(conversions.time_of(message.header)))
        if published is not None:
            self.latencies_s.append(time.perf_counter() - published)
        driver.set_joint_states(list(message.name), list(message.position))

    def _guarded(self, take: Callable[[Driver, Any], None]) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            with self._lock:
                take(self._driver(), message)

        return callback

    def _serve(self) -> None:
        async def set_module(request: Any, response: Any) -> Any:
            return await self._switch(
                response, lambda d, done: d.enable_ctrl_module(request.module_name, done)
            )

        async def set_joint_module(request: Any, response: Any) -> Any:
            names, modules = request.joint_name, request.module_name
            return await self._switch(
                response, lambda d, done: d.set_joint_ctrl_modules(names, modules, done)
            )

        def get_joint_module(request: Any, response: Any) -> Any:
            with self._lock:
                for name, module in self._driver().modules_of(request.joint_name):
                    response.joint_name.append(name)
                    response.module_name.append(module)
            return response

        # A switch that is waited for must not keep the node's other callbacks waiting.
        group = ReentrantCallbackGroup()
        for kind, name, serve in (
            (SetModule, "set_present_ctrl_modules", set_module),
            (SetJointModule, "set_present_joint_ctrl_modules", set_joint_module),
            (GetJointModule, "get_present_joint_ctrl_modules", get_joint_module),
            (LoadOffset, "load_offset", self._load_offset),
        ):
            self._node.create_service(kind, f"/robotis/{name}", serve, callback_group=group)

    async def _switch(self, response: Any, ask: Callable[[Driver, Any], None]) -> Any:
        """Answer when the switch is complete.

        The driver itself lets other messages of its controller wait until then; the executor goes
        on, so that a pause can end and nodes in the same process keep running.
        """
        future = Future()

        def done(switched: bool) -> None:
            future.set_result(switched)
            if self._node.executor:
                self._node.executor.wake()

        with self._lock:
            ask(self._driver(), done)
        response.result = await future
        return response

    def _load_offset(self, request: Any, response: Any) -> Any:
        try:
            given = yaml.safe_load(Path(request.file_path).read_text())["offset"]
            offsets = {str(name): float(value) for name, value in given.items()}
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            self.warn(f"Fail to load offset yaml. {' '.join(str(error).split())}")
        else:
            with self._lock:
                self._driver().set_offsets(offsets)
        response.result = True  # the driver says so in any case
        return response

    def warn(self, text: str) -> None:
        """Log a warning, the same one once in a while only."""
        now = time.monotonic()
        if now - self._told.get(text, -_SILENCE_S) >= _SILENCE_S:
            if len(self._told) > 100:
                self._told.clear()
            self._told[text] = now
            self._node.get_logger().warning(text)

    def publish(self, cycle: TwinCycle) -> None:
        """What the driver publishes in a cycle, in its order."""
        time_s, reading, driver = cycle.time_s, cycle.reading, cycle.driver
        self._imu.publish(conversions.imu(time_s, reading))
        self._present.publish(
            conversions.joint_state(time_s, reading.position, reading.velocity, reading.effort)
        )
        self._published[_milliseconds(time_s)] = time.perf_counter()
        if len(self._published) > _REMEMBERED:
            del self._published[next(iter(self._published))]
        self._goal.publish(conversions.joint_state(time_s, driver.goal, _ZEROS, _ZEROS))
        events = driver.events
        for owners in events.module_maps:
            self._modules.publish(JointCtrlModule(joint_name=_NAMES, module_name=list(owners)))
        for level, module, text in events.statuses:
            head = conversions.header(time_s)
            self._status.publish(
                StatusMsg(header=head, type=int(level), module_name=module, status_msg=text)
            )
        for publisher, texts in ((self._done, events.movement_done),
                                 (self._button, events.buttons)):  # fmt: skip
            for text in texts:
                publisher.publish(String(data=text))
        if driver.wants_power:
            message = SyncWriteItem(item_name="dynamixel_power", joint_name=[OPEN_CR], value=[1])
            self._power.publish(message)
        for text in events.warnings:
            self.warn(text)


def _milliseconds(time_s: float) -> int:
    """A stamp on its way through messages and floats is exact to a microsecond, not to the bit."""
    return round(time_s * 1e3)


_NAMES = list(robot.JOINTS)
_ZEROS = [0.0] * robot.NUM_JOINTS
