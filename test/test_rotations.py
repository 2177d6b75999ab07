# SPDX-License-Identifier: Apache-2.0
"""Quaternions: gravity in the body frame and rotation of vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall.rotations import from_roll_pitch, gravity_in_body, rotate_inverse, rotation_vector

S = math.sqrt(0.5)
angles = st.floats(-3.1, 3.1)


@pytest.mark.parametrize(
    ("quaternion", "down"),
    [
        ((1, 0, 0, 0), (0, 0, -1)),
        ((S, 0, S, 0), (1, 0, 0)),  # on its face: x points down
        ((S, 0, -S, 0), (-1, 0, 0)),  # on its back
        ((S, S, 0, 0), (0, -1, 0)),  # on its right side: y, the left, points up
        ((S, -S, 0, 0), (0, 1, 0)),
        ((0, 1, 0, 0), (0, 0, 1)),  # upside down
        ((S, 0, 0, S), (0, 0, -1)),  # yaw changes nothing
    ],
)
def test_gravity_of_known_attitudes(
    quaternion: tuple[float, ...], down: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(gravity_in_body(quaternion), down, atol=1e-15)
    many = np.broadcast_to(np.array(quaternion, dtype=float), (2, 3, 4))
    np.testing.assert_array_equal(
        gravity_in_body(many), np.broadcast_to(gravity_in_body(quaternion), (2, 3, 3))
    )


@given(angles, angles)
def test_gravity_of_roll_and_pitch(roll: float, pitch: float) -> None:
    q = from_roll_pitch(roll, pitch)
    assert (q * q).sum() == pytest.approx(1)
    expected = [math.sin(pitch), -math.cos(pitch) * math.sin(roll),
                -math.cos(pitch) * math.cos(roll)]  # fmt: skip
    np.testing.assert_allclose(gravity_in_body(q), expected, atol=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=7, max_size=7))
def test_rotation_is_undone_by_the_conjugate_and_keeps_the_length(numbers: list[float]) -> None:
    q, v = np.array(numbers[:4]), np.array(numbers[4:])
    q[0] += 2
    q /= np.sqrt((q * q).sum())
    there = rotate_inverse(q, v)
    np.testing.assert_allclose(rotate_inverse(q * [1, -1, -1, -1], there), v, atol=1e-12)
    assert (there * there).sum() == pytest.approx((v * v).sum(), abs=1e-12)
    np.testing.assert_allclose(rotate_inverse(-q, v), there, atol=1e-12)


def test_a_rotation_vector_is_axis_times_angle() -> None:
    """Of q and -q alike, also of no turn and of half a turn, where falls end."""
    third = 2 * np.pi / 3
    cases = [
        ([1, 0, 0, 0], [0, 0, 0]),
        ([np.cos(0.25), 0, np.sin(0.25), 0], [0, 0.5, 0]),
        ([0.5, 0.5, 0.5, 0.5], np.full(3, third / np.sqrt(3))),
        ([0, 0, 0, 1], [0, 0, np.pi]),
        ([np.sqrt(0.5), 0, np.sqrt(0.5), 0], [0, np.pi / 2, 0]),
    ]
    quaternions, vectors = (np.array(column, dtype=float) for column in zip(*cases, strict=True))
    np.testing.assert_allclose(rotation_vector(quaternions), vectors, atol=1e-15)
    np.testing.assert_allclose(rotation_vector(-quaternions[1:3]), vectors[1:3], atol=1e-15)
