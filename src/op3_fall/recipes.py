# SPDX-License-Identifier: Apache-2.0
"""Recipes for episodes: each draws a posture, a motion and a disturbance from a seeded generator.

A recipe returns fields of `Scenario`, `Motion` and `Hand` by name; what it leaves out is neutral.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import imu_errors as imu
from op3_fall import robot
from op3_fall.motion_pages import PAGES
from op3_fall.rotations import from_roll_pitch

__all__ = ["FALLS", "NON_FALLS", "any_robot"]

Rng = np.random.Generator
Drawn = dict[str, Any]

_INDEX = robot.JOINT_INDEX
_ARM = [_INDEX[j] for j in robot.ARMS]
_PUSHED = ("head", "torso", "l_hip", "r_hip")
_STAND, _CROUCH = robot.POSES["stand"], robot.POSES["ini_pose"]
_WALKREADY, _PROTECT = robot.POSES["walkready"], robot.POSES["protect_front"]
_STANDUP = PAGES[1][0].goal
_GET_UPS = ((PAGES[122], 0.1), (PAGES[123], 0.35))
"""Pages to get up by; beyond that share of the last step only the feet touch the floor."""


def _stance(rng: Rng, *poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """One of the poses, every joint off by up to a degree."""
    off = np.radians(rng.uniform(-1.0, 1.0, robot.NUM_JOINTS))
    return poses[rng.integers(len(poses))] + off


def _standing(rng: Rng) -> Drawn:
    return {"base": _stance(rng, _STAND, _STANDUP, _WALKREADY)}


def _crouched(rng: Rng) -> Drawn:
    crouch = _stance(rng, _CROUCH)
    return {"base": _STAND + rng.uniform(0.5, 1.0) * (crouch - _STAND)}


def _stepping(rng: Rng) -> Drawn:
    """Steps in place that do not fell an undisturbed robot."""
    return {
        "base": _stance(rng, _WALKREADY), "step_s": rng.uniform(0.5, 0.85),
        "step_height": rng.uniform(0.005, 0.025), "step_sway": rng.uniform(0.008, 0.035),
    }  # fmt: skip


def _getting_up(rng: Rng) -> Drawn:
    """In the last step of a get-up motion, in which only the feet bear; moving on or holding."""
    page, first = _GET_UPS[rng.integers(2)]
    low, end = page[-2].goal, page[-1].goal
    base = low + rng.uniform(first, 0.9) * (end - low)
    return {"base": base, "move": rng.integers(2) * (end - base), "move_start_s": 0.6,
            "move_s": rng.uniform(0.8, 1.5)}  # fmt: skip


def _push(rng: Rng, least: float, most: float, parts: tuple[str, ...] = _PUSHED) -> Drawn:
    """An impulse of `least` to `most` N s from any side on one of `parts`."""
    impulse, duration = rng.uniform(least, most), rng.uniform(0.05, 0.3)
    angle = rng.uniform(-np.pi, np.pi)
    force = impulse / duration * np.array([np.cos(angle), -np.sin(angle), 0.0])
    part = robot.PARTS.index(parts[rng.integers(len(parts))])
    return {"push_force": force, "push_duration_s": duration, "push_part": part}


def _slipping(rng: Rng) -> Drawn:
    """One foot is swept away on a slippery floor."""
    posture = (_standing, _crouched, _stepping)[rng.integers(3)](rng)
    sweep = _push(rng, 1.0, 5.0, ("l_foot", "r_foot"))
    return posture | sweep | {"friction": rng.uniform(0.05, 0.2)}


def _limp(rng: Rng) -> Drawn:
    posture = (_standing, _crouched, _stepping)[rng.integers(3)](rng)
    return posture | {"limp_leg": rng.integers(2)}


def _tipped(rng: Rng) -> Drawn:
    posture = (_standing, _crouched)[rng.integers(2)](rng)
    angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(0.06, 0.2)
    return posture | {"hand_speed": speed * np.array([np.cos(angle), -np.sin(angle), 0.0]),
                      "hand_s": 60.0}  # fmt: skip


def _posing(rng: Rng) -> Drawn:
    """The protective pose of the whole body: a robot that stands does not survive it."""
    posture = _standing(rng)
    return posture | {"move": _PROTECT - posture["base"], "move_s": 0.0}


FALLS: dict[str, Callable[[Rng], Drawn]] = {
    "pushed standing": lambda rng: _standing(rng) | _push(rng, 0.6, 4.5),
    "pushed crouched": lambda rng: _crouched(rng) | _push(rng, 0.8, 6.0),
    "pushed stepping": lambda rng: _stepping(rng) | _push(rng, 0.5, 4.5),
    "pushed getting up": lambda rng: _getting_up(rng) | _push(rng, 0.8, 6.0),
    "slipped": _slipping,
    "leg limp": _limp,
    "tipped slowly": _tipped,
    "protective pose": _posing,
}
"""Disturbances that end in a fall, as a rule; what really happened decides."""


def _swaying(rng: Rng) -> Drawn:
    posture, swing = _standing(rng), np.zeros(robot.NUM_JOINTS)
    ahead, aside = rng.uniform(0.0, 0.08, 2)
    for side, sign in (("l", 1), ("r", -1)):
        swing[[_INDEX[f"{side}_hip_pitch"], _INDEX[f"{side}_ank_pitch"]]] = sign * ahead
        swing[[_INDEX[f"{side}_hip_roll"], _INDEX[f"{side}_ank_roll"]]] = aside
    return posture | {"swing": swing, "swing_s": rng.uniform(0.6, 3.0)}


def _squatting(rng: Rng) -> Drawn:
    base, low = _stance(rng, _STAND, _STANDUP), _stance(rng, _CROUCH)
    return {"base": base, "move": low - base, "move_s": rng.uniform(0.6, 2.0), "returns": True}


def _waving(rng: Rng) -> Drawn:
    """Both arms swing, fast enough to shake the robot."""
    posture, swing = (_standing, _crouched)[rng.integers(2)](rng), np.zeros(robot.NUM_JOINTS)
    swing[_ARM] = rng.uniform(-0.8, 0.8, len(_ARM))
    return posture | {"swing": swing, "swing_s": rng.uniform(0.8, 3.0)}


def _looking(rng: Rng) -> Drawn:
    posture, swing = (_standing, _crouched)[rng.integers(2)](rng), np.zeros(robot.NUM_JOINTS)
    swing[[_INDEX["head_pan"], _INDEX["head_tilt"]]] = rng.uniform(0.1, 0.8, 2)
    return posture | {"swing": swing, "swing_s": rng.uniform(0.8, 3.0)}


def _bracing(rng: Rng) -> Drawn:
    """The protective pose of the arms, as a step of the goal, while the legs stand."""
    posture = (_standing, _crouched)[rng.integers(2)](rng)
    move = np.zeros(robot.NUM_JOINTS)
    move[_ARM] = _PROTECT[_ARM] - posture["base"][_ARM]
    return posture | {"move": move, "move_s": 0.0}


def _lifted(rng: Rng) -> Drawn:
    lean = np.radians(rng.uniform(-4.0, 4.0, 2))
    return (_standing, _crouched)[rng.integers(2)](rng) | {
        "lift_m": rng.uniform(0.03, 0.15), "hand_s": rng.uniform(4.0, 8.0),
        "lean": np.array([*lean, 1.0]),
    }  # fmt: skip


NON_FALLS: dict[str, Callable[[Rng], Drawn]] = {
    "standing": lambda rng: (_standing, _crouched)[rng.integers(2)](rng),
    "pushed, recovers": lambda rng: (_standing, _crouched, _stepping, _getting_up)[
        rng.integers(4)](rng) | _push(rng, 0.05, 0.9),
    "swaying": _swaying,
    "squatting": _squatting,
    "stepping in place": _stepping,
    "swinging the arms": _waving,
    "turning the head": _looking,
    "bracing the arms": _bracing,
    "getting up": _getting_up,
    "lifted, put down": _lifted,
}  # fmt: skip
"""What a robot survives, as a rule."""


def any_robot(rng: Rng) -> Drawn:
    """What differs from robot to robot and from floor to floor; docs/detection.md says why."""
    voltage = rng.uniform(11.1, 14.8)
    turn = np.radians(rng.uniform(-imu.MOUNTING_DEG, imu.MOUNTING_DEG, 2))
    return {
        "mass_scale": rng.uniform(0.85, 1.15, len(robot.PARTS)),
        "friction": rng.uniform(0.5, 1.2),
        "strength": robot.Servo(voltage).stall_torque_n_m / robot.Servo().stall_torque_n_m,
        "gyro_bias": rng.uniform(-imu.GYRO_BIAS_RAD_S, imu.GYRO_BIAS_RAD_S, 3),
        "accelerometer_bias": rng.uniform(
            -imu.ACCELEROMETER_BIAS_M_S2, imu.ACCELEROMETER_BIAS_M_S2, 3
        ),
        "gyro_noise": imu.GYRO_NOISE_RAD_S * rng.uniform(*imu.NOISE_FACTORS),
        "accelerometer_noise": imu.ACCELEROMETER_NOISE_M_S2 * rng.uniform(*imu.NOISE_FACTORS),
        "imu_mounting": from_roll_pitch(*turn),
        "noise_seed": rng.integers(2**62),
        "latency_s": rng.uniform(0.0, 0.02),
    }
