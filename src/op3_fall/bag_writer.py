# SPDX-License-Identifier: Apache-2.0
"""Write a rosbag2 (MCAP) message by message so that what is cut short still reads."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self, cast

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter

from op3_fall.bag_types import TOPICS, typestore
from op3_fall.errors import BadInputError

__all__ = ["TorqueLogWriter", "refuse_existing"]

CHUNK_NS = 500_000_000
"""Log time after which a chunk is closed: what a kill or a power cut can lose."""


def refuse_existing(path: Path) -> None:
    """Refuse a path at which there is something.

    Raises:
        BadInputError: there is.
    """
    if path.exists():
        raise BadInputError(
            f"torque log '{path}' exists already; allowed is a path that does not; "
            "remove it or choose another"
        )


class TorqueLogWriter:
    """An open bag; a context manager that closes it, or on an error leaves what is on disk.

    A bag that was never closed has a metadata.yaml without counts and an MCAP file without footer;
    `bags.read_torque_log` and `ros2 bag reindex` read its chunks.
    """

    def __init__(self, path: Path, topics: Iterable[str] = TOPICS) -> None:
        """Make the bag.

        Args:
            path: the directory to make; it must not exist.
            topics: keys of `TOPICS`, those that may come.

        Raises:
            BadInputError: `path` exists or cannot be written.
        """
        self.path = Path(path)
        self.count = 0
        """Messages written so far."""
        refuse_existing(self.path)
        topics = list(topics)
        self._bag = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
        try:
            self._bag.open()
            self._connections = _connect(self._bag, topics)
            _write_first_metadata(self.path, topics)
        except OSError as error:
            self._bag.abort()
            raise BadInputError(
                f"torque log '{self.path}' cannot be written ({error.strerror}); allowed is a "
                "path in a writable folder with space left; choose another"
            ) from error
        self._storage = cast(McapWriter, self._bag.storage)
        self._chunk_start_ns: int | None = None

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        """Append a message.

        Args:
            topic: key of `TOPICS`.
            data: the message in CDR.
            time_ns: log time, ns since 1970.

        Raises:
            OSError: the disk is full, or gone.
        """
        self._bag.write(self._connections[topic], time_ns, data)
        self.count += 1
        if self._chunk_start_ns is None:
            self._chunk_start_ns = time_ns
        # abs: a clock that is set back must not keep the chunk open.
        if abs(time_ns - self._chunk_start_ns) >= CHUNK_NS:
            self.flush()

    def flush(self) -> None:
        """Close the chunk and bring it to the disk.

        Raises:
            OSError: the disk is full, or gone.
        """
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()
        os.fsync(self._storage.bio.fileno())
        self._chunk_start_ns = None

    def close(self) -> None:
        """Write index and metadata.yaml.

        Raises:
            OSError: the disk is full, or gone; the chunks on disk stay.
        """
        self._bag.close()

    def abort(self) -> None:
        """Leave the bag as it is on disk."""
        with suppress(OSError):
            self._bag.abort()

    def __enter__(self) -> Self:
        """Take messages until the block ends."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close after success, else abort."""
        if kind is None:
            self.close()
        else:
            self.abort()


def _connect(bag: Writer, topics: list[str]) -> dict[str, Connection]:
    return {key: bag.add_connection(*TOPICS[key], typestore=typestore()) for key in topics}


def _write_first_metadata(path: Path, topics: list[str]) -> None:
    """The metadata.yaml of an empty bag of that name, until `close` knows better."""
    with tempfile.TemporaryDirectory() as folder:
        with Writer(
            Path(folder) / path.name, version=9, storage_plugin=StoragePlugin.MCAP
        ) as empty:
            _connect(empty, topics)
        text = empty.metapath.read_text()
    partial = path / "metadata.yaml.tmp"
    partial.write_text(text)
    partial.replace(path / "metadata.yaml")
