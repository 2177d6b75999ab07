# SPDX-License-Identifier: Apache-2.0
"""The whole graph as processes, as `op3-fall ros` brings it up: falls, ends, deaths, refusals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make ros)")
pytest.importorskip("op3_fall.msg", reason="the messages are not built (make ros)")
pytest.importorskip("robotis_controller_msgs", reason="the messages are not built (make ros)")
pytest.importorskip("psutil", reason="psutil is not installed")

import psutil
import rclpy
from geometry_msgs.msg import Vector3
from graph_helpers import ARMED, DAMPED_P, OURS, Caller, standing
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from op3_fall.msg import JointGains, Push
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import JointState
from sim_graph import DOMAIN

from op3_fall import experiments, robot
from op3_fall.bag_reader import read_torque_log
from op3_fall.compliance import Phase
from op3_fall.controller import ReflexController
from op3_fall.experiments import Reflex, run_falls
from op3_fall.fall_detection import FallPhase, FallRule
from op3_fall.gain_schedule import GainPhase
from op3_fall.nodes import conversions, topics
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.signals import JointCommand
from op3_fall.simulation import Simulation

PATIENCE_S = 90.0
GOAL = robot.POSES["protect_front"]
ACTING = ("fall_detector", "gain_scheduler", "policy")
OTHER_DOMAIN = DOMAIN % 100 + 1


class Command:
    """An `op3-fall` command as a process, and a client in the same domain."""

    def __init__(self, args: Sequence[str], client: Node | None, folder: Path, *,
                 domain: int = DOMAIN) -> None:  # fmt: skip
        self.log = folder / f"log_{len(list(folder.glob('log_*')))}"
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }  # fmt: skip
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *args], env=environment, cwd=folder,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.client = client

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def children(self) -> dict[str, Any]:
        """By the name of their node."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            modules = [w for w in words if w.startswith("op3_fall.nodes.")]
            if modules and child.status() != psutil.STATUS_ZOMBIE:
                found[modules[0].rsplit(".", 1)[1]] = child
        return found

    def end(self, number: int = signal.SIGINT) -> int:
        """Ask the supervisor to stop; every child must be gone when it is."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        assert [p for p in family if p.is_running()] == []
        return status

    def kill(self) -> None:
        """Whatever happened in the test."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
        self.process.wait()


class Watcher(Caller):
    """A client that remembers what the nodes say."""

    def __init__(self, client: Node) -> None:
        super().__init__(client)
        self.said: dict[str, list[Any]] = {}
        kinds = OURS | {topics.PRESENT: JointState, topics.GOAL: JointState}
        for topic, kind in kinds.items():
            self.said[topic] = []
            client.create_subscription(kind, topic, self.said[topic].append, QoSProfile(depth=500))
        self.pusher = client.create_publisher(Push, "/op3_fall/push", 10)

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline, "it never happened"
            self.executor.spin_once(timeout_sec=0.02)

    def forget(self) -> None:
        for heard in self.said.values():
            del heard[:]

    def push(self) -> None:
        self.until(lambda: self.pusher.get_subscription_count() == 1)
        self.pusher.publish(Push(body="head_tilt_link", force=Vector3(x=20.0), duration=0.1))

    def last(self, topic: str) -> Any:
        return self.said[topic][-1] if self.said[topic] else None

    @property
    def phase(self) -> int:
        state = self.last(topics.FALL_STATE)
        return state.phase if state else 0

    @property
    def gains(self) -> JointGains:
        return self.last(topics.JOINT_GAINS) or JointGains()

    def wrote(self, item: str) -> list[int]:
        """Values of a register as they were sent to the driver, all joints alike."""
        return [int(m.value[0]) for m in self.said[topics.SYNC_WRITE] if m.item_name == item]

    def state(self, node: str) -> str:
        """Asks again: an answer is lost if the server has not found the client yet."""
        client = self.ready_client(GetState, f"/{node}/get_state")
        futures: list[Any] = []

        def answered() -> bool:
            if time.monotonic() - asked > 2.0 * len(futures):
                futures.append(client.call_async(GetState.Request()))
            return any(future.done() for future in futures)

        asked = time.monotonic()
        self.until(answered)
        return next(f.result() for f in futures if f.done()).current_state.label

    def wait_for(self, state: str, *names: str) -> None:
        for name in names:
            self.until(lambda n=name: self.state(n) == state)


@contextmanager
def watching() -> Iterator[Watcher]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(domain_id=DOMAIN)
    node = Node("watcher")
    try:
        yield Watcher(node)
    finally:
        node.destroy_node()
        try_shutdown()


@contextmanager
def running(*args: str, folder: Path, domain: int = DOMAIN) -> Iterator[Command]:
    command = Command(args, None, folder, domain=domain)
    try:
        yield command
    finally:
        command.kill()


SIM = ("op3_fall.cli", "ros", "sim", "--policy", "")


# A fall, from the push to the bag


@pytest.mark.parametrize("composed", [False, True], ids=["processes", "composed"])
def test_a_pushed_robot_falls_and_leaves_a_bag(tmp_path: Path, composed: bool) -> None:
    """At a third of real time, which a busy machine keeps too."""
    args = (*SIM, "--push-after", "2", "--stop-after", "6", "--real-time-factor", "0.35",
            "--record", "fall", *["--composed"] * composed)  # fmt: skip
    with running(*args, folder=tmp_path) as command:
        assert command.process.wait(3 * PATIENCE_S) == 0, command.output
        output = command.output
    assert "Traceback" not in output
    log = read_torque_log(tmp_path / "fall")
    events = log.events()
    assert log.mode == "compliant"
    assert events["alarm_s"] < events["softened_s"] < events["restored_s"]
    assert events["alarm_s"] < events["felt_s"] < events["restored_s"]
    assert log.fall is not None and log.load is not None and log.goal is not None
    assert log.fall.phase.max() == FallPhase.DOWN
    assert log.gains is not None
    assert set(log.gains.phase) >= {Phase.STIFF, Phase.SOFT, Phase.RESTORE, Phase.DONE}
    assert set(np.unique(log.gains.p_gain[-1])) == {800}
    assert log.load.effort_available[10:].all()
    assert np.nanmax(log.load.total) > 10
    np.testing.assert_allclose(log.goal.position[-1], GOAL)


def test_ctrl_c_ends_all_children_with_status_0(tmp_path: Path) -> None:
    args = (*SIM, "--push", "0", "--real-time-factor", "0.3", "--record", "bag")
    with watching() as w, running(*args, folder=tmp_path) as command:
        w.wait_for("active", "gain_scheduler", "policy")
        w.until(lambda: len(w.said[topics.FALL_STATE]) > 200)
        assert set(command.children) == {*ACTING, "sim", "recorder"}
        assert command.end() == 0, command.output
        assert "Traceback" not in command.output
        assert "does not stop" not in command.output
    assert len(read_torque_log(tmp_path / "bag").joints.times_s) > 20


def test_a_detector_file_is_read_and_a_parameter_file_wins_over_it(tmp_path: Path) -> None:
    for name, values in (("detector", "margin_m: 0.05, hold_s: 0.1"), ("params", "hold_s: 0.2")):
        text = f"fall_detector: {{ros__parameters: {{{values}}}}}"
        (tmp_path / f"{name}.yaml").write_text(text)
    args = (*SIM, "--push", "0", "--detector", "detector.yaml", "--params", "params.yaml")
    with watching() as w, running(*args, folder=tmp_path) as command:
        w.until(lambda: len(w.said[topics.FALL_STATE]) > 0)
        names = ["margin_m", "hold_s", "rest_s"]
        told = w.call(GetParameters, "/fall_detector/get_parameters", names=names).values
        assert [value.double_value for value in told] == [0.05, 0.2, FallRule().rest_s]
        assert command.end() == 0


# Deaths in mid-fall


@pytest.fixture
def falling(tmp_path: Path) -> Iterator[tuple[Watcher, Command]]:
    """A robot in mid-fall, soft; time is slow so that there is enough of it."""
    args = (*SIM, "--push", "0", "--real-time-factor", "0.3", "--record", "bag")
    with watching() as w, running(*args, folder=tmp_path) as command:
        w.wait_for("active", "gain_scheduler", "policy")
        w.until(lambda: len(w.said[topics.FALL_STATE]) > 20)
        w.push()
        w.until(lambda: w.phase != 0 and len(w.said[topics.SET_JOINT_STATES]) > 4)
        yield w, command
        assert "Traceback" not in command.output


def die(w: Watcher, command: Command, name: str) -> None:
    command.children[name].kill()
    w.forget()


def is_back(w: Watcher, command: Command, name: str, before: int) -> None:
    w.until(lambda: name in command.children and command.children[name].pid != before)
    w.until(lambda: f"{name} died (status -9); starting it again" in command.output)


def test_a_detector_that_dies_holds_and_damps_until_it_is_back(
    falling: tuple[Watcher, Command],
) -> None:
    w, command = falling
    before = command.children["fall_detector"].pid
    die(w, command, "fall_detector")
    w.until(lambda: w.gains.phase == GainPhase.DAMPED)
    assert set(w.gains.p_gain) == {DAMPED_P}
    sent = len(w.said[topics.SET_JOINT_STATES])
    w.until(lambda: DAMPED_P in w.wrote("position_p_gain"))
    is_back(w, command, "fall_detector", before)
    assert len(w.said[topics.SET_JOINT_STATES]) - sent <= 1  # that was on its way
    w.until(lambda: len(w.said[topics.FALL_STATE]) > 0)
    w.until(lambda: w.gains.phase != GainPhase.DAMPED)
    assert command.end() == 0


def test_a_policy_that_dies_leaves_the_schedule_going_on(
    falling: tuple[Watcher, Command],
) -> None:
    w, command = falling
    before = command.children["policy"].pid
    die(w, command, "policy")
    w.until(lambda: w.gains.phase in (GainPhase.SOFT, GainPhase.RESTORE))
    is_back(w, command, "policy", before)
    w.until(lambda: w.gains.phase == GainPhase.DONE)
    assert command.end() == 0


def test_a_scheduler_that_dies_restores_when_it_is_back(
    falling: tuple[Watcher, Command],
) -> None:
    w, command = falling
    w.until(lambda: w.gains.phase == GainPhase.SOFT and w.gains.written)
    before = command.children["gain_scheduler"].pid
    die(w, command, "gain_scheduler")
    is_back(w, command, "gain_scheduler", before)
    # I is the last of four; the schedule never sends it: everything was written again.
    w.until(lambda: 0 in w.wrote("position_i_gain"))
    w.until(lambda: w.gains.phase == GainPhase.DONE and w.gains.written)
    assert set(w.gains.p_gain) == {800}
    assert command.end() == 0


@pytest.mark.parametrize("name", ["sim", "recorder"])
def test_the_end_of_driver_or_recorder_ends_everything(
    falling: tuple[Watcher, Command], name: str
) -> None:
    """There is nothing to go on with; -9 is told."""
    w, command = falling
    family = list(command.children.values())
    die(w, command, name)
    assert command.process.wait(PATIENCE_S) != 0
    assert [p for p in family if p.is_running()] == []
    if name == "recorder":  # the others restored the gains
        w.until(lambda: 800 in w.wrote("position_p_gain"))


# The robot's side against the twin in the driver's place


def test_ros_robot_is_armed_by_hand_falls_and_restores(tmp_path: Path) -> None:
    driver = ("op3_fall.nodes.sim", "--ros-args", "-p", "profile:=extended",
              "-p", "voltage_v:=11.1", "-p", "real_time_factor:=0.4")  # fmt: skip
    # Unlike a real IMU the simulated one has no noise, and a busy machine may slow it down.
    same = "ros__parameters: {noisy_imu: false, use_sim_time: true}"
    (tmp_path / "twin.yaml").write_text("\n".join(f"{name}: {{{same}}}" for name in ACTING))
    with (
        watching() as w,
        running(*driver, folder=tmp_path) as twin,
        running("op3_fall.cli", "ros", "robot", "--params", "twin.yaml", folder=tmp_path) as nodes,
    ):
        w.wait_for("inactive", "gain_scheduler", "policy")
        w.until(lambda: len(w.said[topics.FALL_STATE]) > 20)
        assert w.said[topics.SET_JOINT_STATES] == []
        for name in ("gain_scheduler", "policy"):
            assert w.change(name, Transition.TRANSITION_ACTIVATE)
        w.push()
        w.until(lambda: len(w.said[topics.SET_JOINT_STATES]) > 5)
        w.until(lambda: w.gains.phase == GainPhase.DONE and w.gains.written)
        assert set(w.gains.p_gain) == {800}
        assert nodes.end() == 0
        assert "Traceback" not in nodes.output
        twin.process.send_signal(signal.SIGTERM)
        assert twin.process.wait(PATIENCE_S) == 0


# What cannot be used


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--params", "nowhere.yaml"),
         "op3-fall: parameter file 'nowhere.yaml' is no file; allowed is one; correct the path"),
        (("--detector", "nowhere.yaml"),
         "op3-fall: detector file 'nowhere.yaml' cannot be read ([Errno 2] No such file or "
         "directory: 'nowhere.yaml'); allowed is a ROS 2 parameter file such as "
         "config/detector.yaml; check the path and the file"),
        (("--policy", "nowhere.onnx"),
         "op3-fall: policy 'nowhere.onnx' is no file; allowed is one; correct the path"),
        (("--push", "-3"),
         "op3-fall: push is -3 N; allowed is from 0 to 1000 N; choose a value of push in that "
         "range"),
        (("--record", "."),
         "op3-fall: '.' exists already; allowed is a folder that does not; remove it or choose "
         "another"),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_line_and_status_2(
    tmp_path: Path, args: tuple[str, ...], text: str
) -> None:
    with running(*SIM, *args, folder=tmp_path) as command:
        assert command.process.wait(PATIENCE_S) == 2
        assert command.output == text + "\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("sim: {ros__parameters: {profile: perfect}}",
         "profile 'perfect' is unknown; allowed are stock, extended, ideal; choose one of them"),
        ("sim:\n  ros__parameters:\n\t- [",
         "parameter file 'params.yaml' cannot be read"),
        ("sim: {ros__parameters: {seed: many}}", "seed"),
        ("sim: {ros__parameters: {seed: -7}}", "seed"),
    ],
    ids=["choice", "no YAML", "type", "range"],
)  # fmt: skip
def test_bad_parameter_files_are_told_in_one_line_and_end_with_status_2(
    tmp_path: Path, content: str, text: str
) -> None:
    (tmp_path / "params.yaml").write_text(content)
    args = (*SIM, "--composed", "--params", "params.yaml")
    if "profile" in content:  # the command line's own would win
        args = ("op3_fall.nodes.sim", "--ros-args", "--params-file", "params.yaml")
    with running(*args, folder=tmp_path) as command:
        assert command.process.wait(PATIENCE_S) == 2
        lines = [line for line in command.output.splitlines() if "[INFO]" not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith(("op3_fall: ", "op3-fall: ")) and text in lines[0]


def test_another_domain_is_not_disturbed(tmp_path: Path) -> None:
    with watching() as w, running(*SIM, "--push", "20", "--push-after", "0.5", "--stop-after", "2",
                                  folder=tmp_path, domain=OTHER_DOMAIN) as command:  # fmt: skip
        ended: list[int | None] = []
        w.until(lambda: ended.append(command.process.poll()) or ended[-1] is not None)
        assert ended[-1] == 0
        assert not any(w.said.values())


# Offline and through the graph


class TakesOver(ReflexController):
    """As on the robot: the first target is the measured pose, for one control period."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._before = np.zeros(len(self._posture), dtype=bool)

    def step(self, reading: Any, fall: Any, impact: Any) -> JointCommand:
        command = super().step(reading, fall, impact)
        begins, self._before = fall.falling & ~self._before, fall.falling
        command.position[begins] = reading.position[begins]
        return command


@dataclass(frozen=True)
class Load:
    """Torque load (t,) of a fall over its times, and what happened when."""

    times_s: np.ndarray
    total_n_m: np.ndarray
    alarm_s: float
    contact_s: float

    def at(self, times_s: np.ndarray) -> np.ndarray:
        return np.interp(times_s, self.times_s, self.total_n_m)


# When the alarm comes decides how far apart the control steps of both are: offline they lie on a
# grid of 20 ms, in the graph that begins with the alarm. Here they meet the same driver cycles.
PUSH, DURATION_S = PushSpec(start_s=0.416), 1.6


def offline_load(number: int, *, compliant: bool) -> Load:
    run = run_falls(
        Simulation(1, threads=1), pushed_stand(PUSH, [(number - 1) // 2], seed=0),
        Reflex(), np.array([compliant]), duration_s=DURATION_S,
    )  # fmt: skip
    return Load(run.log["time_s"][:, 0], run.log["torque_load_n_m"][:, 0],
                float(run.events.alarm_s[0]), float(run.truth.impact_s[0]))  # fmt: skip


def graph_load(number: int, *, compliant: bool) -> Load:
    mode = {"mode": "compliant" if compliant else "stiff"}
    push = {"push_force_n": PUSH.force_n, "push_after_s": PUSH.start_s}
    with standing(*ACTING, gain_scheduler=ARMED | mode, policy=ARMED,
                  sim={"seed": 0, "fall": number} | push) as r:  # fmt: skip
        r.step(round(DURATION_S / 0.008))
        start_s = conversions.time_of(r.heard[topics.PRESENT][0].header) - 0.008
        told = [(conversions.time_of(m.header) - start_s, m.total)
                for m in r.said[topics.TORQUE_LOAD]]  # fmt: skip
        alarm_s = next(conversions.time_of(m.header) - start_s
                       for m in r.said[topics.FALL_STATE] if m.phase)  # fmt: skip
        contact_s = float(r.sim._twin.simulation.measure().impact_s[0])
    times_s, total_n_m = np.array(told).T
    return Load(times_s, total_n_m, alarm_s, contact_s)


def test_offline_and_through_the_graph_falls_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Peak and curve of each fall; peak and impulse after the contact on the mean.

    Where the robot lands, 8 ms between two commands change a single fall's impulse by 10 %.
    """
    monkeypatch.setattr(experiments, "ReflexController", TakesOver)
    peaks, means = [], []
    for number in range(1, 7):
        pair = [f(number, compliant=number % 2 == 0) for f in (graph_load, offline_load)]
        through, offline = pair
        assert through.alarm_s == pytest.approx(offline.alarm_s, abs=0.0081)
        assert through.contact_s == pytest.approx(offline.contact_s, abs=0.0041)
        whole = np.arange(0.1, DURATION_S - 0.05, 0.004)
        ours, theirs = (load.at(whole) for load in pair)
        assert ours.max() == pytest.approx(theirs.max(), rel=0.05)
        after = whole[whole > offline.contact_s]
        difference = through.at(after) - offline.at(after)
        assert np.sqrt(np.mean(difference**2)) < 0.05 * theirs.max()
        peaks.append([load.at(after).max() for load in pair])
        means.append([load.at(after).mean() for load in pair])
    for scores in (peaks, means):
        through_mean, offline_mean = np.mean(scores, axis=0)
        assert through_mean == pytest.approx(offline_mean, rel=0.05)
