# SPDX-License-Identifier: Apache-2.0
"""What all nodes share: start and end of a process, and a log that does not flood."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from op3_fall.errors import Op3FallError

__all__ = ["Voice", "run_node", "start", "stop_on_signals"]


def start(argv: Sequence[str] | None) -> None:
    """Join the graph; signals are ours, so that a node can still send on its way out."""
    args = sys.argv if argv is None else ["op3_fall", *argv]
    rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)


def stop_on_signals() -> threading.Event:
    """An event that SIGINT or SIGTERM sets."""
    stop = threading.Event()

    def handle(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def run_node(make: Callable[[], Node], argv: Sequence[str] | None = None) -> int:
    """Run one node until it is told to stop; exit status 0, or 2 after bad input.

    A node may have `done` (a `threading.Event`) to end by itself, and `finish(spin_once)` to
    leave the robot in a defined state before the graph goes away.
    """
    stop = stop_on_signals()
    try:
        start(argv)
    except Exception as error:  # rcl tells what is wrong with the arguments or the YAML file
        print(f"op3_fall: {_one_line(error)}", file=sys.stderr)
        return 2
    try:
        node = make()
    except (Op3FallError, ParameterException) as error:
        print(f"op3_fall: {_one_line(error)}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    done = getattr(node, "done", threading.Event())
    try:
        while not (stop.is_set() or done.is_set()):
            executor.spin_once(timeout_sec=0.1)
    except ExternalShutdownException:
        pass
    finally:
        finish = getattr(node, "finish", None)
        if finish is not None:
            finish(lambda: executor.spin_once(timeout_sec=0.01))
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


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
