# SPDX-License-Identifier: Apache-2.0
"""Quaternions (wxyz, unit) and gravity in the body frame, for any leading shape."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "from_roll_pitch",
    "gravity_in_body",
    "multiply",
    "rotate_inverse",
    "rotation_vector",
]


def from_roll_pitch(roll: ArrayLike, pitch: ArrayLike) -> NDArray[np.float64]:
    """Quaternion (..., 4) of Ry(pitch) Rx(roll), angles (...) in rad."""
    half_roll, half_pitch = np.asarray(roll) / 2, np.asarray(pitch) / 2
    cr, sr, cp, sp = np.cos(half_roll), np.sin(half_roll), np.cos(half_pitch), np.sin(half_pitch)
    return np.stack([cr * cp, sr * cp, cr * sp, -sr * sp], axis=-1)


def multiply(left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
    """Quaternion (..., 4) of `right` followed by `left`, both (..., 4)."""
    p, q = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
    w = p[..., :1] * q[..., :1] - (p[..., 1:] * q[..., 1:]).sum(axis=-1, keepdims=True)
    xyz = p[..., :1] * q[..., 1:] + q[..., :1] * p[..., 1:] + np.cross(p[..., 1:], q[..., 1:])
    return np.concatenate([w, xyz], axis=-1)


def rotate_inverse(quaternion: ArrayLike, vector: ArrayLike) -> NDArray[np.float64]:
    """A world vector (..., 3) in the body frame that `quaternion` (..., 4) describes."""
    q, v = np.asarray(quaternion, dtype=float), np.asarray(vector, dtype=float)
    w, xyz = q[..., :1], -q[..., 1:]
    t = 2 * np.cross(xyz, v)
    return v + w * t + np.cross(xyz, t)


def gravity_in_body(
    quaternion: ArrayLike, down: ArrayLike = (0.0, 0.0, -1.0)
) -> NDArray[np.float64]:
    """Unit vector (..., 3) pointing down in the body frame; `down` (..., 3) is it in the world."""
    return rotate_inverse(quaternion, down)


def rotation_vector(quaternion: ArrayLike) -> NDArray[np.float64]:
    """Axis times angle of (..., 4), the angle in [0, pi] rad, (..., 3)."""
    q = np.asarray(quaternion, dtype=float)
    q = q * np.where(q[..., :1] < 0, -1.0, 1.0)
    length = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    return q[..., 1:] * 2 * np.arctan2(length, q[..., :1]) / np.maximum(length, 1e-300)
