# SPDX-License-Identifier: Apache-2.0
"""Torque logs as rosbag2 directories with MCAP storage, on the real driver's topics; no ROS."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from op3_fall.errors import BadInputError

__all__ = ["EPOCH_NS", "TOPICS", "Imu", "read_torque_log", "write_torque_log"]

EPOCH_NS = 1_700_000_000 * 10**9
"""Stamp of time zero, ns; fixed, so that the same log gives the same bytes."""

TOPICS = {
    "present": ("/robotis/present_joint_states", "sensor_msgs/msg/JointState"),
    "goal": ("/robotis/goal_joint_states", "sensor_msgs/msg/JointState"),
    "imu": ("/robotis/open_cr/imu", "sensor_msgs/msg/Imu"),
    "torque_load": ("/op3_fall/torque_load_total", "std_msgs/msg/Float64"),
    "marker": ("/op3_fall/markers", "std_msgs/msg/String"),
}
"""Topic and message type of each thing that a log may hold."""

Array = NDArray[np.float64]
Message = tuple[int, str, Any]  # stamp in ns, key of TOPICS, message


@dataclass(frozen=True)
class Imu:
    """Readings of the OpenCR's IMU, one row per driver cycle."""

    orientation: Array
    """Quaternion wxyz, (t, 4)."""
    angular_velocity: Array
    """rad/s, (t, 3)."""
    linear_acceleration: Array
    """Specific force, m/s^2, (t, 3)."""


@cache
def _store() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


def _make(kind: str, *values: Any) -> Any:
    return _store().types[kind](*values)


def _header(stamp_ns: int, frame_id: str) -> Any:
    time = _make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9))
    return _make("std_msgs/msg/Header", time, frame_id)


def _rows(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Array:
    """`values` as an array of that shape, refused if they are not."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise BadInputError(
            f"{name} of the torque log has shape {array.shape}, "
            f"{int((~np.isfinite(array)).sum())} values not finite; allowed is shape {shape}, "
            "all finite; give one row per time"
        )
    return array


def write_torque_log(
    path: Path,
    times_s: ArrayLike,
    joint_names: Sequence[str],
    *,
    position: ArrayLike,
    effort: ArrayLike,
    torque_load: ArrayLike,
    velocity: ArrayLike | None = None,
    goal: ArrayLike | None = None,
    imu: Imu | None = None,
    markers: Sequence[tuple[float, str]] = (),
) -> None:
    """Write one robot's fall as a rosbag2 directory; the same log gives the same bytes.

    Args:
        path: the directory to make; it must not exist.
        times_s: stamp of each driver cycle, s from `EPOCH_NS`, increasing, (t,).
        joint_names: names of the j joints, in the driver's (alphabetical) order.
        position: joint angles, rad, (t, j).
        effort: torque or scaled current of each joint, N m, (t, j).
        torque_load: sum of |torque| over the joints, N m, (t,).
        velocity: joint velocities, rad/s, (t, j); zero if None, as from the stock driver.
        goal: goal angles, rad, (t, j); no goal topic if None.
        imu: no IMU topic if None.
        markers: what happened when: (time in s, text) each.

    Raises:
        BadInputError: `path` exists or cannot be written, or an array has the wrong shape.
    """
    path = Path(path)
    times = np.atleast_1d(np.asarray(times_s, dtype=float))
    t, shape = len(times), (len(times), len(joint_names))
    stamps = _stamps(_rows("times_s", times, (t,)))
    names = list(joint_names)
    zero = np.zeros(shape)
    position, effort = _rows("position", position, shape), _rows("effort", effort, shape)
    velocity = zero if velocity is None else _rows("velocity", velocity, shape)
    messages = _joint_states("present", stamps, names, (position, velocity, effort))
    if goal is not None:
        messages += _joint_states("goal", stamps, names, (_rows("goal", goal, shape), zero, zero))
    if imu is not None:
        messages += _imu_messages(stamps, imu)
    load = _rows("torque_load", torque_load, (t,))
    float64, string = TOPICS["torque_load"][1], TOPICS["marker"][1]
    messages += [(s, "torque_load", _make(float64, v)) for s, v in zip(stamps, load, strict=True)]
    at = _stamps([time for time, _ in markers], increasing=False)
    messages += [(s, "marker", _make(string, m[1])) for s, m in zip(at, markers, strict=True)]
    _publish(path, sorted(messages, key=lambda message: message[0]))


def _stamps(times_s: ArrayLike, *, increasing: bool = True) -> list[int]:
    times = np.asarray(times_s, dtype=float)
    bad = not np.isfinite(times).all() or bool((times < 0).any())
    if bad or (increasing and (len(times) == 0 or bool((np.diff(times) <= 0).any()))):
        raise BadInputError(
            f"the {len(times)} times of the torque log are not all usable; allowed are one or "
            "more increasing times from 0 s, markers in any order; log the time of each cycle"
        )
    return [EPOCH_NS + round(float(t) * 1e9) for t in times]


def _joint_states(
    key: str, stamps: list[int], names: list[str], columns: tuple[Array, Array, Array]
) -> list[Message]:
    kind = TOPICS[key][1]
    return [
        (stamp, key, _make(kind, _header(stamp, ""), names, *rows))
        for stamp, *rows in zip(stamps, *columns, strict=True)
    ]


def _imu_messages(stamps: list[int], imu: Imu) -> list[Message]:
    t = len(stamps)
    orientation = _rows("imu.orientation", imu.orientation, (t, 4))
    rates = _rows("imu.angular_velocity", imu.angular_velocity, (t, 3))
    forces = _rows("imu.linear_acceleration", imu.linear_acceleration, (t, 3))
    unknown = np.zeros(9)  # all zero says that the covariance is unknown
    messages: list[Message] = []
    for stamp, (w, x, y, z), rate, force in zip(stamps, orientation, rates, forces, strict=True):
        quaternion = _make("geometry_msgs/msg/Quaternion", x, y, z, w)
        vectors = [_make("geometry_msgs/msg/Vector3", *v) for v in (rate, force)]
        fields = quaternion, unknown, vectors[0], unknown, vectors[1], unknown
        imu_message = _make(TOPICS["imu"][1], _header(stamp, "body_link"), *fields)
        messages.append((stamp, "imu", imu_message))
    return messages


def _publish(path: Path, messages: list[Message]) -> None:
    """Write the bag beside `path`, then rename it: a bag is there as a whole or not at all."""
    if path.exists():
        raise BadInputError(
            f"torque log '{path}' exists already; allowed is a path that does not; "
            "remove it or choose another"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".op3_fall_", dir=path.parent) as folder:
            unfinished = Path(folder) / path.name  # the name is part of the bag
            _write(unfinished, messages)
            os.rename(unfinished, path)
    except OSError as error:
        raise BadInputError(
            f"torque log '{path}' cannot be written ({error.strerror}); allowed is a path in a "
            "writable folder with space left; choose another"
        ) from error


def _write(path: Path, messages: list[Message]) -> None:
    store, present = _store(), {key for _, key, _ in messages}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            key: writer.add_connection(*topic, typestore=store)
            for key, topic in TOPICS.items()
            if key in present
        }
        for stamp, key, message in messages:
            data = store.serialize_cdr(message, TOPICS[key][1])
            writer.write(connections[key], stamp, data)


def read_torque_log(path: Path) -> dict[str, Any]:
    """Read a torque log back.

    Args:
        path: a rosbag2 directory that has `/robotis/present_joint_states`.

    Returns:
        `joint_names`, `times_s` (s from `EPOCH_NS`), `position`, `velocity`, `effort` (t, j);
        and, where the log has them, `torque_load` (t,), `goal` (t, j), `imu` (an `Imu`);
        `markers`, a list of (time in s, text).

    Raises:
        BadInputError: no such directory, not a bag, damaged, or without joint states.
    """
    path = Path(path)
    if not path.is_dir():
        raise _unreadable(path, "no such folder")
    found: dict[str, list[tuple[int, Any]]] = {key: [] for key in TOPICS}
    keys = {topic: key for key, topic in TOPICS.items()}
    try:
        with AnyReader([path], default_typestore=_store()) as reader:
            wanted = [c for c in reader.connections if (c.topic, c.msgtype) in keys]
            for connection, stamp, data in reader.messages(wanted) if wanted else ():
                message = reader.deserialize(data, connection.msgtype)
                key = keys[connection.topic, connection.msgtype]
                found[key].append((stamp - EPOCH_NS, message))
        return _arrays(path, found)
    except BadInputError:
        raise
    except (AnyReaderError, ReaderError, OSError) as error:
        raise _unreadable(path, " ".join(str(error).split())) from error
    except Exception as error:  # a damaged file makes rosbags raise anything, even AssertionError
        raise _unreadable(path, "damaged") from error


def _unreadable(path: Path, reason: str) -> BadInputError:
    topic = TOPICS["present"][0]
    return BadInputError(
        f"torque log '{path}' cannot be read ({reason}); allowed is a rosbag2 folder with "
        f"{topic}; check the path or record it again"
    )


def _arrays(path: Path, found: dict[str, list[tuple[int, Any]]]) -> dict[str, Any]:
    if not found["present"]:
        raise _unreadable(path, "it has no joint states")

    def stack(key: str, value: Callable[[Any], ArrayLike]) -> Array:
        return np.array([value(message) for _, message in found[key]], dtype=float)

    log: dict[str, Any] = {
        "joint_names": tuple(found["present"][0][1].name),
        "times_s": np.array([ns for ns, _ in found["present"]]) / 1e9,
        **{k: stack("present", lambda m, k=k: getattr(m, k))
           for k in ("position", "velocity", "effort")},
        "markers": [(ns / 1e9, message.data) for ns, message in found["marker"]],
    }  # fmt: skip
    if found["torque_load"]:
        log["torque_load"] = stack("torque_load", lambda m: m.data)
    if found["goal"]:
        log["goal"] = stack("goal", lambda m: m.position)
    if found["imu"]:
        log["imu"] = Imu(
            stack("imu", lambda m: [getattr(m.orientation, a) for a in "wxyz"]),
            stack("imu", lambda m: [getattr(m.angular_velocity, a) for a in "xyz"]),
            stack("imu", lambda m: [getattr(m.linear_acceleration, a) for a in "xyz"]),
        )
    return log
