# SPDX-License-Identifier: Apache-2.0
"""Nodes around the node `sim` in one process, a driver cycle at a time, over real DDS.

A cycle ends when every message that it caused has been taken by whoever subscribes to it: whatever
the machine is doing meanwhile, the nodes see the same stream. Import it after
`pytest.importorskip("rclpy")`.
"""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Vector3
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from op3_fall.msg import FallState, JointGains, Push, TorqueLoad
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.utilities import try_shutdown
from robotis_controller_msgs.msg import JointCtrlModule, SyncWriteItem
from sensor_msgs.msg import JointState
from sim_graph import DOMAIN, GOAL, Graph
from std_msgs.msg import Int32, String

from op3_fall import robot
from op3_fall.gain_writer import Registers
from op3_fall.nodes import topics
from op3_fall.nodes.fall_detector import FallDetectorNode
from op3_fall.nodes.gain_scheduler import GainSchedulerNode
from op3_fall.nodes.policy import PolicyNode
from op3_fall.nodes.sim import SimNode

OURS: dict[str, type] = {
    topics.FALL_STATE: FallState, topics.TORQUE_LOAD: TorqueLoad, topics.JOINT_GAINS: JointGains,
    topics.GAIN_REQUEST: JointGains, topics.SET_JOINT_STATES: JointState,
    topics.SYNC_WRITE: SyncWriteItem, topics.ENABLE_MODULE: String, topics.ACTION_PAGE: Int32,
    topics.MODULES: JointCtrlModule,
}  # fmt: skip
"""What the nodes say, for a listener."""
_COUNTED = {*OURS, topics.IMU, topics.PRESENT, GOAL, "/clock"}
NODES: dict[str, Callable[[], Node]] = {
    "fall_detector": FallDetectorNode, "gain_scheduler": GainSchedulerNode, "policy": PolicyNode,
}  # fmt: skip
ARMED = {"use_sim_time": True, "autostart": "activate"}
NOMINAL = (robot.Servo.NOMINAL_P, robot.Servo.NOMINAL_D, robot.Servo.MAX_PWM, 0)
DAMPED_P = 160
"""0.2 of 800."""


class Counts:
    """Messages published and taken on the counted topics, of all nodes in this process."""

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()
        self._taken: dict[Any, int] = {}
        self._seen: set[Any] = set()

    def add(self, nodes: list[Node]) -> None:
        """Count from now on what these nodes publish and take."""
        for node in nodes:
            for publisher in node.publishers:
                if publisher.topic_name in _COUNTED and publisher not in self._seen:
                    self._seen.add(publisher)
                    self._count_published(publisher)
            for subscription in node.subscriptions:
                if subscription.topic_name in _COUNTED and subscription not in self._seen:
                    self._seen.add(subscription)
                    self._count_taken(subscription)

    def _count_published(self, publisher: Any) -> None:
        inner, topic = publisher.publish, publisher.topic_name

        def publish(message: Any) -> None:
            self.published[topic] += 1
            inner(message)

        publisher.publish = publish

    def _count_taken(self, subscription: Any) -> None:
        inner = subscription.callback
        self._taken[subscription] = 0

        def take(message: Any) -> None:
            self._taken[subscription] += 1
            inner(message)

        def take_with_info(message: Any, info: Any) -> None:
            self._taken[subscription] += 1
            inner(message, info)

        # rclpy looks at the signature.
        both = len(signature(inner).parameters) == 2
        subscription.callback = take_with_info if both else take

    def forget(self, nodes: list[Node]) -> None:
        """Start from zero; of what is there now."""
        self.published.clear()
        alive = {s for node in nodes for s in node.subscriptions}
        self._taken = {s: 0 for s in self._taken if s in alive}

    @property
    def settled(self) -> bool:
        """Everything published has been taken by everybody."""
        return all(n >= self.published[s.topic_name] for s, n in self._taken.items())


class Caller:
    """What a person does with `ros2 param` and `ros2 lifecycle`."""

    until, call, ready_client = Graph.until, Graph.call, Graph.ready_client
    services = Graph.services

    def __init__(self, client: Node) -> None:
        self.client = client
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(client)

    def connect(self) -> None:
        """A node may have changed what it listens to."""

    def change(self, node: str, transition: int) -> bool:
        done: bool = self.call(ChangeState, f"/{node}/change_state",
                         transition=Transition(id=transition)).success  # fmt: skip
        self.connect()
        return done

    def state(self, node: str) -> str:
        return self.call(GetState, f"/{node}/get_state").current_state.label

    def set(self, node: str, **values: Any) -> list[SetParametersResult]:
        """As `ros2 param set` does."""
        return self.call(SetParameters, f"/{node}/set_parameters",
                         parameters=_messages(values)).results  # fmt: skip

    def set_together(self, node: str, **values: Any) -> SetParametersResult:
        return self.call(SetParametersAtomically, f"/{node}/set_parameters_atomically",
                         parameters=_messages(values)).result  # fmt: skip

    def describe(self, node: str, *names: str) -> list[ParameterDescriptor]:
        return self.call(DescribeParameters, f"/{node}/describe_parameters",
                         names=list(names)).descriptors  # fmt: skip


class Robot(Caller, Graph):
    """The simulated robot and its driver, the nodes beside it, and a client."""

    def __init__(self, sim: SimNode, client: Node, nodes: Mapping[str, Node]) -> None:
        Graph.__init__(self, sim, client)
        self.nodes: dict[str, Any] = {}
        self.said: dict[str, list[Any]] = {topic: [] for topic in OURS}
        for topic, kind in OURS.items():
            client.create_subscription(kind, topic, self.said[topic].append, QoSProfile(depth=500))
        self.counts = Counts()
        for name, node in nodes.items():
            self.add(name, node)
        self.connect()

    # Nodes come and go

    def add(self, name: str, node: Node) -> Any:
        self.nodes[name] = node
        self.executor.add_node(node)
        return node

    def remove(self, name: str) -> None:
        """It dies: no farewell."""
        node = self.nodes.pop(name)
        self.executor.remove_node(node)
        node.destroy_node()

    @property
    def everybody(self) -> list[Node]:
        return [self.sim, self.client, *self.nodes.values()]

    def connect(self) -> None:
        """Wait until every subscription here has every publisher here, and count from zero."""
        publishers, subscriptions = (
            [e for node in self.everybody for e in getattr(node, kind)
             if e.topic_name in _COUNTED]
            for kind in ("publishers", "subscriptions")
        )  # fmt: skip
        offered = Counter(p.topic_name for p in publishers)
        wanted = Counter(s.topic_name for s in subscriptions)
        self.until(
            lambda: (
                all(s.get_publisher_count() == offered[s.topic_name] for s in subscriptions)
                and all(p.get_subscription_count() == wanted[p.topic_name] for p in publishers)
            )
        )
        for _ in range(20):  # whatever is on its way from before
            self.executor.spin_once(timeout_sec=0.002)
        self.counts.add(self.everybody)
        self.counts.forget(self.everybody)

    # Time

    def settle(self) -> None:
        self.until(lambda: self.counts.settled)

    def step(self, cycles: int = 1) -> JointState:
        for _ in range(cycles):
            self.sim.cycle()
            self.settle()
        return self.heard[topics.PRESENT][-1]

    def step_until(self, happened: Callable[[], bool], *, within: int = 400) -> int:
        """Cycles until it happened."""
        for n in range(within):
            if happened():
                return n
            self.step()
        raise AssertionError(f"it did not happen within {within} cycles")

    # What a person does

    def push(self, force_n: float = 20.0, *, body: str = "head_tilt_link") -> None:
        self.send("/op3_fall/push", Push(body=body, force=Vector3(x=force_n), duration=0.1))

    def fall(self) -> None:
        """Push, and go on until the alarm."""
        self.push()
        self.step_until(lambda: self.phase != 0)

    # What there is to see

    @property
    def phase(self) -> int:
        said = self.said[topics.FALL_STATE]
        return said[-1].phase if said else 0

    @property
    def gains(self) -> JointGains:
        return self.said[topics.JOINT_GAINS][-1]

    @property
    def registers(self) -> tuple[int, ...]:
        """P, D, goal_pwm and I of all servos, which must agree."""
        servos = self.sim._twin.driver.servos
        values = [np.unique(servos.read(name)) for name in Registers._fields]
        return tuple(int(v[0]) if len(v) == 1 else -1 for v in values)

    def spoil(self, **registers: int) -> None:
        """Leave values in the servos, as a scheduler that crashed in a fall has."""
        for name, value in registers.items():
            self.write(name, value)
            self.step(3)


def _messages(values: Mapping[str, Any]) -> list[Any]:
    return [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"'{value}'" if isinstance(
        value, str) else str(value)  # fmt: skip


def arguments(parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """ROS arguments of `{node: {parameter: value}}`."""
    given = [f"{node}:{name}:={_yaml(value)}" for node, values in parameters.items()
             for name, value in values.items()]  # fmt: skip
    return ["--ros-args", *(word for text in given for word in ("-p", text))]


@contextmanager
def standing(*names: str, **parameters: Mapping[str, Any]) -> Iterator[Robot]:
    """A robot that stands, with the nodes of these names; parameters by node."""
    sim_parameters = {"profile": "extended"} | dict(parameters.pop("sim", {}))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    given = {name: {"use_sim_time": True} for name in names} | parameters
    if "policy" in names:  # the scripted pose, whose targets are known, unless told otherwise
        given["policy"] = {"policy_file": ""} | dict(given["policy"])
    gc.collect()  # until then the nodes of the test before are in the graph, and answer nobody
    rclpy.init(args=arguments({"sim": sim_parameters} | given), domain_id=DOMAIN)
    nodes: dict[str, Node] = {}
    everybody: list[Node] = []
    try:
        everybody = [SimNode(start=False), Node("client")]
        for name in names:
            nodes[name] = NODES[name]()
        robot_ = Robot(everybody[0], everybody[1], nodes)  # type: ignore[arg-type]
        yield robot_
        nodes = robot_.nodes
    finally:
        for node in [*everybody, *nodes.values()]:
            node.destroy_node()
        try_shutdown()
