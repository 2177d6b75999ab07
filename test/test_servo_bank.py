# SPDX-License-Identifier: Apache-2.0
"""What the servos take and refuse, and what their registers make the motors do."""

import math
from dataclasses import replace

import numpy as np
import pytest

from op3_fall import robot
from op3_fall.control_table import SERVO_ITEMS
from op3_fall.servo_bank import ServoBank
from op3_fall.signals import JointCommand

STAND = robot.POSES["stand"]
SERVO = robot.Servo()
ELBOW, KNEE = robot.JOINT_INDEX["l_el"], robot.JOINT_INDEX["l_knee"]
COUNT = 2 * math.pi / 4096


def fresh() -> ServoBank:
    return ServoBank(STAND)


def put(bank: ServoBank, name: str, value: int, joint: int = ELBOW) -> str:
    item = SERVO_ITEMS[name]
    data = value.to_bytes(item.length, "little", signed=item.low < 0)
    return bank.write(joint, item.address, data)


def command(bank: ServoBank, position: np.ndarray = STAND) -> JointCommand:
    return bank.command(position, SERVO, 0.008)


def test_it_starts_with_the_drivers_values() -> None:
    bank = fresh()
    for name, value in {
        "position_p_gain": 800, "position_i_gain": 0, "position_d_gain": 0, "goal_pwm": 885,
        "torque_enable": 1, "operating_mode": 3, "min_position_limit": 0,
        "max_position_limit": 4095, "pwm_limit": 885,
    }.items():  # fmt: skip
        assert bank.read(name).tolist() == [value] * 20
    np.testing.assert_allclose(command(bank).position, STAND, atol=1.01 * COUNT)


def test_one_write_takes_the_three_gains() -> None:
    bank = fresh()
    assert bank.write(ELBOW, 80, bytes([7, 0, 5, 0, 44, 1])) == ""
    gains = [bank.read(f"position_{g}_gain")[ELBOW] for g in "dip"]
    assert gains == [7, 5, 300]
    assert bank.read("position_p_gain")[KNEE] == 800


@pytest.mark.parametrize(
    ("address", "data", "reason"),
    [
        (84, b"\x00\x40", "position_p_gain is 16384; allowed is 0 to 16383"),
        (100, b"\x76\x03", "goal_pwm is 886; allowed is 0 to 885"),
        (64, b"\x02", "torque_enable is 2; allowed is 0 to 1"),
        (116, b"\x00\x10\x00\x00", "goal_position is 4096; allowed is 0 to 4095"),
        (116, b"\xff\xff\xff\xff", "goal_position is -1; allowed is 0 to 4095"),
        (11, b"\x05", "operating_mode is EEPROM, which needs torque off"),
        (36, b"\x64\x00", "pwm_limit is EEPROM, which needs torque off"),
        (132, b"\x00\x00\x00\x00", "present_position is read-only"),
        (86, b"\x00", "there is no register at address 86"),
        (84, b"\x01\x00\x00", "there is no register at address 86"),
        (700, b"\x00", "there is no register at address 700"),
        (65535, b"\x00", "there is no register at address 65535"),
    ],
)
def test_a_write_is_refused_whole(address: int, data: bytes, reason: str) -> None:
    bank = fresh()
    before = {name: bank.read(name).tolist() for name in SERVO_ITEMS}
    assert bank.write(ELBOW, address, data) == reason
    assert {name: bank.read(name).tolist() for name in SERVO_ITEMS} == before


def test_part_of_a_register_can_be_written() -> None:
    bank = fresh()
    assert bank.write(ELBOW, 84, b"\x01") == ""
    assert bank.read("position_p_gain")[ELBOW] == 0x0301


def test_eeprom_and_its_limits_act_once_torque_is_off() -> None:
    bank = fresh()
    assert put(bank, "torque_enable", 0) == ""
    assert put(bank, "pwm_limit", 400) == ""
    assert put(bank, "max_position_limit", 3000) == ""
    assert put(bank, "goal_position", 3001) == "goal_position is 3001; allowed is 0 to 3000"
    assert put(bank, "goal_pwm", 401) == "goal_pwm is 401; allowed is 0 to 400"
    assert put(bank, "torque_enable", 1) == ""
    assert command(bank).goal_pwm[ELBOW] == 400  # goal_pwm itself is still 885


def test_torque_off_leaves_back_emf_alone() -> None:
    bank = fresh()
    put(bank, "position_d_gain", 100)
    put(bank, "torque_enable", 0)
    off = command(bank)
    assert (off.p_gain[ELBOW], off.d_gain[ELBOW]) == (0, 0)
    assert off.p_gain[KNEE] == 800
    put(bank, "torque_enable", 1)
    assert (command(bank).p_gain[ELBOW], command(bank).d_gain[ELBOW]) == (800, 100)


def test_goals_out_of_range_are_not_taken_one_by_one() -> None:
    bank = fresh()
    before = bank.goal_position.copy()
    register = np.full(20, 2048)
    register[[ELBOW, KNEE]] = -38, 4133
    taken = bank.write_goals(register)
    assert np.nonzero(~taken)[0].tolist() == sorted([ELBOW, KNEE])
    np.testing.assert_array_equal(bank.goal_position[~taken], before[~taken])
    assert (bank.goal_position[taken] == 2048).all()


def test_the_i_gain_grows_the_duty_as_the_e_manual_says() -> None:
    """Duty I/65536 * sum(error): 100 counts, I 6554, 8 samples of 1 ms a cycle make 80 a cycle."""
    bank = fresh()
    put(bank, "position_i_gain", 6554)
    goal = command(bank, STAND).position[ELBOW]
    bank = fresh()
    put(bank, "position_i_gain", 6554)
    position = STAND.copy()
    position[ELBOW] = goal - 100 * COUNT
    for cycle in (1, 2, 3):
        shifted = command(bank, position).position[ELBOW]
        duty = 800 / 128 * (shifted - goal) / COUNT
        assert duty == pytest.approx(80 * cycle, rel=1e-3)


def test_the_integral_stops_at_the_cap_and_goes_with_the_gain() -> None:
    bank = fresh()
    goal = command(bank).position[ELBOW]
    put(bank, "position_i_gain", 16383)
    put(bank, "goal_pwm", 200)
    position = STAND.copy()
    position[ELBOW] += 1.0
    for _ in range(50):
        shifted = command(bank, position).position[ELBOW]
    assert 800 / 128 * (shifted - goal) / COUNT == pytest.approx(-200)
    position[ELBOW] -= 2.0  # no wind-up: the sum turns at once
    assert command(bank, position).position[ELBOW] > shifted
    put(bank, "position_i_gain", 0)
    assert command(bank, position).position[ELBOW] == goal


def test_the_driver_s_start_writes_all_but_the_cap() -> None:
    bank = fresh()
    for name in ("position_p_gain", "position_d_gain", "goal_pwm"):
        put(bank, name, 77)
    put(bank, "torque_enable", 0)
    bank.initialise()
    again = command(bank)
    expected = replace(JointCommand.hold(again.position), goal_pwm=again.goal_pwm)
    np.testing.assert_array_equal(again.p_gain, expected.p_gain)
    np.testing.assert_array_equal(again.d_gain, expected.d_gain)
    assert again.goal_pwm[ELBOW] == 77
