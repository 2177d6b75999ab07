# SPDX-License-Identifier: Apache-2.0
"""The node `fall_detector`: what it says of readings that come over real DDS."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make ros)")
pytest.importorskip("op3_fall.msg", reason="the messages are not built (make ros)")
pytest.importorskip("robotis_controller_msgs", reason="the messages are not built (make ros)")

import rclpy
from graph_helpers import DOMAIN, OURS, Caller, arguments
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from op3_fall import robot
from op3_fall.attitude import AttitudeConfig
from op3_fall.detectors import Detectors
from op3_fall.experiments import Reflex, run_falls
from op3_fall.fall_detection import FallPhase, FallRule
from op3_fall.impact_detection import ImpactRule
from op3_fall.nodes import conversions, topics
from op3_fall.nodes.fall_detector import FallDetectorNode
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.signals import FallEstimate, ImpactEstimate, ImpactSense, SensorReading
from op3_fall.simulation import Simulation

START_S = 1.8e9
SERVO = robot.Servo()
NAMES = list(robot.JOINTS)
SETTLED = 70
"""Readings after a jump in time until the sensors are trusted again: 0.5 s, and some more."""


Readings = Sequence[SensorReading]


@pytest.fixture(scope="module")
def offline() -> Readings:
    """Of a fall of the offline experiment, a driver cycle each; pushed when the node trusts."""
    push = PushSpec(20.0, start_s=FallRule().settle_s + 0.1)
    run = run_falls(
        Simulation(1, threads=1), pushed_stand(push, [0], seed=0), Reflex(), np.array([False]),
        duration_s=2.7,
    )  # fmt: skip
    log = {name: values[:, 0] for name, values in run.log.items()}
    return [
        SensorReading(
            np.asarray(START_S + log["time_s"][k]), log["position_rad"][k],
            log["velocity_rad_s"][k], log["torque_n_m"][k] * SERVO.effort_per_n_m,
            log["angular_velocity_rad_s"][k], log["linear_acceleration_m_s2"][k],
            log["orientation"][k],
        ) for k in range(len(log["time_s"]))
    ]  # fmt: skip


def at_rest(fall: Readings, cycles: int, since_s: float) -> list[SensorReading]:
    """The robot as it stood at first, for some cycles from then on."""
    return [replace(fall[0], time_s=np.float64(since_s + 0.008 * k)) for k in range(cycles)]


class Feed(Caller):
    """A detector, and a client that speaks for the driver."""

    def __init__(self, client: Node, node: FallDetectorNode) -> None:
        super().__init__(client)
        self.node = node
        self.executor.add_node(node)
        self.said: dict[str, list[Any]] = {topics.FALL_STATE: [], topics.TORQUE_LOAD: []}
        for topic, heard in self.said.items():
            client.create_subscription(OURS[topic], topic, heard.append, 500)
        kinds = {topics.IMU: Imu, topics.PRESENT: JointState, "/clock": Clock}
        self.publishers = {t: client.create_publisher(k, t, 10) for t, k in kinds.items()}
        self.until(lambda: all(p.get_subscription_count() > 0 for p in self.publishers.values())
                   and all(client.count_publishers(t) == 1 for t in self.said))  # fmt: skip

    def tell(self, reading: SensorReading, *, order: Sequence[int] = range(20)) -> None:
        """A cycle of the driver, not waiting for what the detector makes of it."""
        time_s = float(reading.time_s)
        self.set_clock(time_s)
        self.publishers[topics.IMU].publish(conversions.imu(time_s, reading))
        state = conversions.joint_state(
            time_s, *(v[list(order)] for v in (reading.position, reading.velocity, reading.effort))
        )
        state.name = [NAMES[i] for i in order]
        self.publishers[topics.PRESENT].publish(state)

    def set_clock(self, time_s: float) -> None:
        stamp = conversions.header(time_s).stamp
        self.publishers["/clock"].publish(Clock(clock=stamp))
        wanted = stamp.sec * 10**9 + stamp.nanosec
        self.until(lambda: self.node.get_clock().now().nanoseconds == wanted)

    def judge(self, reading: SensorReading, **kwargs: Any) -> tuple[Any, Any]:
        """A cycle, and the detector's two messages about it."""
        before = len(self.said[topics.TORQUE_LOAD])
        self.tell(reading, **kwargs)
        self.until(lambda: all(len(heard) > before for heard in self.said.values()))
        return tuple(heard[-1] for heard in self.said.values())  # type: ignore[return-value]


@contextmanager
def fed(**parameters: Any) -> Iterator[Feed]:
    given = {"fall_detector": {"use_sim_time": True} | parameters}
    rclpy.init(args=arguments(given), domain_id=DOMAIN)
    nodes: list[Node] = []
    try:
        nodes += [Node("client"), FallDetectorNode()]
        yield Feed(nodes[0], nodes[1])  # type: ignore[arg-type]
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def feed() -> Iterator[Feed]:
    with fed() as f:
        yield f


FALL = ("tilt", "margin", "fall_angle", "fall_velocity", "time_to_impact", "clearance")
LOAD = {"total": "torque_load", "spike": "spike", "peak": "peak", "impact": "onset",
        "impact_count": "count", "sense": "sense", "subsided": "subsided"}  # fmt: skip
"""Fields of TorqueLoad, and those of the estimate."""


def test_every_reading_is_judged_as_by_the_pure_detectors(feed: Feed, offline: Readings) -> None:
    detectors = Detectors(offline[0], SERVO)
    seen: list[tuple[FallEstimate, ImpactEstimate]] = []
    for reading in offline:
        fall, impact = detectors.step(reading)
        state, load = feed.judge(reading)
        for header in (state.header, load.header):
            assert conversions.time_of(header) == pytest.approx(reading.time_s, abs=1e-6)
        assert (state.phase, state.direction, state.speed) == (
            fall.phase, fall.direction, fall.fast)  # fmt: skip
        for name in FALL:
            assert getattr(state, name) == pytest.approx(getattr(fall, name), nan_ok=True), name
        assert conversions.vector(state.gravity) == pytest.approx(fall.gravity)
        for name, its in LOAD.items():
            assert getattr(load, name) == pytest.approx(getattr(impact, its), nan_ok=True), name
        seen.append((fall, impact))
        if not load.effort_available:
            assert not reading.effort.any()  # at the very start nothing is known yet
            continue
        np.testing.assert_allclose(load.torque, reading.effort / SERVO.effort_per_n_m)
        assert list(load.joint_name) == NAMES
    assert load.effort_available
    assert {int(fall.phase) for fall, _ in seen} == set(FallPhase)
    last = seen[-1][1]
    assert last.count > 0 and last.sense == ImpactSense.TORQUE and last.subsided
    assert len(feed.said[topics.FALL_STATE]) == len(feed.said[topics.TORQUE_LOAD]) == len(offline)


@pytest.mark.parametrize(("profile", "warnings"), [("extended", 1), ("stock", 0)])
def test_without_effort_it_says_so_once_and_goes_on_with_the_imu(
    offline: Readings, capfd: pytest.CaptureFixture[str], profile: str, warnings: int
) -> None:
    unread = np.zeros(robot.NUM_JOINTS)
    with fed(profile=profile) as feed:
        for reading in offline:
            state, load = feed.judge(replace(reading, velocity=unread, effort=unread))
            assert not load.effort_available
            assert np.isnan([load.total, load.spike, load.peak, *load.torque]).all()
    assert state.phase == FallPhase.DOWN
    assert state.direction == 1
    assert load.impact_count > 0 and load.sense == ImpactSense.INERTIAL and load.subsided
    log = capfd.readouterr().err
    assert log.count("the driver's bulk read lacks present_current") == warnings
    assert log.count("impacts are felt by gyro and accelerometer") == warnings
    assert log.count("power-cycle the servos (docs/robot.md)") == warnings


def test_joints_may_come_in_any_order(feed: Feed, offline: Readings) -> None:
    order = np.random.default_rng(0).permutation(20)
    for reading in offline[40:50]:
        _, load = feed.judge(reading, order=list(order))
        np.testing.assert_allclose(load.torque, reading.effort / SERVO.effort_per_n_m)
        assert list(load.joint_name) == NAMES


BAD = {
    "joint states: nose is unknown": {"name": ["nose", *NAMES[1:]]},
    f"joint states: {NAMES[0]} is missing": {"name": NAMES[1:]},
    f"joint states: {NAMES[0]} is twice": {"name": [*NAMES, NAMES[0]]},
    "joint states have 19 positions for 20 names": {"position": [0.0] * 19},
    "joint states have 3 efforts for 20 names": {"effort": [0.0] * 3},
    "position of the sensor reading is not finite": {"position": [np.nan] * 20},
    "effort of the sensor reading is not finite": {"effort": [np.inf] * 20},
}


@pytest.mark.parametrize("text", BAD)
def test_bad_joint_states_are_told_and_skipped(
    feed: Feed, offline: Readings, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    reading = offline[0]
    feed.judge(reading)
    time_s = START_S + 0.016
    feed.set_clock(time_s)
    message = conversions.joint_state(time_s, reading.position, reading.velocity, reading.effort)
    for name, value in BAD[text].items():
        setattr(message, name, value)
    feed.publishers[topics.IMU].publish(conversions.imu(time_s, reading))
    feed.publishers[topics.PRESENT].publish(message)
    for later in at_rest(offline, SETTLED, START_S + 0.024):
        feed.tell(later)
    state, _ = feed.judge(replace(reading, time_s=np.float64(START_S + 0.024 + 0.008 * SETTLED)))
    assert state.phase == FallPhase.NORMAL
    stamps = [conversions.time_of(m.header) for m in feed.said[topics.FALL_STATE]]
    assert not np.isclose(stamps, time_s, atol=1e-6, rtol=0).any()
    assert text in capfd.readouterr().err


def until_it_falls(feed: Feed, offline: Readings) -> int:
    """Which reading makes the alarm."""
    return next(k for k, reading in enumerate(offline) if feed.judge(reading)[0].phase)


def test_a_jump_in_time_starts_afresh(feed: Feed, offline: Readings) -> None:
    until_it_falls(feed, offline)
    later_s = START_S + 10.0
    for reading in at_rest(offline, SETTLED, later_s):
        feed.tell(reading)
    state, load = feed.judge(replace(offline[0], time_s=np.float64(later_s + 0.008 * SETTLED)))
    fresh = [m for m in feed.said[topics.FALL_STATE] if conversions.time_of(m.header) >= later_s]
    assert {m.phase for m in fresh} == {FallPhase.NORMAL}
    assert load.impact_count == 0
    assert state.tilt < 0.1


def test_a_gap_that_only_the_detectors_refuse_is_told(
    feed: Feed, offline: Readings, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two cycles that are lost are no matter, a tenth of a second is; the fall stays one."""
    alarm = until_it_falls(feed, offline)
    assert feed.judge(offline[alarm + 3])[0].phase == FallPhase.FALLING
    text = (
        "stamp of the sensor reading jumps; allowed are gaps up to 0.1 s; the detectors start "
        "anew, check the driver"
    )
    assert text not in capfd.readouterr().err
    assert feed.judge(offline[alarm + 20])[0].phase == FallPhase.FALLING
    assert text in capfd.readouterr().err


def test_parameters_say_what_they_are_and_are_checked(feed: Feed) -> None:
    configs = FallRule(), AttitudeConfig(), ImpactRule()
    numbers = [f.name for c in configs for f in fields(c) if f.name != "attitude"]
    names = [*numbers, "voltage_v", "noisy_imu", "profile"]
    described: dict[str, Any] = {d.name: d for d in feed.describe("fall_detector", *names)}
    assert all(d.description for d in described.values())
    assert all(described[name].floating_point_range for name in numbers)
    span = described["margin_m"].floating_point_range[0]
    assert (span.from_value, span.to_value) == (-0.1, 0.3)
    assert described["profile"].additional_constraints == "one of extended, stock, ideal"
    for name, value, reason in (
        ("margin_m", 2.0, "margin_m"), ("voltage_v", 9.0, "voltage_v"),
        ("profile", "perfect", "profile 'perfect' is unknown; allowed are extended, stock, ideal"),
        ("hold_s", 1, "expected 'Type.DOUBLE'"),
    ):  # fmt: skip
        result = feed.set("fall_detector", **{name: value})[0]
        assert not result.successful
        assert reason in result.reason


def test_a_parameter_acts_at_once(feed: Feed, offline: Readings) -> None:
    before = until_it_falls(feed, offline)
    assert feed.set("fall_detector", margin_m=0.1)[0].successful
    for reading in at_rest(offline, SETTLED, START_S + 20.0):
        feed.tell(reading)
    shift = 20.0 + 0.008 * SETTLED
    later = [replace(r, time_s=r.time_s + shift) for r in offline]
    assert until_it_falls(feed, later) > before + 3
    assert feed.said[topics.FALL_STATE][-1].margin > 0.1


def test_an_impact_parameter_acts_in_mid_fall(feed: Feed, offline: Readings) -> None:
    """A blow that must lie 0.1 m below the floor is never felt."""
    alarm = until_it_falls(feed, offline)
    assert feed.set("fall_detector", near_m=-0.1)[0].successful
    loads = [feed.judge(reading)[1] for reading in offline[alarm + 1 :]]
    assert loads[-1].impact_count == 0
    assert max(load.spike for load in loads) > ImpactRule().gear_n_m
