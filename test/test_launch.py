# SPDX-License-Identifier: Apache-2.0
"""The launch files, started by the real `launch`; what they share with `op3-fall ros`."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from op3_fall.bag_reader import read_torque_log
from op3_fall.ros_commands import RosRobot, RosSim

LAUNCH = Path(__file__).parents[1] / "launch"
FILES = {"sim": RosSim, "robot": RosRobot}


def declared(name: str) -> dict[str, dict[str, Any]]:
    """Arguments of a launch file: name to default, choices, description; None if computed."""
    arguments: dict[str, dict[str, Any]] = {}
    for call in ast.walk(ast.parse((LAUNCH / f"{name}.launch.py").read_text())):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "DeclareLaunchArgument":
            argument: dict[str, Any] = {}
            for word in call.keywords:
                try:
                    argument[word.arg or ""] = ast.literal_eval(word.value)
                except ValueError:
                    argument[word.arg or ""] = None
            arguments[ast.literal_eval(call.args[0])] = argument
    return arguments


@pytest.mark.parametrize("name", ["fall_control", *FILES])
def test_every_argument_is_explained(name: str) -> None:
    arguments = declared(name)
    assert arguments
    assert [a for a, words in arguments.items() if not words.get("description")] == []


@pytest.mark.parametrize("name", FILES)
def test_the_command_line_has_the_same_arguments(name: str) -> None:
    arguments = declared("fall_control") | declared(name)
    hints = get_type_hints(FILES[name])
    # One process, and a parameter file on top, are the command line's own.
    assert arguments["detector_file"]["default_value"] is None  # made of the package's folder
    for f in fields(FILES[name]):
        if f.name in ("composed", "params", "detector"):
            continue
        default = str(f.default).lower() if isinstance(f.default, bool) else str(f.default)
        assert arguments[f.name]["default_value"] == default, f.name
        if get_origin(hints[f.name]) is Literal:
            assert set(arguments[f.name]["choices"]) == set(get_args(hints[f.name])), f.name


# From here on with launch.


def why_not() -> str:
    """Why the launch files cannot be started here, empty if they can."""
    if find_spec("launch") is None or find_spec("launch_ros") is None:
        return "launch and launch_ros are not installed (they come with an apt install of ROS)"
    if find_spec("rclpy") is None or find_spec("op3_fall.msg") is None:
        return "rclpy is not installed or the messages are not built (make ros)"
    from ament_index_python.packages import PackageNotFoundError, get_package_share_path

    try:
        shared = get_package_share_path("op3_fall") / "launch" / "sim.launch.py"
    except PackageNotFoundError:
        return "op3_fall is not in AMENT_PREFIX_PATH (source install/setup.bash)"
    if not shared.is_file() or shared.read_text() != (LAUNCH / "sim.launch.py").read_text():
        return "the installed launch files are not these (build again)"
    return ""


REASON = why_not()
starts = pytest.mark.skipif(bool(REASON), reason=REASON)

DOMAIN = os.getpid() % 100 + 101
GRAPH = {"ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
NORMAL, FALLING = 0, 1  # phases of FallState
SOFT, RESTORE = 1, 2  # phases of JointGains
PATIENCE_S = 120.0
SERVICE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *arguments = sys.argv[1:]
included = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file), launch_arguments=[a.split(":=") for a in arguments])
service = LaunchService()
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""
"""What `ros2 launch` does."""


class Launched:
    """A launch file under way; the log is everything it printed."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        environment = os.environ | GRAPH | {"ROS_LOG_DIR": str(folder / "log")}
        self.printed = folder / f"{name}.txt"
        with self.printed.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVICE, str(LAUNCH / f"{name}.launch.py"), *arguments],
                cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.printed.read_text()

    def pids(self, node: str) -> list[int]:
        pattern = rf"\[{node}-\d+\]: process started with pid \[(\d+)\]"
        return [int(pid) for pid in re.findall(pattern, self.log)]

    def ended(self) -> int:
        """The exit status; nothing is left of the processes it started."""
        status = self.process.wait(PATIENCE_S)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return status

    def interrupt(self) -> int:
        """Ctrl-C reaches all processes of a terminal."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.ended()


@contextmanager
def launched(folder: Path, name: str, *arguments: str) -> Iterator[Launched]:
    launch = Launched(folder, name, *arguments)
    try:
        yield launch
    finally:
        if launch.process.poll() is None:
            os.killpg(launch.process.pid, signal.SIGKILL)
            launch.process.wait()


class Client:
    """A node beside the launched ones."""

    def __init__(self) -> None:
        import rclpy
        from op3_fall.msg import FallState, JointGains, Push
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from robotis_controller_msgs.msg import SyncWriteItem
        from sensor_msgs.msg import JointState

        from op3_fall.nodes import topics

        rclpy.init()
        self.node = Node("client")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.phases: set[int] = set()
        self.gains: set[int] = set()
        self.p_gains: list[int] = []
        self.targets = 0
        self._push, self._message = self.node.create_publisher(Push, "/op3_fall/push", 10), Push
        self._listen(FallState, topics.FALL_STATE, lambda m: self.phases.add(m.phase))
        self._listen(JointGains, topics.JOINT_GAINS, lambda m: self.gains.add(m.phase))
        self._listen(SyncWriteItem, topics.SYNC_WRITE, self._on_write)
        self._listen(JointState, topics.SET_JOINT_STATES, self._on_target)

    def _listen(self, kind: type, topic: str, heard: Callable[[Any], None]) -> None:
        self.node.create_subscription(kind, topic, heard, 100)

    def _on_write(self, message: Any) -> None:
        if message.item_name == "position_p_gain":
            self.p_gains = list(message.value)

    def _on_target(self, _: Any) -> None:
        self.targets += 1

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline, "it never happened"
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, kind: Any, name: str, **request: Any) -> Any:
        """The response; asked again if the node that should answer has died meanwhile."""
        client = self.node.create_client(kind, name)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.until(client.service_is_ready)
            future, asked = client.call_async(kind.Request(**request)), time.monotonic()
            self.until(lambda f=future, t=asked: f.done() or time.monotonic() - t > 5.0)
            if future.done():
                self.node.destroy_client(client)
                return future.result()
        raise AssertionError(f"{name} never answered")

    def state(self, node: str) -> str:
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, f"/{node}/get_state").current_state.label

    def activate(self, node: str) -> None:
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        transition = Transition(id=Transition.TRANSITION_ACTIVATE)
        assert self.call(ChangeState, f"/{node}/change_state", transition=transition).success

    def parameters(self, node: str, *names: str) -> list[Any]:
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        got = self.call(GetParameters, f"/{node}/get_parameters", names=list(names))
        return [parameter_value_to_python(value) for value in got.values]

    def push(self) -> None:
        """Until it falls: a message is lost if the simulator has not found this node yet."""
        from geometry_msgs.msg import Vector3

        force, next_s = Vector3(x=20.0), 0.0

        def falling() -> bool:
            nonlocal next_s
            if time.monotonic() > next_s:
                next_s = time.monotonic() + 2.0
                push = self._message(body="head_tilt_link", force=force, duration=0.3)
                self._push.publish(push)
            return FALLING in self.phases

        self.until(falling)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    import rclpy

    for name, value in GRAPH.items():
        monkeypatch.setenv(name, value)
    client = Client()
    yield client
    client.node.destroy_node()
    rclpy.shutdown()


@starts
def test_the_simulated_robot_falls_and_the_nodes_act(tmp_path: Path, client: Client) -> None:
    bag = tmp_path / "bag"
    with launched(tmp_path, "sim", "push:=0", f"record:={bag}") as launch:
        client.until(lambda: client.state("policy") == client.state("gain_scheduler") == "active")
        client.until(lambda: NORMAL in client.phases and "recording to" in launch.log)
        assert client.parameters("fall_detector", "use_sim_time", "noisy_imu") == [True, False]
        os.kill(launch.pids("gain_scheduler")[0], signal.SIGKILL)
        client.until(lambda: len(launch.pids("gain_scheduler")) == 2)
        client.until(lambda: client.state("gain_scheduler") == "active")
        client.push()
        client.until(lambda: {SOFT, RESTORE} <= client.gains)
        assert client.targets > 0
        assert launch.interrupt() == 0
        assert launch.log.count("process has finished cleanly") == 5
        assert "Traceback" not in launch.log
    log = read_torque_log(bag)
    assert log.fall is not None
    assert {NORMAL, FALLING} <= set(log.fall.phase)


@starts
def test_all_ends_when_the_simulator_does(tmp_path: Path) -> None:
    with launched(tmp_path, "sim", "stop_after:=8", "real_time_factor:=0") as launch:
        assert launch.ended() == 0
    assert "process[sim-4] was required" in launch.log
    assert "Traceback" not in launch.log


@starts
def test_on_the_robot_a_person_arms_and_the_gains_come_back(
    tmp_path: Path, client: Client
) -> None:
    command = [sys.executable, "-m", "op3_fall.nodes.sim"]
    driver = subprocess.Popen(command, env=os.environ | GRAPH)
    config = tmp_path / "robot.yaml"
    shipped = (LAUNCH.parent / "config" / "robot.yaml").read_text()
    config.write_text(shipped.replace("noisy_imu: true", "noisy_imu: true\n    voltage_v: 12.0"))
    arguments = ("simulated:=true", "profile:=stock", "voltage:=13", "nominal_p_gain:=850")
    try:
        with launched(tmp_path, "robot", f"config:={config}", *arguments) as launch:
            for node in ("gain_scheduler", "policy"):
                client.until(lambda n=node: client.state(n) == "inactive")
            # What is given here wins over the parameter file.
            for node in ("fall_detector", "policy"):
                assert client.parameters(node, "voltage_v", "profile") == [13.0, "stock"]
            names = ("voltage_v", "nominal_p_gain", "autostart")
            assert client.parameters("gain_scheduler", *names) == [13.0, 850, "configure"]
            assert client.gains == set()
            for node in ("gain_scheduler", "policy"):
                client.activate(node)
            client.push()
            client.until(lambda: SOFT in client.gains and client.targets > 0)
            client.until(lambda: client.p_gains != [] and max(client.p_gains) < 850)
            assert launch.interrupt() == 0
            client.until(lambda: client.p_gains == [850] * 20)
            assert launch.log.count("process has finished cleanly") == 3
    finally:
        driver.send_signal(signal.SIGINT)
        driver.wait(PATIENCE_S)


@starts
def test_bad_input_ends_all_instead_of_being_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("gain_scheduler:\n  ros__parameters:\n    stiffness_scale: 5.0\n")
    with launched(tmp_path, "robot", f"config:={file}") as launch:
        assert launch.ended() == 0
    assert "stiffness_scale out of range Min: 0.05, Max: 1.0" in launch.log
    assert len(launch.pids("gain_scheduler")) == 1


@starts
@pytest.mark.parametrize(
    ("name", "argument", "text"),
    [
        ("sim", "push:=much", "push 'much' is no number; correct it"),
        ("sim", "mode:=mushy", '"mode" provided value "mushy" is not valid'),
        ("robot", "voltage:=high", "voltage 'high' is no float; correct it"),
        ("robot", "nominal_p_gain:=8.5", "nominal_p_gain '8.5' is no int; correct it"),
    ],
)  # fmt: skip
def test_a_bad_argument_leaves_nothing_running(
    tmp_path: Path, name: str, argument: str, text: str
) -> None:
    with launched(tmp_path, name, argument) as launch:
        assert launch.ended() == 1
    assert text in launch.log
    assert "process started" not in launch.log
