# SPDX-License-Identifier: Apache-2.0
"""The node `sim` and a client beside it, in one process and on real DDS.

The test calls the driver's cycles itself, so that simulated time stands still while messages
travel. Import it after `pytest.importorskip("rclpy")`.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from op3_fall.msg import Push
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from robotis_controller_msgs.msg import (
    JointCtrlModule,
    StatusMsg,
    SyncWriteItem,
    WriteControlTable,
)
from robotis_controller_msgs.srv import GetJointModule
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Int32, String

from op3_fall import robot
from op3_fall.nodes.sim import SimNode

DOMAIN = os.getpid() % 100 + 1
NAMES = list(robot.JOINTS)
ELBOW, KNEE = robot.JOINT_INDEX["l_el"], robot.JOINT_INDEX["l_knee"]
STAND = robot.POSES["stand"]
SERVO = robot.Servo()
POSITION_COUNT = 1.5348e-3
PATIENCE_S = 30.0

IMU, PRESENT, GOAL = (
    "/robotis/open_cr/imu", "/robotis/present_joint_states", "/robotis/goal_joint_states",
)  # fmt: skip
PUBLISHED: dict[str, tuple[type, int]] = {  # type and depth; facts 1.1
    IMU: (Imu, 1), PRESENT: (JointState, 10), GOAL: (JointState, 10),
    "/robotis/open_cr/button": (String, 1), "/robotis/status": (StatusMsg, 10),
    "/robotis/present_joint_ctrl_modules": (JointCtrlModule, 10),
    "/robotis/movement_done": (String, 10), "/clock": (Clock, 10),
    "/diagnostics": (DiagnosticArray, 10),
}  # fmt: skip
TAKEN: dict[str, tuple[type, int]] = {  # facts 1.2
    "/robotis/set_joint_states": (JointState, 10), "/robotis/sync_write_item": (SyncWriteItem, 10),
    "/robotis/write_control_table": (WriteControlTable, 5),
    "/robotis/enable_ctrl_module": (String, 10),
    "/robotis/set_joint_ctrl_modules": (JointCtrlModule, 10),
    "/robotis/set_control_mode": (String, 10), "/robotis/enable_offset": (Bool, 10),
    "/robotis/base/ini_pose": (String, 5), "/robotis/action/page_num": (Int32, 10),
    "/robotis/walking/command": (String, 10), "/robotis/dxl_torque": (String, 1),
    "/op3_fall/push": (Push, 10), "/op3_fall/sim/press_button": (String, 10),
}  # fmt: skip


class Graph:
    """The node, and a client beside it that remembers everything."""

    def __init__(self, sim: SimNode, client: Node) -> None:
        self.sim, self.client = sim, client
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(sim)
        self.executor.add_node(client)
        self.heard: dict[str, list[Any]] = {topic: [] for topic in PUBLISHED}
        self.sent_at: dict[str, list[int]] = {topic: [] for topic in PUBLISHED}
        self.taken = dict.fromkeys(TAKEN, 0)
        for topic, (kind, _) in PUBLISHED.items():
            client.create_subscription(kind, topic, self._listener(topic), QoSProfile(depth=1000))
        self.publishers = {
            topic: client.create_publisher(kind, topic, 10) for topic, (kind, _) in TAKEN.items()
        }
        for subscription in sim.subscriptions:
            if subscription.topic_name in TAKEN:
                self._count(subscription)
        self.until(lambda: all(
            client.count_publishers(t) == 1 for t in PUBLISHED if t not in TAKEN
        ) and all(p.get_subscription_count() > 0 for p in self.publishers.values())
        and all(p.get_subscription_count() > 0 for p in sim.publishers
                if p.topic_name in PUBLISHED))  # fmt: skip

    def _listener(self, topic: str) -> Any:  # rclpy's type hints do not know of the info
        def listen(message: Any, info: Any) -> None:
            self.heard[topic].append(message)
            self.sent_at[topic].append(info["source_timestamp"])

        return listen

    def _count(self, subscription: Any) -> None:
        inner, topic = subscription.callback, subscription.topic_name

        def counting(message: Any) -> None:
            inner(message)
            self.taken[topic] += 1

        subscription.callback = counting

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline, "it never happened"
            self.executor.spin_once(timeout_sec=0.005)

    def send(self, topic: str, message: Any) -> None:
        """Publish, and wait until the node has taken it."""
        before = self.taken[topic]
        self.publishers[topic].publish(message)
        self.until(lambda: self.taken[topic] > before)

    def step(self, cycles: int = 1) -> JointState:
        """Driver cycles; returns the last present joint states."""
        for _ in range(cycles):
            before = len(self.heard[GOAL])
            self.sim.cycle()
            self.until(
                lambda n=before: all(
                    len(self.heard[t]) > n for t in (IMU, PRESENT, GOAL, "/clock")
                )
            )
        return self.heard[PRESENT][-1]

    def hears(self, topic: str, text: str) -> Any:
        """Wait for a message that has this text."""
        self.until(lambda: any(text in str(m) for m in self.heard[topic]))
        return next(m for m in self.heard[topic] if text in str(m))

    def call(self, kind: type, name: str, *, while_waiting: Callable[[], Any] = lambda: None,
             **request: Any) -> Any:  # fmt: skip
        client = self.ready_client(kind, name)
        # Ready says that the request will arrive; the way back may still be unmatched, and then
        # the answer is lost for good.
        for _ in range(10):
            self.executor.spin_once(timeout_sec=0.005)
        future = client.call_async(kind.Request(**request))  # type: ignore[attr-defined]

        def answered() -> bool:
            while_waiting()
            return future.done()

        self.until(answered)
        return future.result()

    def ready_client(self, kind: type, name: str) -> Any:
        """Of a service. Now and then DDS never matches one of them; then another one is made."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            client = self.client.create_client(kind, name)
            try_until = time.monotonic() + 3.0
            while time.monotonic() < try_until:
                if client.service_is_ready():
                    return client
                self.executor.spin_once(timeout_sec=0.005)
            self.client.destroy_client(client)
        raise AssertionError(f"no client found {name}; there are {self.services(name)}")

    def services(self, name: str) -> list[str]:
        """Who has an end of a service, for the error text."""
        ends = [(f"rq{name}Request", self.client.get_subscriptions_info_by_topic),
                (f"rr{name}Reply", self.client.get_publishers_info_by_topic)]  # fmt: skip
        return [f"{end.node_name} {topic}" for topic, ask in ends for end in ask(topic, True)]

    # Shorthands

    def free(self) -> None:
        self.send("/robotis/enable_ctrl_module", String(data="none"))

    def target(self, **angles: float) -> None:
        message = JointState(name=list(angles), position=list(angles.values()))
        self.send("/robotis/set_joint_states", message)

    def write(self, item: str, value: int, joints: Sequence[str] = NAMES) -> None:
        self.send("/robotis/sync_write_item", SyncWriteItem(
            item_name=item, joint_name=list(joints), value=[value] * len(joints)))  # fmt: skip

    def register(self, name: str, joint: int = ELBOW) -> int:
        return int(self.sim._twin.driver.servos.read(name)[joint])

    def owners(self) -> dict[str, str]:
        response = self.call(
            GetJointModule, "/robotis/get_present_joint_ctrl_modules", joint_name=NAMES
        )
        return dict(zip(response.joint_name, response.module_name, strict=True))

    @property
    def goal(self) -> Any:
        return self.heard[GOAL][-1].position


@contextmanager
def graph(**parameters: Any) -> Iterator[Graph]:
    args = ["--ros-args"]
    for name, value in parameters.items():
        args += ["-p", f"sim:{name}:={str(value).lower() if value != '' else value}"]
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    gc.collect()  # until then the nodes of the test before are in the graph, and answer nobody
    rclpy.init(args=args, domain_id=DOMAIN)
    sim = client = None
    try:
        sim, client = SimNode(start=False), Node("client")
        yield Graph(sim, client)
    finally:
        for node in (sim, client):
            if node is not None:
                node.destroy_node()
        rclpy.shutdown()


def seconds(stamp: Any) -> float:
    return stamp.sec + stamp.nanosec * 1e-9
