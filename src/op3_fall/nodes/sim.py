# SPDX-License-Identifier: Apache-2.0
"""`sim`: MuJoCo in the place of the robot and of ROBOTIS' op3_manager.

All stamps, and /clock, are simulated time. It starts at the wall clock and advances by 8 ms a
driver cycle, so that at a real-time factor of 1 it is the driver's wall clock, and nodes that do
not follow /clock see stamps as fresh as the robot's. A reset sets it forward by 1 s.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from op3_fall.driver_events import CYCLE_S
from op3_fall.errors import BadInputError
from op3_fall.msg import Push
from op3_fall.nodes import conversions
from op3_fall.nodes.driver_topics import DriverTopics
from op3_fall.nodes.parameters import NodeSettings
from op3_fall.nodes.running import run_node
from op3_fall.pacing import CycleTimes, Pacer, spread
from op3_fall.twin import SimConfig, Twin
from op3_fall.viewer import Viewer

__all__ = ["SimNode", "main"]

_RESET_S = 1.0
"""Stamps jump by this at a reset, as when a driver is started again: estimators begin afresh."""
_SLOW = 0.98
"""Below this share of the wanted real-time factor the node warns."""


class SimNode(Node):
    """Runs the twin in a thread of its own; callbacks run in the executor."""

    def __init__(self, *, start: bool = True) -> None:
        """Put the robot up.

        Args:
            start: run at once; otherwise call `cycle` for each driver cycle.

        Raises:
            BadInputError: a parameter's value cannot be used.
        """
        super().__init__("sim")
        self._settings = NodeSettings(self, SimConfig(), changed=lambda: None)
        config = self._settings[SimConfig]
        self._lock = threading.Lock()
        self._twin = Twin(config, time.time())
        self._viewer = Viewer(self._twin.simulation.model.mj) if config.viewer else None
        self.done = threading.Event()
        """Set when the simulated time is up, or the simulation failed."""
        self.failed = False
        self._ended, self._paused = threading.Event(), threading.Event()
        self._pacer = Pacer(time.monotonic, self._sleep)
        self._times = CycleTimes()
        self._cycles = 0
        self._clock_topic = self.create_publisher(ClockMessage, "/clock", 10)
        self._publish_clock(self._twin.time_s)
        self._topics = DriverTopics(self, lambda: self._twin.driver, self._lock)
        self._offer()
        self._last_report = time.monotonic(), 0
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        if start:
            self._twin.start_s = time.time()
            self._thread.start()

    def _offer(self) -> None:
        """What a simulator offers beyond the driver."""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(Push, "/op3_fall/push", self._push, 10)
        self.create_subscription(String, "/op3_fall/sim/press_button", self._press, 10)
        self.create_service(Trigger, "~/reset", self._reset)
        self.create_service(SetBool, "~/pause", self._pause)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._report, clock=steady)

    def _run(self) -> None:
        try:
            self._pacer.restart()
            while not self._ended.is_set():
                if self._paused.is_set():
                    self._sleep(0.02)
                    self._pacer.restart()
                    continue
                factor = self._settings[SimConfig].real_time_factor
                self._pacer.wait(CYCLE_S / factor if factor else 0.0)
                self.cycle()
        except Exception as error:  # whatever it is, the process must not live on without a robot
            if self.context.ok():
                self.failed = True
                self.get_logger().fatal(f"the simulation ended: {error!r}")
            self.stop_soon()

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._ended.wait(seconds)
        else:
            time.sleep(0)  # lets other threads run, which an event does not

    def cycle(self) -> None:
        """One driver cycle, and all that it publishes."""
        began = time.perf_counter()
        with self._lock:
            twin = self._twin
            cycle = twin.cycle()
        self._publish_clock(cycle.time_s)
        self._topics.publish(cycle)
        if self._viewer:
            self._viewer.show(twin.simulation.physics.qpos[0])
        self._cycles += 1
        self._times.add(time.perf_counter() - began, impact=cycle.impact)
        if 0 < self._settings[SimConfig].stop_after_s <= (self._cycles + 0.5) * CYCLE_S:
            self.stop_soon()

    def stop_soon(self) -> None:
        """No more cycles; the process ends."""
        self._ended.set()
        self.done.set()

    def _publish_clock(self, time_s: float) -> None:
        self._clock_topic.publish(ClockMessage(clock=conversions.header(time_s).stamp))

    def _push(self, message: Push) -> None:
        try:
            with self._lock:
                self._twin.push(message.body, conversions.vector(message.force), message.duration)
        except BadInputError as error:
            self._topics.warn(f"push: {error}")

    def _press(self, message: String) -> None:
        try:
            with self._lock:
                self._twin.driver.press_button(message.data)
        except BadInputError as error:
            self._topics.warn(str(error))

    def _reset(self, _: Any, response: Trigger.Response) -> Trigger.Response:
        """The robot as at the start, with the parameters as they are now."""
        try:
            with self._lock:
                fresh = Twin(self._settings[SimConfig], self._twin.time_s + _RESET_S)
                self._twin.driver.abort()
                self._twin = fresh
        except BadInputError as error:
            response.success, response.message = False, str(error)
        else:
            response.success = True
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            self._paused.set()
        else:
            self._paused.clear()
        response.success = True
        return response

    def _report(self) -> None:
        """Diagnostics, once a second."""
        before, cycles = self._last_report
        now = self._last_report = time.monotonic(), self._cycles
        factor = (now[1] - cycles) * CYCLE_S / (now[0] - before)
        wanted = self._settings[SimConfig].real_time_factor
        values = {
            "real_time_factor": factor, **self._times.summary(),
            **spread("command_latency", list(self._topics.latencies_s)),
            "missed_deadlines": self._pacer.missed, "paused": self._paused.is_set(),
        }  # fmt: skip
        status = DiagnosticStatus(level=DiagnosticStatus.OK, name="sim", message="keeps time")
        with self._lock:
            broken = self._twin.broken
        if broken:
            status.level, status.message = DiagnosticStatus.ERROR, "the physics broke down"
            self._topics.warn("the physics broke down; call ~/reset")
        elif self._paused.is_set():
            status.message = "paused"
        elif factor < _SLOW * wanted:
            status.level = DiagnosticStatus.WARN
            status.message = f"real-time factor {factor:.2f} instead of {wanted:g}"
            self._topics.warn(
                "the simulation cannot keep time; see /diagnostics, or lower real_time_factor"
            )
        status.values = [
            KeyValue(key=key, value=f"{value:.4g}" if isinstance(value, float) else str(value))
            for key, value in values.items()
        ]
        head = conversions.header(self._twin.time_s)
        self._diagnostics.publish(DiagnosticArray(header=head, status=[status]))

    def finish(self, spin_once: Callable[[], object] = lambda: None) -> None:
        """Stop the simulation; nothing is published any more."""
        self.stop_soon()
        if self._thread.is_alive():
            self._thread.join()
        if self._viewer:
            self._viewer.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; exit status 0, 1 if the simulation failed, 2 after bad input."""
    nodes: list[SimNode] = []

    def make() -> SimNode:
        nodes.append(SimNode())
        return nodes[0]

    status = run_node(make, argv)
    return status or int(any(node.failed for node in nodes))


if __name__ == "__main__":
    sys.exit(main())
