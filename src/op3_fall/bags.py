# SPDX-License-Identifier: Apache-2.0
"""Torque logs as rosbag2 directories with MCAP storage, on the real driver's topics; no ROS."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.bag_types import TOPICS, make, typestore
from op3_fall.bag_writer import TorqueLogWriter, refuse_existing
from op3_fall.errors import BadInputError
from op3_fall.torque_log import TorqueLog

__all__ = ["EPOCH_NS", "write_torque_log"]

EPOCH_NS = 1_700_000_000 * 10**9
"""Stamp of time zero of a simulated log, ns; fixed, so that the same log gives the same bytes."""

TRACKS = ("joints", "goal", "imu", "fall", "load", "gains")
Message = tuple[int, str, Any]  # stamp in ns, key of TOPICS, message

_FRAMES = {"imu": "body_link", "fall": "body_link"}
_NAN_ALLOWED = {"torque", "total", "spike", "peak", "time_to_impact", "clearance"}
_COLUMNS = {"orientation": 4, "angular_velocity": 3, "linear_acceleration": 3, "gravity": 3}
_JOINT_COLUMNS = {"position", "velocity", "effort", "torque", "p_gain", "i_gain", "d_gain",
                  "goal_pwm"}  # fmt: skip


def write_torque_log(path: Path, log: TorqueLog) -> None:
    """Write one robot's fall as a rosbag2 directory; the same log gives the same bytes.

    The bag is written beside `path` and then renamed: it is there as a whole or not at all.

    Args:
        path: the directory to make; it must not exist.
        log: what to write, on the clock `EPOCH_NS` + time; its notes are not written.

    Raises:
        BadInputError: `path` exists or cannot be written, or an array has the wrong shape.
    """
    path = Path(path)
    messages = sorted(_messages(log), key=lambda message: message[0])
    topics = [key for key in TRACKS if getattr(log, key) is not None]
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".op3_fall_", dir=path.parent) as folder:
            unfinished = Path(folder) / path.name  # the name is part of the bag
            with TorqueLogWriter(unfinished, topics) as writer:
                for stamp, key, message in messages:
                    data = typestore().serialize_cdr(message, TOPICS[key][1])
                    writer.write(key, bytes(data), stamp)
            os.rename(unfinished, path)
    except OSError as error:
        raise BadInputError(
            f"torque log '{path}' cannot be written ({error.strerror}); allowed is a path in a "
            "writable folder with space left; choose another"
        ) from error


def _messages(log: TorqueLog) -> list[Message]:
    names = list(log.joint_names)
    messages: list[Message] = []
    for key in TRACKS:
        track = getattr(log, key)
        if track is None:
            continue
        rows = _checked(key, track, len(names))
        for i, stamp in enumerate(_stamps(track.times_s)):
            row = {name: values[i] for name, values in rows.items()}
            messages.append((stamp, key, _message(key, stamp, names, row)))
    return messages


def _stamps(times_s: NDArray[np.float64]) -> list[int]:
    times = np.asarray(times_s, dtype=float)
    usable = times.ndim == 1 and len(times) and np.isfinite(times).all()
    if not (usable and (times >= 0).all() and (np.diff(times) > 0).all()):
        raise BadInputError(
            f"the {times.size} times of the torque log are not all usable; allowed are one or "
            "more increasing times from 0 s; log the time of each cycle"
        )
    return [EPOCH_NS + round(float(t) * 1e9) for t in times]


def _checked(key: str, track: Any, joints: int) -> dict[str, NDArray[Any]]:
    """A track's arrays but its times, by field name, refused if they do not fit."""
    rows = {f.name: np.asarray(getattr(track, f.name)) for f in fields(track)}
    t = rows.pop("times_s").shape[0]
    for name, values in rows.items():
        columns = joints if name in _JOINT_COLUMNS else _COLUMNS.get(name)
        shape = (t,) if columns is None else (t, columns)
        bad = 0 if name in _NAN_ALLOWED else int((~np.isfinite(values)).sum())
        if values.shape != shape or bad:
            raise BadInputError(
                f"{key}.{name} of the torque log has shape {values.shape}, {bad} values not "
                f"finite; allowed is shape {shape}, all finite; give one row per time"
            )
    return rows


def _message(key: str, stamp_ns: int, names: Sequence[str], row: dict[str, Any]) -> Any:
    kind = TOPICS[key][1]
    time = make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9))
    header = make("std_msgs/msg/Header", time, _FRAMES.get(key, ""))
    if key == "imu":
        return _imu(kind, header, row)
    if key == "goal":
        row |= {"velocity": np.zeros(len(names)), "effort": np.zeros(len(names))}
    values = {name: _field(name, value) for name, value in row.items()}
    if key in ("joints", "goal"):
        values["name"] = names
    if key in ("load", "gains"):
        values["joint_name"] = names
    return typestore().types[kind](header=header, **values)


def _field(name: str, value: Any) -> Any:
    """As the message wants it: a number, a vector, or an array of its type."""
    if np.ndim(value) == 0:
        return value.item()
    if name in _COLUMNS:
        return make("geometry_msgs/msg/Vector3", *value)
    registers = name.endswith(("_gain", "_pwm"))
    return np.ascontiguousarray(value, dtype=np.uint16 if registers else np.float64)


def _imu(kind: str, header: Any, row: dict[str, Any]) -> Any:
    w, x, y, z = row["orientation"]
    unknown = np.zeros(9)  # all zero says that the covariance is unknown
    rate, force = (_field(name, row[name]) for name in ("angular_velocity", "linear_acceleration"))
    quaternion = make("geometry_msgs/msg/Quaternion", x, y, z, w)
    return make(kind, header, quaternion, unknown, rate, unknown, force, unknown)
