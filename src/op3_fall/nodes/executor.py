# SPDX-License-Identifier: Apache-2.0
"""An executor for nodes that live on messages.

For every single message rclpy's executor gathers and packs all entities of all nodes anew, in
Python, and most of those are the services for parameters and lifecycle: with five nodes that takes
5 ms of an 8 ms cycle. Here the entities are gathered once and subscriptions are served at once;
what is ready besides is left to rclpy's executor.
"""

import time
from collections.abc import Iterable, Sequence
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

_REFRESH_S = 0.5
"""How often new entities are looked for, and events of the middleware (rclpy's waitables)."""
_LONGEST_WAIT_S = 0.1


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
        self._refresh_s = -1.0
        self._subscriptions: list[Subscription] = []
        self._others: dict[str, list[Any]] = {}

    def spin_once(self) -> None:
        """One round: what has come, or what comes within 0.1 s."""
        if time.monotonic() >= self._refresh_s:
            self._spin_rest()
        ready, others = self._wait()
        # A cycle's messages come one after the other: taking is cheaper than waiting for each.
        while ready:
            ready = any([_run(subscription) for subscription in self._subscriptions])
        if others:
            self._spin_rest()

    def shutdown(self) -> None:
        """Spin no more."""
        self._rest.shutdown(timeout_sec=1.0)

    def _spin_rest(self) -> None:
        """Timers, services, clients, events; these may make or destroy entities."""
        with suppress(TimeoutException):
            while True:
                task, _, _ = self._rest.wait_for_ready_callbacks(timeout_sec=0)
                task()
                error = task.exception()
                if error is not None:
                    raise error
        self._refresh_s = time.monotonic() + _REFRESH_S
        self._subscriptions = self._all("subscriptions")
        self._others = {kind: self._all(f"{kind}s") for kind in ("timer", "client", "service")}
        # Wakes the rest when a coroutine of it can go on.
        self._others["guard_condition"] = [self._rest._guard]

    def _all(self, kind: str) -> list[Any]:
        return [entity for node in self._nodes for entity in getattr(node, kind)]

    def _wait(self) -> tuple[bool, bool]:
        """Whether a subscription is ready, and whether anything else is."""
        if not self._context.ok():
            raise ExternalShutdownException
        counts = {kind: len(entities) for kind, entities in self._others.items()}
        context: Any = self._context.handle
        with context:
            waiting = _rclpy.WaitSet(
                len(self._subscriptions), counts["guard_condition"], counts["timer"],
                counts["client"], counts["service"], 0, context,
            )  # fmt: skip
            waiting.clear_entities()
            _add(waiting.add_subscription, self._subscriptions)
            for kind, entities in self._others.items():
                _add(getattr(waiting, f"add_{kind}"), entities)
            waiting.wait(round(_LONGEST_WAIT_S * 1e9))
            ready = bool(waiting.get_ready_entities("subscription"))
            others = any(waiting.get_ready_entities(kind) for kind in self._others)
        return ready, others


def _add(add: Any, entities: Iterable[Any]) -> None:
    for entity in entities:
        add(entity.handle)


def _run(subscription: Subscription) -> bool:
    """Take one message and call back; whether there was one."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    if taken is None:
        return False
    message, info = taken
    if subscription._callback_type is Subscription.CallbackType.MessageOnly:
        subscription.callback(message)
    else:
        subscription.callback(message, info)
    return True
