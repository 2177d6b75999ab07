# SPDX-License-Identifier: Apache-2.0
"""The latest message of a topic, unpacked only when somebody looks at it.

Unpacking a message with the names of 20 joints takes longer than most of what is done with it, and
while the robot stands nobody needs it.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rclpy.node import Node
from rclpy.serialization import deserialize_message

from op3_fall.nodes.topics import RELIABLE

__all__ = ["Latest"]

T = TypeVar("T")


class Latest(Generic[T]):
    """Subscribes; `message` is the last that came, None before the first."""

    def __init__(
        self, node: Node, kind: type[T], topic: str, heard: Callable[[], None] = lambda: None
    ) -> None:
        """Listen to `topic`; `heard` is called when a message has come."""
        self._node, self._kind, self._heard = node, kind, heard
        self._packed: bytes | None = None
        self._message: T | None = None
        self._subscription: Any = node.create_subscription(
            kind, topic, self._take, RELIABLE, raw=True
        )

    @property
    def message(self) -> T | None:
        """The last message."""
        if self._packed is not None:
            self._message = deserialize_message(self._packed, self._kind)
            self._packed = None
        return self._message

    def close(self) -> None:
        """Listen no longer."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, packed: bytes) -> None:
        self._packed = packed
        self._heard()
