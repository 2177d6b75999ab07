# SPDX-License-Identifier: Apache-2.0
"""The recorder node as a process of its own, fed through the graph, stopped and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed; make ros")
pytest.importorskip("op3_fall.msg", reason="the messages are not built; make ros")

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from op3_fall.bag_reader import read_torque_log
from op3_fall.bag_types import TOPICS, typestore
from op3_fall.robot import JOINTS

DOMAIN = 82
ENVIRONMENT = os.environ | {
    "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
}  # fmt: skip


def message_type(kind: str) -> Any:
    package, _, name = kind.split("/")
    return getattr(import_module(f"{package}.msg"), name)


class Talker:
    """Says on every topic of a torque log what driver and nodes would say at 125 Hz."""

    def __init__(self, node: Node) -> None:
        self.node, self.cycle = node, 0
        self.publishers = {
            key: node.create_publisher(message_type(kind), topic, 100)
            for key, (topic, kind) in TOPICS.items()
        }

    def heard(self, wanted: int, within_s: float = 20.0) -> None:
        """Wait until so many subscriptions have been matched on each topic."""
        until = time.monotonic() + within_s
        while any(p.get_subscription_count() != wanted for p in self.publishers.values()):
            assert time.monotonic() < until, "the recorder did not come up or go"
            time.sleep(0.02)
        time.sleep(0.3)  # the other side learns of the match a little later

    def talk(self, cycles: int) -> None:
        for _ in range(cycles):
            self.cycle += 1
            for key, publisher in self.publishers.items():
                publisher.publish(self.message(key))
            time.sleep(0.008)

    def message(self, key: str) -> Any:
        """Of this cycle: every number in it tells the cycle."""
        message = message_type(TOPICS[key][1])()
        if hasattr(message, "header"):
            message.header.stamp.sec = 100
            message.header.stamp.nanosec = self.cycle * 8_000_000 % 10**9
            message.header.stamp.sec += self.cycle * 8_000_000 // 10**9
        if key in ("joints", "goal", "set_joint_states"):
            message.name, message.position = list(JOINTS), [float(self.cycle)] * 20
            message.velocity = message.effort = [0.5] * 20
        if key in ("load", "gains", "sync_write_item"):
            message.joint_name = list(JOINTS)
        if key == "load":
            message.torque, message.total = [0.1] * 20, float(self.cycle)
            message.effort_available = True
        if key == "gains":
            message.p_gain = message.i_gain = message.d_gain = message.goal_pwm = [self.cycle] * 20
        if key == "sync_write_item":
            message.item_name, message.value = "position_p_gain", [self.cycle] * 20
        return message


@pytest.fixture
def talker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Talker]:
    """New for each test: a killed recorder counts as listening for 20 s."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = Node("talker", context=context)
    yield Talker(node)
    node.destroy_node()
    context.try_shutdown()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts recorders and sees that none is left behind."""
    running: list[subprocess.Popen[str]] = []

    def begin(path: Path, *, cwd: Path | None = None, code: str = "") -> "subprocess.Popen[str]":
        how = ["-c", code] if code else ["-m", "op3_fall.nodes.recorder"]
        parameters = ["--ros-args", "-p", f"path:={path}"] if path.name else []
        running.append(subprocess.Popen(
            [sys.executable, *how, *parameters], env=ENVIRONMENT, cwd=cwd, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ))  # fmt: skip
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_recorder_leaves_a_closed_bag(
    tmp_path: Path, talker: Talker, start: Start, stop: signal.Signals
) -> None:
    path = tmp_path / "log"
    process = start(path)
    talker.heard(1)
    first = talker.cycle + 1
    talker.talk(100)
    time.sleep(0.5)
    process.send_signal(stop)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == f"torque log: {path}, 800 messages\n"
    talker.heard(0)
    back = read_torque_log(path)
    assert back.notes == ()
    assert back.joints.position[:, 3].tolist() == [float(c) for c in range(first, first + 100)]
    np.testing.assert_allclose(back.joints.times_s, 0.008 * np.arange(100), atol=1e-9)
    assert back.load is not None and back.load.total[0] == first
    assert back.gains is not None and back.gains.goal_pwm[99, 0] == first + 99
    text = (path / "metadata.yaml").read_text()
    assert "message_count: 800" in text and text.count("message_count: 100") == 8


def test_a_killed_recorder_leaves_its_chunks(tmp_path: Path, talker: Talker, start: Start) -> None:
    path = tmp_path / "log"
    process = start(path)
    talker.heard(1)
    first = talker.cycle + 1
    talker.talk(250)
    process.kill()
    process.communicate()
    back = read_torque_log(path)
    got = back.joints.position[:, 0]
    np.testing.assert_array_equal(got, np.arange(first, first + len(got)))
    # At most the open chunk of half a second and what was still on its way are lost.
    assert 250 - 125 <= len(got) < 250
    (note,) = back.notes
    assert note == (
        f"cut short; the {0.008 * (len(got) - 1):.2f} s up to its last whole chunk are read"
    )
    assert (path / "metadata.yaml").exists()


def test_without_a_path_the_time_names_the_bag(
    tmp_path: Path, talker: Talker, start: Start
) -> None:
    process = start(Path(), cwd=tmp_path)
    talker.heard(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    (bag,) = (tmp_path / "results").iterdir()
    assert bag.name.startswith("torque_log_2") and bag.name.endswith("Z")
    assert out == f"torque log: results/{bag.name}, 0 messages\n"


def test_a_path_that_exists_is_refused(tmp_path: Path, start: Start) -> None:
    process = start(tmp_path)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert out == ""
    assert err == (
        f"op3_fall: torque log '{tmp_path}' exists already; allowed is a path that does not; "
        "remove it or choose another\n"
    )


FULL_DISK = """
import os, sys
from op3_fall import bag_writer
from op3_fall.nodes.recorder import main

def sync(file):
    if os.fstat(file).st_size > 400_000:
        raise OSError(28, "No space left on device")
bag_writer.os.fsync = sync
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_is_told_and_the_node_lives(
    tmp_path: Path, talker: Talker, start: Start
) -> None:
    path = tmp_path / "log"
    process = start(path, code=FULL_DISK)
    talker.heard(1)
    talker.talk(250)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert (
        f"torque log '{path}' cannot be written any more (No space left on device); what is on "
        "disk stays, nothing more is recorded; make space and start the recorder again"
    ) in err
    assert len(read_torque_log(path).joints.times_s) >= 60


@pytest.mark.parametrize(
    "kind", sorted({k for _, k in TOPICS.values() if not k.startswith("sensor_msgs")})
)
def test_type_hashes_are_those_that_rosidl_computed(kind: str) -> None:
    package, _, name = kind.split("/")
    places = os.environ.get("AMENT_PREFIX_PATH", sys.prefix).split(os.pathsep)
    files = [Path(p) / "share" / package / "msg" / f"{name}.json" for p in places]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        pytest.skip(f"no {name}.json of {package} in AMENT_PREFIX_PATH")
    hashes = {
        h["type_name"]: h["hash_string"] for h in json.loads(file.read_text())["type_hashes"]
    }
    assert typestore().hash_rihs01(kind) == hashes[kind]
