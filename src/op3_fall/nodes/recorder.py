# SPDX-License-Identifier: Apache-2.0
"""The node `recorder`: writes the torque log as a rosbag2 that survives being killed."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from rclpy.node import Node
from rclpy.qos import QoSProfile

from op3_fall.bag_types import TOPICS
from op3_fall.bag_writer import TorqueLogWriter
from op3_fall.nodes.parameters import declare, read
from op3_fall.nodes.running import run_node

__all__ = ["Recorder", "RecorderConfig", "main"]

DEPTH = 200
"""Messages that a topic keeps while a callback waits: 1.6 s of the driver's cycles."""
FLUSH_S = 0.5
"""After this long without a message the chunk goes to the disk, s."""

Record = tuple[str, bytes, int]  # key of TOPICS, CDR, receive time in ns


@dataclass(frozen=True)
class RecorderConfig:
    """Where to record."""

    path: str = ""
    """Folder of the bag, which must not exist; empty for results/torque_log_<UTC time>."""


class Recorder(Node):
    """Subscribes to every topic of the torque log and writes what comes, as it comes.

    A thread of its own writes: a slow disk delays no callback and loses no message.
    """

    def __init__(self) -> None:
        """Open the bag and listen.

        Raises:
            BadInputError: the bag exists already or cannot be written.
        """
        super().__init__("recorder")
        declare(self, RecorderConfig())
        path = read(self, RecorderConfig).path
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._writer = TorqueLogWriter(Path(path or f"results/torque_log_{stamp}"))
        self._records: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="torque log", daemon=True)
        for key, (topic, kind) in TOPICS.items():
            self._listen(key, topic, kind)
        self._thread.start()
        self.get_logger().info(f"recording to {self._writer.path}")

    def _listen(self, key: str, topic: str, kind: str) -> None:
        package, _, name = kind.split("/")
        message_type = getattr(import_module(f"{package}.msg"), name)

        def take(data: bytes, info: dict[str, Any]) -> None:
            taken: tuple[bytes, dict[str, Any]] | None = (data, info)
            # The executor takes one message a topic and round: too slow after a stall.
            while taken is not None and self._thread.is_alive():
                self._records.put((key, taken[0], taken[1]["received_timestamp"]))
                with subscription.handle:
                    taken = subscription.handle.take_message(message_type, True)

        # rclpy passes the info to who takes two arguments; its type hints do not know of it.
        subscription = self.create_subscription(
            message_type, topic, cast(Any, take), QoSProfile(depth=DEPTH), raw=True
        )

    def _write(self) -> None:
        """Write until the end is announced, or the disk says no."""
        try:
            for record in self._incoming():
                self._writer.write(*record)
            self._writer.close()
        except OSError as error:
            self._writer.abort()
            self.get_logger().error(
                f"torque log '{self._writer.path}' cannot be written any more "
                f"({error.strerror}); what is on disk stays, nothing more is recorded; "
                "make space and start the recorder again"
            )

    def _incoming(self) -> Iterator[Record]:
        """What is received, until the end; the chunk goes to the disk when nothing comes."""
        while True:
            try:
                record = self._records.get(timeout=FLUSH_S)
            except queue.Empty:
                self._writer.flush()
                continue
            if record is None:
                return
            yield record

    def finish(self, spin_once: Callable[[], None]) -> None:
        """Take what has come in, close the bag and say where it is."""
        for _ in TOPICS:
            spin_once()
        self._records.put(None)
        self._thread.join()
        print(f"torque log: {self._writer.path}, {self._writer.count} messages", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; exit status 0, or 2 where it cannot record."""
    return run_node(Recorder, argv)


if __name__ == "__main__":
    raise SystemExit(main())
