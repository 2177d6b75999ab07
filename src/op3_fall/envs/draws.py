# SPDX-License-Identifier: Apache-2.0
"""Scenarios drawn for the episodes of a phase, each from its robot's seed and episode number.

Every quantity has random numbers of its own, whatever the phase, so that switching one
randomisation on leaves the others as they were, and a robot's episode is the same alone and in any
batch. Distributions are alike on both sides of the robot.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import imu_errors as imu
from op3_fall import robot
from op3_fall.envs.phase import Phase
from op3_fall.kinematics import find_stance, soles_flat
from op3_fall.noise import uniform
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.scenarios import BUMP_HALF_LENGTH_M, BUMP_HEIGHT_M, BUMPS, Scenario
from op3_fall.servo import stall_torque

__all__ = ["IMPULSES_N_S", "STARTS", "draw_scenario"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

IMPULSES_N_S = {"weak": (1.3, 1.8), "normal": (1.8, 3.0), "strong": (3.0, 4.0)}
"""Impulse at the head of a standing robot, by class. It falls to the front from 1.1 N s on, to
the sides from 1.4, to the back from 0.7 (simulated). The most is 40 N for 0.1 s."""
STARTS = ("stand", "walkready", "ini_pose")
"""Poses of `robot.POSES` that an episode can begin in."""

_WIDTHS = {
    "pose": 1, "jitter": robot.NUM_JOINTS, "direction": 1, "impulse": 1, "part": 1,
    "push_start": 1, "push_duration": 1, "mass": len(robot.PARTS),
    "joint_offset": robot.NUM_JOINTS, "joint_noise": 1, "gyro_bias": 3, "accelerometer_bias": 3,
    "gyro_noise": 1, "accelerometer_noise": 1, "imu_mounting": 2, "friction": 1, "voltage": 1,
    "strength": 1, "latency": 1, "slope": 1, "slope_direction": 1, "bump_bearing": BUMPS,
    "bump_distance": BUMPS, "bump_yaw": BUMPS, "noise_seed": 1,
}  # fmt: skip
_ENDS = np.cumsum(list(_WIDTHS.values()))
_GROUP_OF_PART = [
    part if part in ("head", "torso") else "arms" if part.endswith("arm") else "legs"
    for part in robot.PARTS
]
_SECTORS = 8
_SECTOR_RAD = 2 * np.pi / _SECTORS

_FEET_M = 0.15
"""The feet are within this distance of the torso's middle in every start pose."""
_RIDGE_REACH_M = BUMP_HALF_LENGTH_M + BUMP_HEIGHT_M
"""From the middle of a ridge to its rounded end."""
_FARTHEST_M = 0.7
"""A ridge farther away is out of a falling robot's reach."""

_PUSHED = {"head": (0.0105, 0.0, 0.189), "torso": (-0.015, 0.0, 0.0658),
           "l_hip": (-0.0016, 0.035, -0.0077), "r_hip": (-0.0016, -0.035, -0.0077)}  # fmt: skip
"""Where `Scenario.push_part` pushes, in the torso's frame, m (centres of mass of op3.xml)."""


def _heights(poses: Array) -> Array:
    """Of the places in `_PUSHED` above the soles of robots in `poses` (p, 20), m, (p, 4)."""
    down = gravity_in_body(soles_flat(poses))
    depths = [(np.stack(s.centre, axis=-1) * down).sum(-1) for s in find_stance(poses).soles]
    return np.max(depths, axis=0)[:, None] - down @ np.array(list(_PUSHED.values())).T


_POSES = np.array([robot.POSES[name] for name in STARTS])
_LEVER = _heights(_POSES)[0, 0] / _heights(_POSES)
"""Impulse for the moment that 1 N s at a standing robot's head has, (poses, places)."""


def draw_scenario(phase: Phase, seeds: ArrayLike, episodes: ArrayLike) -> Scenario:
    """The scenarios of k episodes.

    Args:
        phase: what is drawn, and from which ranges.
        seeds: each robot's own number, (k,) integers.
        episodes: which of its episodes it is, (k,) integers.

    Returns:
        k scenarios; each depends on the phase, its seed and its episode alone.
    """
    u = _Numbers(seeds, episodes)
    start = _pick(u["pose"], [i for i, p in enumerate(STARTS) if getattr(phase, f"start_{p}")])
    limits = robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD
    position = np.clip(_POSES[start] + _around(phase.pose_jitter_rad, u["jitter"]), *limits)
    # A robot at a joint's stop cannot be beyond it in truth.
    true_angle = np.clip(position - _around(phase.joint_offset_rad, u["joint_offset"]), *limits)
    force, duration_s, part = _push(phase, u, start)
    shares = np.array([getattr(phase, f"mass_{group}") for group in _GROUP_OF_PART])
    errors = phase.imu_errors
    friction = _between(phase.friction_low, phase.friction_high, u["friction"])
    voltage = _between(phase.voltage_low_v, phase.voltage_high_v, u["voltage"])
    return Scenario(
        position=position,
        orientation=soles_flat(true_angle),
        push_force=force,
        push_start_s=_between(phase.push_start_low_s, phase.push_start_high_s, u["push_start"]),
        push_duration_s=duration_s,
        mass_scale=1 + _around(shares, u["mass"]),
        friction=friction if phase.friction_high else np.full(len(position), np.nan),
        strength=stall_torque(voltage)
        / robot.Servo().stall_torque_n_m
        * (1 + _around(phase.servo_strength, u["strength"])),
        push_part=part,
        gyro_bias=_around(errors * imu.GYRO_BIAS_RAD_S, u["gyro_bias"]),
        accelerometer_bias=_around(errors * imu.ACCELEROMETER_BIAS_M_S2, u["accelerometer_bias"]),
        gyro_noise=errors * imu.GYRO_NOISE_RAD_S * _between(*imu.NOISE_FACTORS, u["gyro_noise"]),
        accelerometer_noise=errors
        * imu.ACCELEROMETER_NOISE_M_S2
        * _between(*imu.NOISE_FACTORS, u["accelerometer_noise"]),
        imu_mounting=from_roll_pitch(
            *_around(errors * np.radians(imu.MOUNTING_DEG), u["imu_mounting"]).T.copy()
        ),
        noise_seed=(u["noise_seed"] * 2.0**53).astype(np.int64),
        latency_s=phase.latency_s * u["latency"],
        joint_offset=position - true_angle,
        joint_noise=phase.joint_noise_rad * u["joint_noise"],
        slope_rad=phase.slope_rad * u["slope"],
        slope_direction_rad=_around(np.pi, u["slope_direction"]),
        bumps=_ridges(u) if phase.bumps else np.full((len(position), BUMPS, 3), np.nan),
    )


class _Numbers:
    """The random numbers in (0, 1] of k episodes, by quantity: (k,), or (k, width) of several."""

    def __init__(self, seeds: ArrayLike, episodes: ArrayLike) -> None:
        self._all = uniform(seeds, episodes, int(_ENDS[-1]))

    def __getitem__(self, name: str) -> Array:
        end, width = _ENDS[list(_WIDTHS).index(name)], _WIDTHS[name]
        # A copy: numpy may round functions differently over strided memory.
        return self._all[:, end - 1 if width == 1 else slice(end - width, end)].copy()


def _around(size: ArrayLike, u: Array) -> Array:
    """Even from -size to size."""
    return np.asarray(size) * (2 * u - 1)


def _between(low: float, high: float, u: Array) -> Array:
    """Even from low to high."""
    return low + (high - low) * u


def _split(u: Array, ways: int) -> tuple[Indices, Array]:
    """One of `ways` equal choices, and a new number in [0, 1] that is independent of it."""
    chosen = np.minimum((u * ways).astype(np.int64), ways - 1)
    return chosen, u * ways - chosen


def _pick(u: Array, options: list[int]) -> Indices:
    return np.array(options)[_split(u, len(options))[0]]


def _push(phase: Phase, u: _Numbers, start: Indices) -> tuple[Array, Array, Indices]:
    """Force (k, 3) in N, duration (k,) in s, and index of the pushed part (k,)."""
    places = [name for name in ("head", "torso", "hips") if getattr(phase, f"push_{name}")]
    chosen, rest = _split(u["part"], len(places))
    name_of_place = [place.replace("hips", "l_hip") for place in places]
    first = np.array([list(_PUSHED).index(name) for name in name_of_place])[chosen]
    hips = first == list(_PUSHED).index("l_hip")
    place = first + (hips & (rest > 0.5))
    part = np.array([robot.PARTS.index(name) for name in _PUSHED])[place]
    duration_s = _between(
        phase.push_duration_low_s, phase.push_duration_high_s, u["push_duration"]
    )
    size = _impulse(phase, u["impulse"]) * _LEVER[start, place] / duration_s
    sectors = _sectors(phase)
    if not sectors:
        return np.zeros((len(start), 3)), duration_s, part
    chosen, rest = _split(u["direction"], len(sectors))
    angle = (np.array(sectors)[chosen] + rest - 0.5) * _SECTOR_RAD
    force = np.stack([size * np.cos(angle), -size * np.sin(angle), np.zeros_like(size)], axis=-1)
    return force, duration_s, part


def _sectors(phase: Phase) -> list[int]:
    """Eighths of a turn, counted to the right from the front, in which pushes may go."""
    fourths = [phase.push_front, phase.push_sides, phase.push_back, phase.push_sides]
    return [i for i in range(_SECTORS) if fourths[i // 2] and fourths[(i + 1) // 2 % len(fourths)]]


def _impulse(phase: Phase, u: Array) -> Array:
    """At a standing robot's head, N s, (k,): first a class, then a size within it."""
    ranges = np.array(
        [limits for name, limits in IMPULSES_N_S.items() if getattr(phase, f"push_{name}")]
    )
    chosen, rest = _split(u, len(ranges))
    return ranges[chosen, 0] + (ranges[chosen, 1] - ranges[chosen, 0]) * rest


def _ridges(u: _Numbers) -> Array:
    """Ridges around the robot, clear of its feet: x, y and yaw of each, (k, BUMPS, 3)."""
    distance = _between(_FEET_M + _RIDGE_REACH_M, _FARTHEST_M, u["bump_distance"])
    bearing, yaw = _around(np.pi, u["bump_bearing"]), _around(np.pi, u["bump_yaw"])
    return np.stack([distance * np.cos(bearing), distance * np.sin(bearing), yaw], axis=-1)
