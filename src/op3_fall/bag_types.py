# SPDX-License-Identifier: Apache-2.0
"""Topics and message types of a torque log: those of the driver and of this package's nodes."""

from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from op3_fall.resources import resource

__all__ = ["TOPICS", "make", "typestore"]

TOPICS = {
    "joints": ("/robotis/present_joint_states", "sensor_msgs/msg/JointState"),
    "goal": ("/robotis/goal_joint_states", "sensor_msgs/msg/JointState"),
    "imu": ("/robotis/open_cr/imu", "sensor_msgs/msg/Imu"),
    "fall": ("/op3_fall/fall_state", "op3_fall/msg/FallState"),
    "load": ("/op3_fall/torque_load", "op3_fall/msg/TorqueLoad"),
    "gains": ("/op3_fall/joint_gains", "op3_fall/msg/JointGains"),
    "set_joint_states": ("/robotis/set_joint_states", "sensor_msgs/msg/JointState"),
    "sync_write_item": ("/robotis/sync_write_item", "robotis_controller_msgs/msg/SyncWriteItem"),
}
"""Topic and message type of each thing that a log may hold."""

_DEFINITIONS = {
    "op3_fall/msg/FallState": "msg/FallState.msg",
    "op3_fall/msg/TorqueLoad": "msg/TorqueLoad.msg",
    "op3_fall/msg/JointGains": "msg/JointGains.msg",
    "robotis_controller_msgs/msg/SyncWriteItem":
        "msg/interfaces/robotis_controller_msgs/msg/SyncWriteItem.msg",
}  # fmt: skip


@cache
def typestore() -> Typestore:
    """ROS 2 Jazzy's messages and those above, from the definitions that rosidl compiles.

    Raises:
        Op3FallError: the installation lacks a definition.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for kind, file in _DEFINITIONS.items():
        store.register(get_types_from_msg(resource(file).read_text(), kind))
    return store


def make(kind: str, *values: Any) -> Any:
    """A message of that type from its fields, in the order of the definition."""
    return typestore().types[kind](*values)
