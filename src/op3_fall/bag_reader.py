# SPDX-License-Identifier: Apache-2.0
"""Read torque logs: of the offline experiment, of the recorder node, of `ros2 bag record`."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.rosbag2.storage_mcap import McapReader

from op3_fall import robot
from op3_fall.bag_recovery import finished, recover
from op3_fall.bag_types import TOPICS, typestore
from op3_fall.errors import BadInputError
from op3_fall.torque_log import (
    FallTrack,
    GainTrack,
    GoalTrack,
    ImuTrack,
    JointTrack,
    LoadTrack,
    TorqueLog,
)

__all__ = ["NO_EFFORT", "read_torque_log"]

NO_EFFORT = (
    "effort is zero throughout: the driver's bulk read lacks present_current, so there is no "
    "torque load; add present_current to the bulk read in OP3.robot"
)
"""What a log of the stock driver is noted with."""

_LATER = {"gravity": (np.nan,) * 3, "margin": np.nan, "clearance": np.nan, "peak": np.nan,
          "sense": 0, "subsided": False}  # fmt: skip
"""Fields that the messages of older logs lack."""

Array = NDArray[np.float64]
T = TypeVar("T")


class _Stamped(NamedTuple):
    log_ns: int
    message: Any

    @property
    def stamp_ns(self) -> int:
        stamp = self.message.header.stamp
        return stamp.sec * 10**9 + stamp.nanosec


_Found = dict[str, list[_Stamped]]


def read_torque_log(path: Path) -> TorqueLog:
    """Read a torque log back; one that was cut short up to its last whole chunk.

    Times come from the stamps of the messages, or from the log times where the joint states carry
    none or jump back. Without TorqueLoad messages the load comes from the efforts.

    Args:
        path: a rosbag2 directory that has `/robotis/present_joint_states`.

    Raises:
        BadInputError: no such directory, not a bag, damaged, or without joint states.
    """
    path = Path(path)
    if not path.is_dir():
        raise _unreadable(path, "no such folder")
    try:
        found, cut = _read(path)
        return _log(path, found, cut)
    except BadInputError:
        raise
    except (AnyReaderError, ReaderError, OSError) as error:
        raise _unreadable(path, " ".join(str(error).split())) from error
    except Exception as error:  # a damaged file makes rosbags raise anything, even AssertionError
        raise _unreadable(path, "damaged") from error


def _unreadable(path: Path, reason: str) -> BadInputError:
    topic = TOPICS["joints"][0]
    return BadInputError(
        f"torque log '{path}' cannot be read ({reason}); allowed is a rosbag2 folder with "
        f"{topic}; check the path or record it again"
    )


def _read(path: Path) -> tuple[_Found, bool]:
    """Messages by key of `TOPICS` in the order of their log times, and whether any are cut off."""
    found: _Found = {key: [] for key in TOPICS}
    keys = {topic: key for key, topic in TOPICS.items()}
    with tempfile.TemporaryDirectory() as folder:
        sources, cut = _sources(path, Path(folder))
        with AnyReader(sources, default_typestore=typestore()) as reader:
            for connection, log_ns, data in _messages(reader, cut):
                message = reader.deserialize(data, connection.msgtype)
                found[keys[connection.topic, connection.msgtype]].append(_Stamped(log_ns, message))
    for messages in found.values():
        messages.sort(key=lambda stamped: stamped.log_ns)
    return found, cut


def _messages(reader: AnyReader, cut: bool) -> Iterator[tuple[Connection, int, bytes]]:
    """Connection, log time in ns and CDR of each message of a torque log."""
    topics = set(TOPICS.values())
    for part in reader.readers:
        wanted = [c for c in part.connections if (c.topic, c.msgtype) in topics]
        # A file without index must be in order for rosbags; with several topics none is.
        storage = part.storage if isinstance(part, Reader) else None
        if cut and isinstance(storage, McapReader):
            yield from storage.messages_scan(wanted)
        elif wanted:
            yield from part.messages(wanted)


def _sources(path: Path, scratch: Path) -> tuple[list[Path], bool]:
    """What to open: the bag, or its storage files with those cut short made whole in `scratch`."""
    mcaps = sorted(path.glob("*.mcap"))
    cut = [file for file in mcaps if not finished(file)]
    if not cut and (path / "metadata.yaml").exists():
        return [path], False
    files = [*(file for file in mcaps if file not in cut), *sorted(path.glob("*.db3"))]
    files += [scratch / file.name for file in cut if recover(file, scratch / file.name)]
    if not files:
        raise _unreadable(
            path,
            "cut before its first whole chunk" if cut else "no metadata.yaml and no MCAP file",
        )
    return files, bool(cut)


def _log(path: Path, found: _Found, cut: bool) -> TorqueLog:
    if not found["joints"]:
        raise _unreadable(path, "it has no joint states")
    names = tuple(found["joints"][0].message.name)
    stamps = np.array([stamped.stamp_ns for stamped in found["joints"]])
    by_stamp = bool(stamps[-1] > 0 and (np.diff(stamps) >= 0).all())
    start_ns = int(stamps[stamps > 0][0]) if by_stamp else found["joints"][0].log_ns

    def read(key: str, kind: Callable[..., T], row: Callable[..., dict[str, Any]]) -> T | None:
        timed = [(s.stamp_ns if by_stamp else s.log_ns, s.message) for s in found[key]]
        # A node that has not heard the driver yet has no stamp to give.
        timed = sorted(((ns, m) for ns, m in timed if ns > 0), key=lambda pair: pair[0])
        if not timed:
            return None
        rows = [row(m, names) for _, m in timed]
        times = np.array([ns - start_ns for ns, _ in timed]) / 1e9
        return kind(times, **{name: np.array([r[name] for r in rows]) for name in rows[0]})

    joints = read("joints", JointTrack, _joint_row)
    assert joints is not None  # their stamps are positive, or their log times are used
    load = read("load", LoadTrack, _row(LoadTrack)) or _load_from_effort(joints)
    notes = []
    if cut:
        seconds = joints.times_s[-1] - joints.times_s[0]
        notes.append(f"cut short; the {seconds:.2f} s up to its last whole chunk are read")
    if not load.effort_available.any():
        notes.append(NO_EFFORT)
    return TorqueLog(
        names, joints, load=load, start_ns=start_ns, notes=tuple(notes),
        goal=read("goal", GoalTrack, _goal_row), imu=read("imu", ImuTrack, _imu_row),
        fall=read("fall", FallTrack, _row(FallTrack)),
        gains=read("gains", GainTrack, _row(GainTrack)),
    )  # fmt: skip


def _ordered(given: Sequence[str], values: Any, names: tuple[str, ...]) -> Any:
    """One joint's value a name, in the order of `names`."""
    if tuple(given) != names:
        return np.asarray(values)[[list(given).index(name) for name in names]]
    if len(values) != len(names):
        raise ValueError(f"{len(values)} values for {len(names)} joints")
    return values


def _joint_row(message: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Position, velocity and effort; the last two may be empty and are then zero."""
    zero = np.zeros(len(message.name))
    values = {
        "position": message.position,
        "velocity": message.velocity if len(message.velocity) else zero,
        "effort": message.effort if len(message.effort) else zero,
    }
    return {name: _ordered(message.name, value, names) for name, value in values.items()}


def _goal_row(message: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {"position": _ordered(message.name, message.position, names)}


def _imu_row(message: Any, _: tuple[str, ...]) -> dict[str, Any]:
    parts = {"orientation": "wxyz", "angular_velocity": "xyz", "linear_acceleration": "xyz"}
    return {name: _parts(getattr(message, name), axes) for name, axes in parts.items()}


def _parts(value: Any, axes: str = "xyz") -> list[float]:
    return [getattr(value, axis) for axis in axes]


def _row(kind: type) -> Callable[[Any, tuple[str, ...]], dict[str, Any]]:
    """Reads the fields of a track whose names are those of the message."""
    columns = [f.name for f in fields(kind) if f.name != "times_s"]

    def value(message: Any, name: str, names: tuple[str, ...]) -> Any:
        if not hasattr(message, name):
            return _LATER[name]
        told = getattr(message, name)
        if hasattr(told, "x"):
            return _parts(told)
        return told if np.ndim(told) == 0 else _ordered(message.joint_name, told, names)

    return lambda message, names: {name: value(message, name, names) for name in columns}


def _load_from_effort(joints: JointTrack) -> LoadTrack:
    """The torque load that the nodes would have told; no impact was felt by anyone."""
    available = bool(joints.effort.any())
    torque = joints.effort / robot.Servo().effort_per_n_m if available else joints.effort * np.nan
    none = np.zeros(len(joints.times_s), dtype=np.int64)
    unknown = np.full(none.shape, np.nan)
    return LoadTrack(
        joints.times_s, np.full(none.shape, available), torque, total=np.abs(torque).sum(axis=-1),
        spike=unknown, peak=unknown, impact=none > 0, impact_count=none, sense=none,
        subsided=none > 0,
    )  # fmt: skip
