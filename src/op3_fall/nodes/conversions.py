# SPDX-License-Identifier: Apache-2.0
"""Messages to the nouns of `signals` and back; the only place where both meet.

Times are seconds as float: at today's epoch a double still tells 0.3 microseconds apart.
"""

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Vector3
from numpy.typing import ArrayLike, NDArray
from robotis_controller_msgs.msg import SyncWriteItem
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Header

from op3_fall import robot
from op3_fall.gain_schedule import Scales
from op3_fall.gain_writer import Registers
from op3_fall.msg import FallState, JointGains, TorqueLoad
from op3_fall.signals import FallEstimate, ImpactEstimate, ReadingUse, SensorReading

__all__ = [
    "fall_estimate", "fall_state", "header", "impact_estimate", "imu", "joint_gains",
    "joint_state", "sensor_reading", "sync_write", "time_of", "torque_load", "vector",
]  # fmt: skip

Array = NDArray[np.float64]
IMU_FRAME = "body_link"
_NAMES = list(robot.JOINTS)


def header(time_s: float, frame_id: str = "") -> Header:
    """A header with that stamp."""
    nanoseconds = round(float(time_s) * 1e9)
    stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return Header(stamp=stamp, frame_id=frame_id)


def time_of(message_header: Header) -> float:
    """The stamp in s."""
    return message_header.stamp.sec + message_header.stamp.nanosec * 1e-9


def _doubles(values: ArrayLike) -> array:
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


def joint_state(
    time_s: float, position: ArrayLike, velocity: ArrayLike, effort: ArrayLike
) -> JointState:
    """All joints in driver order, (20,) each; frame empty as the driver leaves it."""
    return JointState(
        header=header(time_s), name=_NAMES, position=_doubles(position),
        velocity=_doubles(velocity), effort=_doubles(effort),
    )  # fmt: skip


def imu(time_s: float, reading: SensorReading) -> Imu:
    """The driver's IMU message: covariances stay zero."""
    w, x, y, z = map(float, reading.orientation)
    return Imu(
        header=header(time_s, IMU_FRAME), orientation=Quaternion(w=w, x=x, y=y, z=z),
        angular_velocity=_vector3(reading.angular_velocity),
        linear_acceleration=_vector3(reading.linear_acceleration),
    )  # fmt: skip


def _vector3(values: ArrayLike) -> Vector3:
    x, y, z = map(float, np.asarray(values))
    return Vector3(x=x, y=y, z=z)


def vector(message: Vector3) -> Array:
    """As an array (3,)."""
    return np.array([message.x, message.y, message.z])


def sensor_reading(
    time_s: float, joints: tuple[Array, Array, Array], message: Imu
) -> SensorReading:
    """Joint states (position, velocity, effort (20,) each) and IMU of one cycle."""
    q = message.orientation
    return SensorReading(
        np.array(time_s), *joints, angular_velocity=vector(message.angular_velocity),
        linear_acceleration=vector(message.linear_acceleration),
        orientation=np.array([q.w, q.x, q.y, q.z]),
    )  # fmt: skip


def fall_state(time_s: float, fall: FallEstimate) -> FallState:
    """What the fall detector says."""
    return FallState(
        header=header(time_s, IMU_FRAME), phase=int(fall.phase), tilt=float(fall.tilt),
        gravity=_vector3(fall.gravity), margin=float(fall.margin),
        fall_angle=float(fall.fall_angle), direction=int(fall.direction),
        fall_velocity=float(fall.fall_velocity), speed=int(fall.fast),
        time_to_impact=float(fall.time_to_impact), clearance=float(fall.clearance),
    )  # fmt: skip


def fall_estimate(message: FallState) -> FallEstimate:
    """What the fall detector said; what it tells the impact detector alone is NaN."""
    untold = np.full(3, np.nan)
    return FallEstimate(
        phase=np.array(message.phase), tilt=np.array(message.tilt),
        margin=np.array(message.margin), fall_angle=np.array(message.fall_angle),
        fall_velocity=np.array(message.fall_velocity), fast=np.array(message.speed > 0),
        time_to_impact=np.array(message.time_to_impact), clearance=np.array(message.clearance),
        gravity=vector(message.gravity), angular_velocity=untold, specific_force=untold,
        use=np.array(ReadingUse.USED),
    )  # fmt: skip


def torque_load(time_s: float, torque: Array, impact: ImpactEstimate) -> TorqueLoad:
    """The load from torques (20,) in N m; NaN torques say that there are no effort readings."""
    return TorqueLoad(
        header=header(time_s), effort_available=bool(np.isfinite(torque).all()),
        joint_name=_NAMES, torque=_doubles(torque), total=float(impact.torque_load),
        spike=float(impact.spike), peak=float(impact.peak), impact=bool(impact.onset),
        impact_count=int(impact.count), sense=int(impact.sense), subsided=bool(impact.subsided),
    )  # fmt: skip


def impact_estimate(message: TorqueLoad) -> ImpactEstimate:
    """What the impact detector said."""
    return ImpactEstimate(
        torque_load=np.array(message.total), spike=np.array(message.spike),
        onset=np.array(message.impact), count=np.array(message.impact_count),
        sense=np.array(message.sense), peak=np.array(message.peak),
        subsided=np.array(message.subsided),
    )  # fmt: skip


def joint_gains(time_s: float, scales: Scales, registers: Registers, written: bool) -> JointGains:
    """The gains as commanded, registers (20,) each."""
    p, d, pwm, i = (array("H", r.astype(np.uint16).tobytes()) for r in registers)
    return JointGains(
        header=header(time_s), phase=int(scales.phase), stiffness_scale=float(scales.stiffness),
        damping_scale=float(scales.damping), written=written, joint_name=_NAMES,
        p_gain=p, i_gain=i, d_gain=d, goal_pwm=pwm,
    )  # fmt: skip


def sync_write(item: str, values: NDArray[np.int64]) -> SyncWriteItem:
    """One register item of all joints, (20,)."""
    return SyncWriteItem(item_name=item, joint_name=_NAMES, value=values.astype(int).tolist())
