# SPDX-License-Identifier: Apache-2.0
"""Centre of mass, soles and lowest part of the OP3 in the torso's frame, from its joint angles.

Component by component instead of by rotation matrices: for one robot NumPy scalars are ten times
faster than small arrays, and for thousands every step runs over contiguous memory. Single
precision is exact to a micrometre and halves the time.

Lengths and masses are those of models/op3.xml (from op3_description's URDF).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.rotations import from_roll_pitch
from op3_fall.vectors import Vector, dot

__all__ = ["Sole", "Stance", "clearance", "find_stance", "half_span", "soles_flat"]

Array = NDArray[np.float64]
_SOLE_HALF_LENGTH, _SOLE_HALF_WIDTH = 0.0635, 0.036
"""The sole is a cross of two boxes, 56 mm wide at the ends and 78 mm in the middle; in between."""

_THIGH, _SHANK = 0.11015, 0.11
_HIP_X, _HIP_Y, _HIP_Z = 0.0241, 0.035, -0.0285
_SOLE_Y, _SOLE_Z = 0.013, -0.0305

_TOTAL_KG = 3.14746
_LEG_KG = 0.11543 + 0.04015 + 0.17886 + 0.06934
"""Links below the hip roll joint."""
# Their first moments in the plane of the leg, kg m: what turns with thigh, shank and foot.
_THIGH_X, _THIGH_Z = 0.11543 * 0.00059, -0.11543 * 0.08408 - (_LEG_KG - 0.11543) * _THIGH
_SHANK_Z = -0.04015 * 0.055 - (0.17886 + 0.06934) * _SHANK
_FOOT_X = -0.17886 * 0.02022 + 0.06934 * (0.02373 - 0.0241)
_FOOT_Z = 0.17886 * 0.01214 - 0.06934 * 0.0276
_LEG_Y = -0.11543 * 0.01901 - 0.04015 * 0.02151 - 0.17886 * 0.01872 - 0.06934 * 0.00863
# Of what the legs' joints do not move: torso, head straight ahead, hip links, shoulders.
_FIXED_X = 1.34928 * -0.01501 + 0.14807 * 0.0105 + 2 * (0.01181 * -0.00157 + 0.17886 * -0.0201)
_FIXED_X += 2 * 0.23061 * -0.001
_FIXED_Z = 1.34928 * 0.06582 + 0.14807 * 0.189 + 2 * (0.01181 * -0.00774 + 0.17886 * -0.0406)
_FIXED_Z += 2 * 0.23061 * 0.111
# Of an arm about its shoulder: along the pitch axis, and along upper arm and forearm.
_ARM_X = 0.21885 * 0.019 - 0.17758 * 0.01844 - 0.04127 * 0.019
_ARM_Y = 0.01176 * 0.00823 + 0.21885 * 0.0285
_ARM_Z = -0.21885 * 0.01 - 0.01176 * 0.00233
_UPPER_Y, _FOREARM_Y = 0.17758 * 0.04514 + 0.04127 * 0.0904, 0.04127 * 0.07033

_USED = [robot.JOINT_INDEX[f"{side}_{joint}"] for joint in
         ("hip_pitch", "knee", "ank_pitch", "hip_roll", "hip_yaw", "ank_roll", "sho_pitch",
          "sho_roll", "el") for side in "lr"]  # fmt: skip


class Sole(NamedTuple):
    """One foot's sole in the torso's frame."""

    centre: Vector
    """m."""
    forward: Vector
    """Unit vector along the foot."""
    left: Vector
    """Unit vector across it."""


class Stance(NamedTuple):
    """What stands on what, in the torso's frame."""

    com: Vector
    """Centre of mass, m, to 3 mm in any posture that stands: head and hip links count as fixed."""
    soles: tuple[Sole, Sole]
    """Left and right."""
    sin: Array
    """Of the turns of legs and arms, (18, ...), as `find_stance` orders them."""
    cos: Array
    """Likewise."""


def find_stance(position: Array) -> Stance:
    """Where the robot's weight and its soles are.

    Args:
        position: joint angles in rad, (..., 20).

    Returns:
        Components of the shape of `position.T` without its first axis.
    """
    angles = np.array(position.T[_USED], dtype=np.float32, order="C")
    (l_hip, r_hip, l_knee, r_knee, l_ankle, r_ankle, l_roll, r_roll, l_yaw, r_yaw, l_foot, r_foot,
     l_arm, r_arm, l_upper, r_upper, l_elbow, r_elbow) = angles  # fmt: skip
    turns = np.array([
        l_hip, l_hip + l_knee, l_hip + l_knee - l_ankle, -l_roll, -l_yaw, l_foot,
        -r_hip, -r_hip - r_knee, -r_hip - r_knee + r_ankle, -r_roll, -r_yaw, r_foot,
        l_arm, -l_upper, l_elbow - l_upper, -r_arm, -r_upper, r_elbow - r_upper,
    ])  # fmt: skip
    sin, cos = np.sin(turns), np.cos(turns)
    if turns.ndim == 1:  # Python's own numbers are faster still
        sin, cos = sin.tolist(), cos.tolist()
    left, left_com = _leg(sin[:6], cos[:6], 1.0)
    right, right_com = _leg(sin[6:12], cos[6:12], -1.0)
    l_arm_com, r_arm_com = _arm(sin[12:15], cos[12:15], 1.0), _arm(sin[15:], cos[15:], -1.0)
    com = (
        (_FIXED_X + left_com[0] + right_com[0] + l_arm_com[0] + r_arm_com[0]) / _TOTAL_KG,
        (left_com[1] + right_com[1] + l_arm_com[1] + r_arm_com[1]) / _TOTAL_KG,
        (_FIXED_Z + left_com[2] + right_com[2] + l_arm_com[2] + r_arm_com[2]) / _TOTAL_KG,
    )
    return Stance(com, (left, right), sin, cos)


def _leg(sin: Array, cos: Array, side: float) -> tuple[Sole, Vector]:
    """Sole, and first moment of the leg's links, kg m; `side` is 1 for the left leg, else -1.

    Of the angles of thigh, shank, foot, hip roll, hip yaw and ankle roll.
    """
    s1, s2, s3, sr, sy, sa = sin
    c1, c2, c3, cr, cy, ca = cos
    # Axes of the hip after yaw and roll: x = (cy, sy, 0), and
    yx, yy = -sy * cr, cy * cr  # y = (yx, yy, sr)
    zx, zy = sy * sr, -cy * sr  # z = (zx, zy, cr)
    ox, oy, oz = -0.024 * cy, side * _HIP_Y - 0.024 * sy, _HIP_Z

    def place(x: Array, y: Array | float, z: Array, weight: float) -> Vector:
        return (weight * ox + x * cy + y * yx + z * zx,
                weight * oy + x * sy + y * yy + z * zy,
                weight * oz + y * sr + z * cr)  # fmt: skip

    down = side * _SOLE_Y * sa + _SOLE_Z * ca
    centre = place(
        _HIP_X - _THIGH * s1 - _SHANK * s2 + down * s3,
        side * _SOLE_Y * ca - _SOLE_Z * sa,
        -_THIGH * c1 - _SHANK * c2 + down * c3, 1.0,
    )  # fmt: skip
    forward = (c3 * cy - s3 * zx, c3 * sy - s3 * zy, -s3 * cr)
    x, z = s3 * sa, c3 * sa
    left = (x * cy + ca * yx + z * zx, x * sy + ca * yy + z * zy, ca * sr + z * cr)
    moment = place(
        _LEG_KG * _HIP_X + _THIGH_X * c1 + _THIGH_Z * s1 + _SHANK_Z * s2 + _FOOT_X * c3
        + _FOOT_Z * s3,
        side * (_LEG_KG * 0.019 + _LEG_Y),
        _THIGH_Z * c1 - _THIGH_X * s1 + _SHANK_Z * c2 - _FOOT_X * s3 + _FOOT_Z * c3, _LEG_KG,
    )  # fmt: skip
    return Sole(centre, forward, left), moment


def _arm(sin: Array, cos: Array, side: float) -> Vector:
    """First moment of an arm about its shoulder, kg m.

    Of the angles of shoulder pitch, upper arm and forearm.
    """
    (sp, su, sf), (cp, cu, cf) = sin, cos
    y = side * (_ARM_Y + _UPPER_Y * cu + _FOREARM_Y * cf)
    z = _ARM_Z + side * (_UPPER_Y * su + _FOREARM_Y * sf)
    return _ARM_X * cp + z * sp, y, z * cp - _ARM_X * sp


def soles_flat(position: Array) -> Array:
    """Attitude of the torso, wxyz (..., 4), that puts the soles flat on a level floor.

    By its pitch alone, between those that either sole asks for: legs that roll must cancel out.

    Args:
        position: joint angles in rad, (..., 20).
    """
    pitch = np.mean([
        sign * (position[..., robot.JOINT_INDEX[f"{side}_hip_pitch"]]
                + position[..., robot.JOINT_INDEX[f"{side}_knee"]]
                - position[..., robot.JOINT_INDEX[f"{side}_ank_pitch"]])
        for side, sign in (("l", -1.0), ("r", 1.0))
    ], axis=0)  # fmt: skip
    return from_roll_pitch(np.zeros(np.shape(pitch)), pitch)


def half_span(sole: Sole, toward: Vector) -> Array:
    """How far a sole reaches from its centre along a unit vector, m."""
    along, across = dot(sole.forward, toward), dot(sole.left, toward)
    return _SOLE_HALF_LENGTH * abs(along) + _SOLE_HALF_WIDTH * abs(across)


# Boxes of models/op3.xml in the torso's frame: centre and half size, m.
_BOXES = (
    ((-0.0161, 0.0, 0.0682), (0.0561, 0.0646, 0.0728)),  # torso
    ((-0.0168, 0.0, 0.0780), (0.0873, 0.0575, 0.0340)),  # its front and back plates
    ((0.0090, 0.0, 0.1925), (0.0200, 0.0470, 0.0390)),  # head, straight ahead
    ((0.0, 0.037, -0.030), (0.045, 0.022, 0.025)),  # hips
    ((0.0, -0.037, -0.030), (0.045, 0.022, 0.025)),
)
_KNEE_RADIUS, _ELBOW_RADIUS, _HAND_RADIUS = 0.022, 0.022, 0.015
_UPPER_ARM, _FOREARM = 0.0904, 0.1315


def clearance(stance: Stance, down: Vector) -> Array:
    """How far the lowest part other than the feet is above the lowest point of the soles, m.

    Within 1 cm while a sole is on a level floor; below zero the feet are in the air.

    Args:
        stance: of robots whose components have some shape.
        down: unit vector, torso's frame.
    """
    soles = [dot(sole.centre, down) + half_span(sole, down) for sole in stance.soles]
    dx, dy, dz = down
    wide, broad, high = abs(dx), abs(dy), abs(dz)
    depths = [
        x * dx + y * dy + z * dz + a * wide + b * broad + c * high
        for (x, y, z), (a, b, c) in _BOXES
    ]
    for side, leg, arm in ((1.0, 0, 12), (-1.0, 6, 15)):
        hip = slice(leg, leg + 5)
        depths.append(_knee_depth(stance.sin[hip], stance.cos[hip], side, down))
        (sp, su, sf), (cp, cu, cf) = stance.sin[arm : arm + 3], stance.cos[arm : arm + 3]
        y, z = 0.0885 + _UPPER_ARM * cu, -0.01 + side * _UPPER_ARM * su
        elbow = side * y * dy + z * sp * dx + z * cp * dz
        tip = side * _FOREARM * (cf * dy + sf * (sp * dx + cp * dz))
        shoulder = 0.111 * dz - 0.001 * dx
        depths += [shoulder + elbow + _ELBOW_RADIUS, shoulder + elbow + tip + _HAND_RADIUS]
    return np.maximum(soles[0], soles[1]) - np.max(depths, axis=0)


def _knee_depth(sin: Array, cos: Array, side: float, down: Vector) -> Array:
    dx, dy, dz = down
    sr, sy, cr, cy = sin[3], sin[4], cos[3], cos[4]
    x, z = _HIP_X - _THIGH * sin[0], -_THIGH * cos[0]
    return (
        (x - 0.024) * (cy * dx + sy * dy) + z * (sy * sr * dx - cy * sr * dy + cr * dz)
        + side * _HIP_Y * dy + _HIP_Z * dz + _KNEE_RADIUS
    )  # fmt: skip
