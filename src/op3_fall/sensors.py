# SPDX-License-Identifier: Apache-2.0
"""What the OP3's driver makes of the truth: quantised, clipped, filtered, one cycle late.

Pure functions over any leading shape. The chain is that of ROBOTIS' servos, OpenCR board and
`open_cr_module`: the inertial chip clips and low-passes, its registers quantise, the driver
low-passes again and takes the orientation from the filtered accelerometer alone.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import check_choice
from op3_fall.rotations import from_roll_pitch
from op3_fall.signals import SensorReading

__all__ = ["PROFILES", "Profile", "Sample", "chip_filter", "imu_registers", "publish"]

Array = NDArray[np.float64]

GRAVITY = 9.80665
ACCELEROMETER_RANGE = 2 * GRAVITY  # m/s^2
ACCELEROMETER_LSB = ACCELEROMETER_RANGE / 32768
GYRO_RANGE = math.radians(2000)  # rad/s
GYRO_LSB = math.radians(2000 / 32800)
CHIP_BANDWIDTH_HZ = 41.0  # MPU9250 digital low-pass as OpenCR sets it
DRIVER_FILTER = 0.4  # weight of the new value, at 125 Hz
POSITION_COUNTS = 4096
VELOCITY_COUNTS_PER_RAD_S = 41.707853
CURRENT_LSB_A = 2.69e-3
EFFORT_COUNTS_PER_N_M = 149.795386991


@dataclass(frozen=True)
class Profile:
    """Which items the driver reads, and whether its defects are simulated."""

    name: str
    joint_load: bool
    """Velocity and effort are read; with the stock OP3.robot both are constant zero."""
    defects: bool
    """Quantisation, clipping, filters, accelerometer orientation, one cycle of age."""


PROFILES = {
    "stock": Profile("stock", joint_load=False, defects=True),
    "extended": Profile("extended", joint_load=True, defects=True),
    "ideal": Profile("ideal", joint_load=True, defects=False),
}


def find_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        BadInputError: there is none.
    """
    check_choice("sensor profile", name, PROFILES, remedy="choose one of them")
    return PROFILES[name]


class Sample(NamedTuple):
    """The true state at one driver cycle."""

    position: Array
    """Joint angles, rad, (..., 20)."""
    velocity: Array
    """Joint velocities, rad/s, (..., 20)."""
    torque: Array
    """Torque that the motor currents make, N m, (..., 20)."""
    imu: Array
    """Specific force in m/s^2 and angular velocity in rad/s after the chip, (..., 6)."""
    orientation: Array
    """Attitude wxyz of the torso, (..., 4)."""


def chip_filter(previous: Array, imu: Array, dt_s: float) -> Array:
    """One step of the inertial chip: clip to its range, then first-order low-pass, (..., 6)."""
    limit = np.array([ACCELEROMETER_RANGE] * 3 + [GYRO_RANGE] * 3)
    weight = 1 - math.exp(-2 * math.pi * CHIP_BANDWIDTH_HZ * dt_s)
    return previous + weight * (np.clip(imu, -limit, limit) - previous)


def imu_registers(imu: Array) -> Array:
    """The values (..., 6) as the board's 16-bit registers hold them, back in SI."""
    lsb = np.array([ACCELEROMETER_LSB] * 3 + [GYRO_LSB] * 3)
    return np.clip(np.rint(imu / lsb), -32768, 32767) * lsb


def _driver_orientation(acceleration: Array) -> Array:
    """Quaternion (..., 4) by NXP AN3461 with mu = 0.01, as `open_cr_module` computes it."""
    ax, ay, az = np.moveaxis(acceleration, -1, 0)
    roll = np.arctan2(ay, np.where(az < 0, -1.0, 1.0) * np.sqrt(az**2 + 0.01 * ax**2))
    pitch = np.arctan2(-ax, np.sqrt(ay**2 + az**2))
    return from_roll_pitch(roll, pitch)


def _read_position(position: Array) -> Array:
    """Encoder counts back to rad with the driver's uneven halves: 2047 up, 2048 down."""
    counts = np.clip(np.rint(position * POSITION_COUNTS / (2 * math.pi)), -2048, 2047)
    return counts * math.pi / np.where(counts > 0, 2047, 2048)


def publish(
    profile: Profile,
    servo: robot.Servo,
    time_s: Array,
    sample: Sample,
    filtered: Array,
) -> tuple[SensorReading, Array]:
    """The driver's reading of a sample, and the state of its IMU filter after it.

    Args:
        profile: what is read and how.
        servo: turns torque into current.
        time_s: stamp, (...).
        sample: the state that the cycle's bulk read brought.
        filtered: the driver's low-pass state, (..., 6).
    """
    effort = sample.torque * servo.effort_per_n_m
    if not profile.defects:
        reading = SensorReading(
            time_s, sample.position, sample.velocity, effort,
            sample.imu[..., 3:], sample.imu[..., :3], sample.orientation,
        )  # fmt: skip
        return reading, sample.imu
    filtered = filtered + DRIVER_FILTER * (imu_registers(sample.imu) - filtered)
    if profile.joint_load:
        velocity = np.rint(sample.velocity * VELOCITY_COUNTS_PER_RAD_S) / VELOCITY_COUNTS_PER_RAD_S
        counts = np.clip(np.rint(effort * EFFORT_COUNTS_PER_N_M), -32768, 32767)
        effort = counts / EFFORT_COUNTS_PER_N_M
    else:
        velocity, effort = np.zeros_like(sample.velocity), np.zeros_like(effort)
    acceleration = filtered[..., :3]
    reading = SensorReading(
        time_s, _read_position(sample.position), velocity, effort,
        filtered[..., 3:], acceleration, _driver_orientation(acceleration),
    )  # fmt: skip
    return reading, filtered
