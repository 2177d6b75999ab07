# SPDX-License-Identifier: Apache-2.0
"""What colcon and pip install: the messages, the checkout's modules, the executables."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROOT = Path(__file__).resolve().parents[1]
NODES = ROOT / "src/op3_fall/nodes"
STAND_IN = ROOT / "msg/interfaces/robotis_controller_msgs"
SCRIPTS = sysconfig.get_path("scripts")
COLCON = shutil.which("colcon", path=os.pathsep.join([SCRIPTS, os.environ["PATH"]]))
PACKAGE_XML = ElementTree.parse(ROOT / "package.xml").getroot()
CMAKE = (ROOT / "CMakeLists.txt").read_text()

needs_messages = pytest.mark.skipif(
    importlib.util.find_spec("op3_fall.msg") is None,
    reason="the ROS messages are not built; run: make ros",
)
needs_colcon = pytest.mark.skipif(COLCON is None, reason="no colcon here; run: make ros")

# What ROS 2 Jazzy's definitions consist of (a char of a .msg file is a uint8).
ROS_MESSAGES = {
    "builtin_interfaces/msg/Time": "int32 sec\nuint32 nanosec",
    "std_msgs/msg/Header": "builtin_interfaces/Time stamp\nstring frame_id",
    "service_msgs/msg/ServiceEventInfo": (
        "uint8 event_type\nbuiltin_interfaces/Time stamp\n"
        "uint8[16] client_gid\nint64 sequence_number"
    ),
}
# The fields of ROBOTIS' own definitions, written down by hand.
ROBOTIS_MESSAGES = {
    "SyncWriteItem": "string item_name\nstring[] joint_name\nuint32[] value",
    "WriteControlTable": (
        "string joint_name\nstring start_item_name\nuint16 data_length\nuint8[] data"
    ),
    "JointCtrlModule": "string[] joint_name\nstring[] module_name",
    "StatusMsg": "std_msgs/Header header\nuint8 type\nstring module_name\nstring status_msg",
}
ROBOTIS_SERVICES = {
    "SetModule": ("string module_name", "bool result"),
    "SetJointModule": ("string[] joint_name\nstring[] module_name", "bool result"),
    "GetJointModule": ("string[] joint_name", "string[] joint_name\nstring[] module_name"),
    "LoadOffset": ("string file_path", "bool result"),
}


def built_hash(name: str) -> str:
    """Type hash of an interface such as msg/SyncWriteItem, as rosidl built it in."""
    import robotis_controller_msgs

    package = str(robotis_controller_msgs.__file__)
    share = Path(package).parents[4] / "share/robotis_controller_msgs"
    hashes = json.loads((share / f"{name}.json").read_text())["type_hashes"]
    (found,) = (h for h in hashes if h["type_name"] == f"robotis_controller_msgs/{name}")
    return found["hash_string"]


def without_msg(parsed: Any) -> Any:
    """What rosbags parsed, with the true names of services: it takes them for messages."""
    if isinstance(parsed, str):
        return parsed.replace("/srv/msg/", "/srv/")
    return tuple(map(without_msg, parsed)) if isinstance(parsed, list | tuple) else parsed


def true_hash(definitions: dict[str, str], name: str) -> str:
    """Type hash that rosbags computes from definitions by name (msg/SyncWriteItem)."""
    store = get_typestore(Stores.EMPTY)
    ours = {f"robotis_controller_msgs/{key}": text for key, text in definitions.items()}
    for interface, text in (ROS_MESSAGES | ours).items():
        parsed = get_types_from_msg(text, interface)
        store.register({without_msg(key): without_msg(value) for key, value in parsed.items()})
    return store.hash_rihs01(f"robotis_controller_msgs/{name}")


@needs_messages
@pytest.mark.parametrize("message", ROBOTIS_MESSAGES)
def test_the_robotis_messages_have_robotis_type_hashes(message: str) -> None:
    name = f"msg/{message}"
    assert built_hash(name) == true_hash({name: ROBOTIS_MESSAGES[message]}, name)


@needs_messages
@pytest.mark.parametrize("service", ROBOTIS_SERVICES)
def test_the_robotis_services_have_robotis_type_hashes(service: str) -> None:
    name = f"srv/{service}"
    request, response = ROBOTIS_SERVICES[service]
    ours = f"robotis_controller_msgs/{name}"
    definitions = {
        f"{name}_Request": request,
        f"{name}_Response": response,
        # How ROS 2 describes any service (REP 2016).
        f"{name}_Event": (
            "service_msgs/ServiceEventInfo info\n"
            f"{ours}_Request[<=1] request\n{ours}_Response[<=1] response"
        ),
        name: (
            f"{ours}_Request request_message\n{ours}_Response response_message\n"
            f"{ours}_Event event_message"
        ),
    }
    assert built_hash(name) == true_hash(definitions, name)


@needs_messages
def test_the_status_levels_are_robotis() -> None:
    from robotis_controller_msgs.msg import StatusMsg

    levels = {"STATUS_UNKNOWN": 0, "STATUS_INFO": 1, "STATUS_WARN": 2, "STATUS_ERROR": 3}
    assert {name: getattr(StatusMsg, name) for name in levels} == levels


@needs_colcon
@pytest.mark.parametrize(("folder", "found"), [(ROOT, "op3_fall"), (STAND_IN, STAND_IN.name)])
def test_a_workspace_never_sees_the_stand_in(folder: Path, found: str, tmp_path: Path) -> None:
    command = [str(COLCON), "--log-base", tmp_path, "list", "--names-only", "--base-paths", folder]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert listed.stdout.split() == [found]


@needs_messages
def test_messages_and_modules_share_a_package_and_the_modules_are_the_checkouts() -> None:
    """pip install -e and colcon both install op3_fall into the environment of `make ros`."""
    import op3_fall.msg as msg

    import op3_fall
    from op3_fall import simulation

    if not Path(str(op3_fall.__file__)).is_relative_to(sys.prefix):
        pytest.skip("a workspace is sourced: its modules may be copies")
    assert Path(simulation.__file__) == ROOT / "src/op3_fall/simulation.py"
    assert not Path(str(msg.__file__)).is_relative_to(ROOT / "src")
    assert Path(op3_fall.__path__[0]) == ROOT / "src/op3_fall"
    # pip install -e would take it for an older op3_fall and delete the messages with it.
    assert not list(Path(sysconfig.get_path("purelib")).glob("op3_fall-*.egg-info"))


def nodes_with_main() -> set[str]:
    """Node modules that have a function main."""
    return {
        path.stem
        for path in NODES.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    }


@needs_messages
def test_every_node_has_an_executable_and_runs_its_module() -> None:
    import op3_fall.msg as msg

    folder = Path(str(msg.__file__)).parents[5] / "lib/op3_fall"
    scripts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(scripts) == nodes_with_main() | {"op3-fall"}
    for name, text in scripts.items():
        module = "op3_fall.cli" if name == "op3-fall" else f"op3_fall.nodes.{name}"
        assert f"from {module} import main" in text
        assert os.access(folder / name, os.X_OK)


def test_cmake_generates_every_message() -> None:
    assert set(re.findall(r"msg/\w+\.msg", CMAKE)) == {
        str(path.relative_to(ROOT)) for path in ROOT.glob("msg/*.msg")
    }


def test_the_manifest_names_the_ros_packages_that_the_nodes_import() -> None:
    named = {tag.text for tag in PACKAGE_XML if tag.tag in {"depend", "exec_depend"}}
    # Not in rosdistro: a comment in package.xml says where it comes from.
    named |= {"robotis_controller_msgs"}
    imported = set()
    for path in NODES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    kinds = re.compile(r"rclpy|std_srvs|\w+_(msgs|interfaces)")
    ros = {name for name in imported if kinds.fullmatch(name)}
    assert "rclpy" in ros
    # rclpy brings rcl_interfaces along.
    assert ros - {"rcl_interfaces"} <= named


def test_the_two_manifests_agree_and_pip_is_pinned() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert PACKAGE_XML.findtext("version") == setup["metadata"]["version"]
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.M))
    wanted = set(re.findall(r"^[\w-]+", setup["options.extras_require"]["ros"], re.M))
    assert wanted - {"op3_fall"} <= pinned


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CC": "no-cc"}, "no compiler 'no-cc' to build the ROS messages with."
            " run: sudo apt install gcc"),
        ({"CXX": "no-c++"}, "no compiler 'no-c++' to build the ROS messages with."
            " run: sudo apt install g++"),
        ({"PYTHONPATH": "other_machine"}, "no ROS 2 wheels for this machine (they are for"
            " x86-64 Linux with glibc 2.28 or newer); the ROS nodes need a ROS 2 Jazzy workspace:"
            " clone op3_fall into it, run colcon build"),
    ],
)  # fmt: skip
def test_what_a_machine_lacks_is_one_line(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    other = tmp_path / "other_machine/packaging"  # what pip's tags would be there
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "tags.py").write_text("def sys_tags(): return iter(())\n")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    command = [ROOT / "tools/build_ros.sh", "--check"]
    env = {"PATH": os.environ["PATH"], "CC": "sh", "CXX": "sh"} | environment
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"op3_fall: {said}\n")
