# SPDX-License-Identifier: Apache-2.0
"""How a fall begins: start pose, push, and what differs from robot to robot."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError, check_range

__all__ = [
    "BUMPS", "BUMP_HALF_LENGTH_M", "BUMP_HEIGHT_M", "PushSpec", "Scenario", "pushed_stand",
]  # fmt: skip

Array = NDArray[np.float64]

BUMPS = 12
"""Ridges that a floor can have."""
BUMP_HEIGHT_M, BUMP_HALF_LENGTH_M = 0.02, 0.06
"""Of a ridge, without its rounded ends."""
MAX_LATENCY_S = 1.0
MAX_SLOPE_RAD = 0.35
"""20 degrees: what a robot no longer stands on."""
MAX_OFFSET_RAD = 0.35
"""20 degrees: more than a horn that sits one tooth off."""
MAX_BUMP_M = 10.0
_TURN = 2 * np.pi


@dataclass(frozen=True)
class Scenario:
    """Initial state and disturbance of n simulations."""

    position: Array
    """Joint angles at the start, rad, (n, 20)."""
    orientation: Array
    """Torso attitude wxyz at the start, (n, 4)."""
    push_force: Array
    """Force on `push_part` in the world frame, N, (n, 3)."""
    push_start_s: Array
    """(n,)."""
    push_duration_s: Array
    """(n,)."""
    mass_scale: Array
    """Factor on mass and inertia of each part of `robot.PARTS`, (n, 14)."""
    friction: Array
    """Sliding friction coefficient of the floor, (n,); NaN keeps the model's."""
    strength: Array
    """Factor on the servos' stall torque, (n,)."""
    push_part: NDArray[np.int64]
    """Index into `robot.PARTS` of the part that is pushed, at the centre of mass of its first
    link (of the head: of the link that head_tilt moves), (n,)."""
    gyro_bias: Array
    """What is added to each angular velocity, rad/s, (n, 3)."""
    accelerometer_bias: Array
    """What is added to each specific force, m/s^2, (n, 3)."""
    gyro_noise: Array
    """Standard deviation of the white noise on each angular velocity that the driver gets from
    the inertial chip, before the driver's filter and the registers, rad/s, (n,)."""
    accelerometer_noise: Array
    """The same of each specific force, m/s^2, (n,)."""
    imu_mounting: Array
    """Attitude wxyz of the inertial chip in the torso, (n, 4); identity if it sits straight."""
    noise_seed: NDArray[np.int64]
    """Stream of the noise; simulations that share it have the same noise, (n,)."""
    latency_s: Array
    """Time that a command needs on top of the nominal timing, s, rounded to driver cycles of
    8 ms, (n,)."""
    joint_offset: Array
    """What an encoder reads beyond the true angle, rad, (n, 20). A goal is missed by as much the
    other way, and the true angles at the start are `position` less this."""
    joint_noise: Array
    """Standard deviation of the white noise on each measured angle before its register, rad,
    (n,); of the stream `noise_seed`, independent of the inertial chip's."""
    slope_rad: Array
    """Inclination of the floor, rad, (n,). The world's frame is the floor's: gravity turns."""
    slope_direction_rad: Array
    """Which way is down, rad, (n,): 0 along x, the front of a robot at identity attitude, right
    positive as in `FallEstimate.fall_angle`."""
    bumps: Array
    """Ridges of 2 cm on the floor, (n, BUMPS, 3): x and y of the middle in m and yaw in rad, 0
    along x; NaN where there is none. They need `load_model(bumps=True)`. A robot starts on the
    flat floor whatever lies there: keep them clear of it."""

    def __post_init__(self) -> None:
        """Refuse what would end in a wrong command, a wrong link or a wrong floor.

        Raises:
            BadInputError: with the value, the range and the remedy.
        """
        there = self.bumps[~np.isnan(self.bumps).all(axis=-1)]
        for values, name, low, high, unit in (
            (self.push_part, "index of the pushed part", 0, len(robot.PARTS) - 1, ""),
            (self.latency_s, "command latency", 0, MAX_LATENCY_S, "s"),
            (self.joint_offset, "joint offset", -MAX_OFFSET_RAD, MAX_OFFSET_RAD, "rad"),
            (self.joint_noise, "joint noise", 0, MAX_OFFSET_RAD, "rad"),
            (self.slope_rad, "slope", 0, MAX_SLOPE_RAD, "rad"),
            (self.slope_direction_rad, "slope direction", -_TURN, _TURN, "rad"),
            (there[:, :2], "place of a bump", -MAX_BUMP_M, MAX_BUMP_M, "m"),
            (there[:, 2], "yaw of a bump", -_TURN, _TURN, "rad"),
        ):
            for value in (values.min(initial=0), values.max(initial=0)):
                check_range(name, float(value), low, high, unit=unit)

    @classmethod
    def standing(cls, n: int = 1, pose: ArrayLike = robot.POSES["stand"]) -> Self:
        """N robots standing in `pose` ((20,) or (n, 20), rad), left alone."""
        return cls(
            position=np.broadcast_to(np.asarray(pose, dtype=float), (n, robot.NUM_JOINTS)).copy(),
            orientation=np.tile([1.0, 0.0, 0.0, 0.0], (n, 1)),
            push_force=np.zeros((n, 3)),
            push_start_s=np.zeros(n),
            push_duration_s=np.zeros(n),
            mass_scale=np.ones((n, len(robot.PARTS))),
            friction=np.full(n, np.nan),
            strength=np.ones(n),
            push_part=np.full(n, robot.PARTS.index("head")),
            gyro_bias=np.zeros((n, 3)),
            accelerometer_bias=np.zeros((n, 3)),
            gyro_noise=np.zeros(n),
            accelerometer_noise=np.zeros(n),
            imu_mounting=np.tile([1.0, 0.0, 0.0, 0.0], (n, 1)),
            noise_seed=np.zeros(n, dtype=np.int64),
            latency_s=np.zeros(n),
            joint_offset=np.zeros((n, robot.NUM_JOINTS)),
            joint_noise=np.zeros(n),
            slope_rad=np.zeros(n),
            slope_direction_rad=np.zeros(n),
            bumps=np.full((n, BUMPS, 3), np.nan),
        )

    def __len__(self) -> int:
        """Number of simulations."""
        return len(self.position)

    def check_length(self, n: int) -> None:
        """Refuse a scenario that is not of `n` simulations.

        Raises:
            BadInputError: with both numbers and the remedy.
        """
        if len(self) != n:
            raise BadInputError(
                f"scenario has {len(self)} simulations; allowed is {n}, one for each that is "
                "reset; give Scenario.take(...) of as many"
            )

    def take(self, index: ArrayLike) -> Self:
        """The simulations at `index`, in that order, repeats allowed."""
        rows = np.asarray(index, dtype=np.intp)
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class PushSpec:
    """The push at the head that starts a fall, and how much falls differ."""

    force_n: float = 15.0
    """Nominal size of the push in N; 8 N does not topple the robot."""
    duration_s: float = 0.1
    """How long it lasts in s."""
    direction_deg: float = 0.0
    """Where it pushes to: 0 to the front, 90 to the right, -90 to the left, 180 to the back."""
    start_s: float = 0.8
    """When it begins in s; before that robot and detector settle."""
    force_jitter: float = 0.1
    """Each fall's force differs by up to this share of it."""
    direction_jitter_deg: float = 5.0
    """Each fall's direction differs by up to this much, in degrees."""
    pose_jitter_deg: float = 1.0
    """Each start angle differs by up to this much, in degrees."""

    def __post_init__(self) -> None:
        """Refuse what is no push.

        Raises:
            BadInputError: with the value, the range and the remedy.
        """
        check_range("push force", self.force_n, 0, 1000, unit="N")
        check_range("push duration", self.duration_s, 0, 60, unit="s")
        check_range("push direction", self.direction_deg, -180, 180, unit="deg")
        check_range("push start", self.start_s, 0, 60, unit="s")
        check_range("force jitter", self.force_jitter, 0, 1)
        check_range("direction jitter", self.direction_jitter_deg, 0, 180, unit="deg")
        check_range("pose jitter", self.pose_jitter_deg, 0, 10, unit="deg")


def pushed_stand(spec: PushSpec, seeds: ArrayLike, *, seed: int) -> Scenario:
    """Standing robots with hanging arms, pushed at the head.

    Args:
        spec: the push and its jitter.
        seeds: (n,) one number a fall; falls that share it share every random draw, whatever
            else is in the batch.
        seed: the run's seed.
    """
    numbers = np.asarray(seeds, dtype=np.int64)
    draws = np.array(
        [np.random.default_rng([seed, int(k)]).uniform(-1, 1, robot.NUM_JOINTS + 2)
         for k in numbers]
    )  # fmt: skip
    base = Scenario.standing(len(numbers))
    force = spec.force_n * (1 + spec.force_jitter * draws[:, 0])
    angle = np.radians(spec.direction_deg + spec.direction_jitter_deg * draws[:, 1])
    push = np.stack([force * np.cos(angle), -force * np.sin(angle), np.zeros_like(force)], axis=-1)
    position = base.position + np.radians(spec.pose_jitter_deg) * draws[:, 2:]
    return replace(
        base,
        position=np.clip(position, robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD),
        push_force=push,
        push_start_s=np.full(len(numbers), spec.start_s),
        push_duration_s=np.full(len(numbers), spec.duration_s),
    )
