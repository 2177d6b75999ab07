# SPDX-License-Identifier: Apache-2.0
"""The ROBOTIS OP3: joints in driver order, groups, poses, limits; its servo is `servo.Servo`.

Every array over joints is in the order of the driver's topics, which is alphabetical. Sources are
named beside the numbers; they are files of ROBOTIS-GIT/ROBOTIS-OP3 `jazzy-devel`.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall.errors import BadInputError
from op3_fall.servo import Servo

__all__ = [
    "ARMS",
    "HEAD",
    "JOINTS",
    "JOINT_INDEX",
    "LEGS",
    "LOWER_LIMIT_RAD",
    "MIRROR_INDEX",
    "MIRROR_SIGN",
    "NUM_JOINTS",
    "PARTS",
    "PART_OF_JOINT",
    "POSES",
    "UPPER_LIMIT_RAD",
    "Servo",
    "joint_vector",
    "mirror_joints",
]

# IK: limits in op3_kinematics_dynamics.cpp, in degrees there too; used: range over all valid
# pages of ROBOTIS' own motion_4095.bin, in rad. The mechanical stops are in no source.
_IK_DEG_AND_USED_RAD: dict[str, tuple[tuple[int, int], tuple[float, float]]] = {
    "head_pan": ((-90, 90), (-0.8437, 0.8084)),
    "head_tilt": ((-90, 90), (-2.0356, 0.3329)),
    "l_ank_pitch": ((-81, 81), (-0.4893, 1.807)),
    "l_ank_roll": ((-81, 81), (-1.2011, 0.2301)),
    "l_el": ((-90, 90), (-2.5725, 0.0936)),
    "l_hip_pitch": ((-72, 72), (-1.9466, 0.4893)),
    "l_hip_roll": ((-54, 54), (-0.4571, -0.0015)),
    "l_hip_yaw": ((-81, 81), (-0.2301, 0.2301)),
    "l_knee": ((-18, 126), (-0.0015, 2.4835)),
    "l_sho_pitch": ((-90, 90), (-2.6967, 2.3884)),
    "l_sho_roll": ((-54, 90), (-1.8208, 1.5064)),
    "r_ank_pitch": ((-81, 81), (-1.8086, 0.5047)),
    "r_ank_roll": ((-81, 81), (-0.2316, 1.1996)),
    "r_el": ((-90, 90), (-0.0322, 2.571)),
    "r_hip_pitch": ((-72, 72), (-0.4909, 1.9451)),
    "r_hip_roll": ((-54, 54), (-0.0015, 0.4556)),
    "r_hip_yaw": ((-81, 81), (-0.2316, 0.2286)),
    "r_knee": ((-126, 18), (-2.4682, -0.0015)),
    "r_sho_pitch": ((-90, 90), (-2.3899, 2.8225)),
    "r_sho_roll": ((-90, 54), (-1.4972, 1.8193)),
}

JOINTS: tuple[str, ...] = tuple(sorted(_IK_DEG_AND_USED_RAD))
NUM_JOINTS = len(JOINTS)
JOINT_INDEX: dict[str, int] = {name: i for i, name in enumerate(JOINTS)}

HEAD = ("head_pan", "head_tilt")
ARMS = tuple(j for j in JOINTS if "_sho_" in j or j.endswith("_el"))
LEGS = tuple(j for j in JOINTS if j not in HEAD and j not in ARMS)

_ENCODER_RAD = math.pi


def _mirror_name(name: str) -> str:
    return {"l_": "r_", "r_": "l_"}.get(name[:2], name[:2]) + name[2:]


# Reflection in the sagittal plane: q_mirrored = MIRROR_SIGN * q[MIRROR_INDEX]. All left-right
# pairs turn the opposite way (facts of the axes); of the head only the pan does.
MIRROR_INDEX: NDArray[np.intp] = np.array([JOINT_INDEX[_mirror_name(j)] for j in JOINTS])
MIRROR_SIGN: NDArray[np.float64] = np.array([1.0 if j == "head_tilt" else -1.0 for j in JOINTS])


def mirror_joints(values: ArrayLike) -> NDArray[np.float64]:
    """Reflect joint values (..., 20) in the sagittal plane; twice is the identity."""
    return MIRROR_SIGN * np.asarray(values, dtype=float)[..., MIRROR_INDEX]


def _limits() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the IK library allows together with what ROBOTIS' motions reach, both sides alike.

    The two sides of the robot are mirror images, but the recorded motions use them a little
    differently: a joint may go wherever its own or its twin's recorded motion went.
    """
    ik = np.radians([_IK_DEG_AND_USED_RAD[j][0] for j in JOINTS])  # (20, low/high)
    used = np.array([_IK_DEG_AND_USED_RAD[j][1] for j in JOINTS])
    low, high = np.minimum(ik, used)[:, 0], np.maximum(ik, used)[:, 1]
    twin_low, twin_high = mirror_joints(low), mirror_joints(high)
    low, high = (
        np.minimum.reduce([low, twin_low, twin_high]),
        np.maximum.reduce([high, twin_low, twin_high]),
    )
    return np.maximum(low, -_ENCODER_RAD), np.minimum(high, _ENCODER_RAD)


LOWER_LIMIT_RAD, UPPER_LIMIT_RAD = _limits()

# Parts whose floor forces are told apart; a link belongs to the part of the joint that moves it.
PARTS = (
    "head", "torso", "l_upper_arm", "l_forearm", "r_upper_arm", "r_forearm",
    "l_hip", "l_thigh", "l_shank", "l_foot", "r_hip", "r_thigh", "r_shank", "r_foot",
)  # fmt: skip
_PART_OF_SUFFIX = {
    "sho_pitch": "upper_arm", "sho_roll": "upper_arm", "el": "forearm", "hip_yaw": "hip",
    "hip_roll": "hip", "hip_pitch": "thigh", "knee": "shank", "ank_pitch": "foot",
    "ank_roll": "foot",
}  # fmt: skip
PART_OF_JOINT: dict[str, str] = {
    j: "head" if j in HEAD else j[:2] + _PART_OF_SUFFIX[j[2:]] for j in JOINTS
}


def joint_vector(
    angles_rad: Mapping[str, float], base: ArrayLike | None = None, *, source: str = "pose"
) -> NDArray[np.float64]:
    """Angles by joint name as a vector in driver order, shape (20,), unit rad.

    Args:
        angles_rad: angle of each named joint; joints left out keep `base`.
        base: angles (20,) to start from, zeros if None.
        source: where the angles come from, for the error text.

    Raises:
        BadInputError: a joint is unknown, or an angle is not finite or outside its limits.
    """
    vector = np.zeros(NUM_JOINTS) if base is None else np.array(base, dtype=float)
    for name, angle in angles_rad.items():
        if name not in JOINT_INDEX:
            raise BadInputError(
                f"{source}: joint '{name}' is unknown; allowed are {', '.join(JOINTS)}; "
                "correct the name"
            )
        i = JOINT_INDEX[name]
        low, high = LOWER_LIMIT_RAD[i], UPPER_LIMIT_RAD[i]
        if not (isinstance(angle, int | float) and low <= angle <= high):
            raise BadInputError(
                f"{source}: {name} is {angle} rad; allowed is {low:.4f} to {high:.4f} rad; "
                "choose an angle in that range"
            )
        vector[i] = angle
    return vector


def _both_sides(right: Mapping[str, float], **head: float) -> NDArray[np.float64]:
    """A left-right symmetric pose from the right side's angles in rad, names without `r_`."""
    sides = {f"r_{k}": v for k, v in right.items()} | {f"l_{k}": -v for k, v in right.items()}
    return joint_vector(sides | head)


POSES: dict[str, NDArray[np.float64]] = {
    # Straight legs, arms hanging down: the experiment's start.
    "stand": _both_sides({"sho_roll": -math.pi / 2}),
    # op3_base_module/data/ini_pose.yaml: the driver's deep crouch.
    "ini_pose": _both_sides(
        {
            "sho_pitch": math.radians(15), "sho_roll": -math.radians(45), "el": math.radians(45),
            "hip_pitch": math.radians(70), "knee": -math.radians(142),
            "ank_pitch": -math.radians(70),
        },
        head_tilt=-math.radians(10),
    ),
    # op3_action_module page 9, left and right averaged (they differ by 6 mrad at most).
    "walkready": _both_sides(
        {
            "sho_pitch": 0.0867, "sho_roll": -0.7938, "el": 0.79, "hip_roll": 0.0414,
            "hip_pitch": 0.5553, "knee": -1.0615, "ank_pitch": -0.6389, "ank_roll": 0.0407,
        }
    ),
    # Arms forward and bent, knees drawn in: brace for a forward fall.
    "protect_front": _both_sides(
        {"sho_pitch": 1.0, "sho_roll": -0.9, "el": 0.4, "hip_pitch": 0.57, "knee": -1.5}
    ),
}  # fmt: skip
# Arms alone, over straight legs: those of protect_front need its bent knees, or the head hits.
POSES["brace_front"] = _both_sides({"sho_pitch": 1.2, "sho_roll": -0.9, "el": 0.2})
for _pose in POSES.values():
    _pose.setflags(write=False)
