# SPDX-License-Identifier: Apache-2.0
"""The registers against the e-manual, and angles in them against hand-computed cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall.control_table import OPEN_CR_ITEMS, SERVO_ITEMS, from_register, to_register

E_MANUAL = {  # address, bytes, writable, EEPROM, range
    "operating_mode": (11, 1, True, True, 0, 16),
    "pwm_limit": (36, 2, True, True, 0, 885),
    "current_limit": (38, 2, True, True, 0, 1193),
    "shutdown": (63, 1, True, True, 0, 255),
    "torque_enable": (64, 1, True, False, 0, 1),
    "position_d_gain": (80, 2, True, False, 0, 16383),
    "position_i_gain": (82, 2, True, False, 0, 16383),
    "position_p_gain": (84, 2, True, False, 0, 16383),
    "feedforward_2nd_gain": (88, 2, True, False, 0, 16383),
    "goal_pwm": (100, 2, True, False, 0, 885),
    "goal_position": (116, 4, True, False, -1048575, 1048575),
    "present_pwm": (124, 2, False, False, 0, 885),
    "present_position": (132, 4, False, False, -(2**31), 2**31 - 1),
    "indirect_data_29": (634, 1, True, False, 0, 255),
}


@pytest.mark.parametrize("name", E_MANUAL)
def test_a_register_is_where_the_e_manual_says(name: str) -> None:
    item = SERVO_ITEMS[name]
    found = (item.address, item.length, item.writable, item.eeprom, item.low, item.high)
    assert found == E_MANUAL[name]


def test_registers_do_not_overlap() -> None:
    for items in (SERVO_ITEMS, OPEN_CR_ITEMS):
        taken = [i.address + k for i in items.values() for k in range(i.length)]
        assert len(taken) == len(set(taken))
    assert (len(SERVO_ITEMS), len(OPEN_CR_ITEMS)) == (53, 22)


def test_values_are_little_endian_and_signed_where_the_range_is() -> None:
    assert SERVO_ITEMS["position_p_gain"].value(b"\x20\x03") == 800
    assert SERVO_ITEMS["goal_position"].value(b"\xff\xff\xff\xff") == -1
    assert SERVO_ITEMS["goal_current"].value(b"\xff\xff") == 65535


@pytest.mark.parametrize(
    ("angle", "register"),
    [
        (0.0, 2048), (math.pi, 4095), (-math.pi, 0), (math.pi / 2, 3071), (-math.pi / 2, 1024),
        # One count is 1.534 mrad; what is left of a count is cut off the register.
        (0.00154, 2049), (0.00152, 2048), (-0.0015, 2047), (-0.00154, 2046), (3.2, 4133),
        (-3.2, -38),
    ],
)  # fmt: skip
def test_an_angle_is_cut_to_a_register(angle: float, register: int) -> None:
    assert to_register(angle) == register


@given(st.integers(0, 4095))
def test_a_register_read_back_is_itself_or_the_one_below(register: int) -> None:
    """Cutting can lose a count to rounding, as in the driver."""
    assert to_register(from_register(register)) in (register, register - 1)


@given(st.floats(-math.pi, math.pi))
def test_a_goal_is_within_a_count_below_the_angle(angle: float) -> None:
    error = angle - from_register(to_register(angle))
    assert -1e-9 <= error <= math.pi / 2047 + 1e-9


def test_shapes_are_kept() -> None:
    assert (
        to_register(np.zeros((3, 20))).shape == from_register(np.zeros((3, 20))).shape == (3, 20)
    )
