# SPDX-License-Identifier: Apache-2.0
"""What all nodes share: start and end of a process, and a log that does not flood."""

import gc
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, ShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from op3_fall.errors import Op3FallError
from op3_fall.nodes.executor import MessageExecutor

__all__ = ["Voice", "run_node", "run_nodes"]


def run_node(make: Callable[[], Node], argv: Sequence[str] | None = None) -> int:
    """Run one node until it is told to stop; exit status 0, or 2 after bad input."""
    return run_nodes(lambda: [make()], argv)


def run_nodes(make: Callable[[], Sequence[Node]], argv: Sequence[str] | None = None) -> int:
    """Run nodes until SIGINT or SIGTERM, or until one is done; exit status 0, or 2 on bad input.

    A node may have `done` (a `threading.Event`) to end everything, and `finish(spin_once)` to
    leave the robot in a defined state before the graph goes away, in the order that `make` gave.
    """
    # The simulation's thread and the callbacks take turns; 5 ms, the default, is half a cycle.
    sys.setswitchinterval(5e-4)
    stop = _stop_on_signals()
    args = sys.argv if argv is None else ["op3_fall", *argv]
    try:
        # Signals are ours, so that a node can still send on its way out.
        rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
        nodes = make()
    except (Op3FallError, ParameterException, RuntimeError) as error:
        # RuntimeError: rcl's own, which tells what is wrong with the arguments or the YAML file.
        print(f"op3_fall: {' '.join(str(error).split())}", file=sys.stderr)
        try_shutdown()
        return 2
    # What is there now stays: the collector need not look through it in the middle of a fall.
    gc.collect()
    gc.freeze()
    _spin(nodes, stop)
    try_shutdown()
    return 0


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def handle(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def _spin(nodes: Sequence[Node], stop: threading.Event) -> None:
    """Until `stop`, or a node is done; then finish them one after the other."""
    executor = MessageExecutor(nodes)
    events = [stop, *(getattr(node, "done", stop) for node in nodes)]
    with suppress(ExternalShutdownException, ShutdownException):
        while not any(event.is_set() for event in events):
            executor.spin_once()
        for node in nodes:
            getattr(node, "finish", _leave)(executor.spin_once)
    executor.shutdown()
    for node in nodes:
        node.destroy_node()


def _leave(_: Callable[[], None]) -> None:
    """Of a node that has nothing to put in order."""


class Voice:
    """A node's log for what may repeat with every reading.

    rclpy's own throttle looks up the caller's source line each time, which takes a millisecond.
    """

    def __init__(self, node: Node, *, period_s: float = 1.0) -> None:
        """Say each kind of thing at most once in `period_s`."""
        self._logger, self._period_s = node.get_logger(), period_s
        self._said: dict[str, float] = {}

    def warning(self, kind: str, text: str) -> None:
        """Something is not as it should be."""
        if self._due(kind):
            self._logger.warning(text)

    def error(self, kind: str, text: str) -> None:
        """Something is refused or does not work."""
        if self._due(kind):
            self._logger.error(text)

    def _due(self, kind: str) -> bool:
        now = time.monotonic()
        due = now - self._said.get(kind, -math.inf) >= self._period_s
        if due:
            self._said[kind] = now
        return due
