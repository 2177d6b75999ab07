# SPDX-License-Identifier: Apache-2.0
"""Names of topics and services: the driver's, and this package's own."""

from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

PRESENT = "/robotis/present_joint_states"
GOAL = "/robotis/goal_joint_states"
IMU = "/robotis/open_cr/imu"
SET_JOINT_STATES = "/robotis/set_joint_states"
SYNC_WRITE = "/robotis/sync_write_item"
ENABLE_MODULE = "/robotis/enable_ctrl_module"
MODULES = "/robotis/present_joint_ctrl_modules"
GET_MODULES = "/robotis/get_present_joint_ctrl_modules"
ACTION_PAGE = "/robotis/action/page_num"

FALL_STATE = "/op3_fall/fall_state"
TORQUE_LOAD = "/op3_fall/torque_load"
JOINT_GAINS = "/op3_fall/joint_gains"
GAIN_REQUEST = "/op3_fall/gain_request"
ESTOP_STATE = "/op3_fall/estop_state"
ESTOP = "/op3_fall/estop"
CLEAR_ESTOP = "/op3_fall/clear_estop"

RELIABLE = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
"""As all of the driver's: reliable, volatile."""
LATCHED = QoSProfile(
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
"""Who comes late still gets the last message."""
