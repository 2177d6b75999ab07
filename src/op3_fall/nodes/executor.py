# SPDX-License-Identifier: Apache-2.0
"""An executor for nodes that live on messages: subscriptions first, everything else at 25 Hz.

For every single message rclpy's executor gathers all entities of all nodes anew, and most of
those are the services for parameters and lifecycle; with five nodes that costs more than the
nodes' own work. Here a round waits for subscriptions alone. Timers, services and clients are
left to rclpy's executor, which gets its turn every 40 ms.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rclpy.executors import (
    ExternalShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.utilities import get_default_context

__all__ = ["MessageExecutor"]

_REST_S = 0.04
"""Between two turns of timers, services and clients."""


class _Rest(SingleThreadedExecutor):
    """Rclpy's, but for subscriptions."""

    def can_execute(self, entity: Any) -> bool:
        """Whether it is this executor's turn to look at it."""
        return not isinstance(entity, Subscription) and super().can_execute(entity)


class MessageExecutor:
    """Spins nodes of the default context in one thread."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Take the nodes in; callbacks of earlier nodes run before those of later ones."""
        self._nodes = list(nodes)
        self._context = get_default_context()
        self._rest = _Rest()
        for node in nodes:
            self._rest.add_node(node)
        self._rest_s = -1.0
        self._subscriptions: list[Subscription] = []

    def spin_once(self) -> None:
        """One round: what has come, or what comes within 40 ms."""
        now = time.monotonic()
        if now >= self._rest_s:
            self._rest_s = now + _REST_S
            self._spin_rest()
            self._subscriptions = [s for node in self._nodes for s in node.subscriptions]
        for subscription in self._ready(max(self._rest_s - now, 0.0)):
            self._run(subscription)

    def _spin_rest(self) -> None:
        """All that is ready."""
        with suppress(TimeoutException):
            while True:
                task, _, _ = self._rest.wait_for_ready_callbacks(timeout_sec=0)
                task()
                error = task.exception()
                if error is not None:
                    raise error

    def shutdown(self) -> None:
        """Spin no more."""
        self._rest.shutdown(timeout_sec=1.0)

    def _ready(self, timeout_s: float) -> list[Subscription]:
        if not self._context.ok():
            raise ExternalShutdownException
        handles = [s.handle for s in self._subscriptions]
        with self._context.handle:
            waiting = _rclpy.WaitSet(len(handles), 0, 0, 0, 0, 0, self._context.handle)
            waiting.clear_entities()
            for handle in handles:
                waiting.add_subscription(handle)
            waiting.wait(round(timeout_s * 1e9))
            ready = set(waiting.get_ready_entities("subscription"))
        return [s for s in self._subscriptions if s.handle.pointer in ready]

    def _run(self, subscription: Subscription) -> None:
        """Take one message and call back."""
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        message, info = taken
        if subscription._callback_type is Subscription.CallbackType.MessageOnly:
            subscription.callback(message)
        else:
            subscription.callback(message, info)
