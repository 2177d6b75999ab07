# SPDX-License-Identifier: Apache-2.0
"""The memory of the 20 servos, written byte by byte as the bus does, and what it makes them do.

Nothing here knows of messages; the driver's packets end here.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.control_table import CENTRE, SERVO_ITEMS, Item, to_register
from op3_fall.signals import JointCommand

__all__ = ["ServoBank"]

Array = NDArray[np.float64]
_COUNTS_PER_RAD = 4096 / (2 * math.pi)
_SIZE = 664  # the indirect data end at 661; a multiple of 4, so that tables can be seen as int32

_OWNER: dict[int, Item] = {
    item.address + byte: item for item in SERVO_ITEMS.values() for byte in range(item.length)
}

# What op3_manager's dxl_init_OP3.yaml writes, and the factory's caps.
DXL_INIT = {
    "max_position_limit": 4095, "min_position_limit": 0, "operating_mode": 3,
    "position_p_gain": robot.Servo.NOMINAL_P, "position_i_gain": 0,
    "position_d_gain": robot.Servo.NOMINAL_D, "return_delay_time": 1,
}  # fmt: skip
_FACTORY = {"pwm_limit": robot.Servo.MAX_PWM, "goal_pwm": robot.Servo.MAX_PWM,
            "current_limit": 1193, "shutdown": 52}  # fmt: skip


class ServoBank:
    """The control tables of the 20 servos, in driver order."""

    def __init__(self, position: ArrayLike) -> None:
        """Power on with the driver's start-up values and torque on, holding `position` (20,)."""
        self._tables = np.zeros((robot.NUM_JOINTS, _SIZE), dtype=np.uint8)
        words, halves = self._tables.view("<i4"), self._tables.view("<u2")
        self.goal_position = words[:, SERVO_ITEMS["goal_position"].address // 4]
        """Registers, (20,)."""
        self._high = words[:, SERVO_ITEMS["max_position_limit"].address // 4]
        self._low = words[:, SERVO_ITEMS["min_position_limit"].address // 4]
        self._p, self._i, self._d, self._pwm, self._pwm_limit = (
            halves[:, SERVO_ITEMS[name].address // 2]
            for name in ("position_p_gain", "position_i_gain", "position_d_gain", "goal_pwm",
                         "pwm_limit")
        )  # fmt: skip
        self._torque = self._tables[:, SERVO_ITEMS["torque_enable"].address]
        for name, value in _FACTORY.items():
            self._fill(name, value)
        self.initialise()
        self.goal_position[:] = to_register(position)
        self._windup = np.zeros(robot.NUM_JOINTS)

    def initialise(self) -> None:
        """What the driver does at start-up: write dxl_init_OP3.yaml, turn torque on."""
        for name, value in DXL_INIT.items():
            self._fill(name, value)
        self._fill("torque_enable", 1)

    def _fill(self, name: str, value: int) -> None:
        item = SERVO_ITEMS[name]
        data = value.to_bytes(item.length, "little")
        self._tables[:, item.address : item.address + item.length] = np.frombuffer(data, np.uint8)

    def read(self, name: str) -> NDArray[np.int64]:
        """A register of every servo, (20,).

        Raises:
            KeyError: there is no such register.
        """
        item = SERVO_ITEMS[name]
        cells = self._tables[:, item.address : item.address + item.length]
        return np.array([item.value(row.tobytes()) for row in cells])

    def write(self, joint: int, address: int, data: bytes) -> str:
        """A write instruction to one servo; returns why it was rejected, empty if it was taken.

        A servo takes all bytes or none. It has no reply to a sync write, so on the robot nobody
        is told. That it refuses bytes between registers is an assumption.
        """
        touched: dict[int, Item] = {}
        for byte in range(address, address + len(data)):
            item = _OWNER.get(byte)
            if item is None:
                return f"there is no register at address {byte}"
            touched[item.address] = item
        start = min(touched, default=address)
        end = max((item.address + item.length for item in touched.values()), default=address)
        cells = bytearray(self._tables[joint, start:end].tobytes())
        cells[address - start : address - start + len(data)] = data
        for item in touched.values():
            at = item.address - start
            reason = self._refusal(joint, item, item.value(bytes(cells[at : at + item.length])))
            if reason:
                return reason
        self._tables[joint, start:end] = np.frombuffer(bytes(cells), np.uint8)
        return ""

    def _refusal(self, joint: int, item: Item, value: int) -> str:
        if not item.writable:
            return f"{item.name} is read-only"
        if item.eeprom and self._torque[joint]:
            return f"{item.name} is EEPROM, which needs torque off"
        low, high = item.low, item.high
        if item.name == "goal_position":
            low, high = int(self._low[joint]), int(self._high[joint])
        elif item.name == "goal_pwm":
            high = int(self._pwm_limit[joint])
        if not low <= value <= high:
            return f"{item.name} is {value}; allowed is {low} to {high}"
        return ""

    def write_goals(self, register: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The cycle's sync write of all goal positions (20,); returns which were taken."""
        taken = (register >= self._low) & (register <= self._high)
        self.goal_position[taken] = register[taken]
        return taken

    def write_p_gains(self, register: NDArray[np.int64], joints: NDArray[np.bool_]) -> None:
        """position_p_gain (20,) of those `joints` (20,), as modules write it."""
        self._p[joints] = register[joints]

    def command(self, position: Array, servo: robot.Servo, cycle_s: float) -> JointCommand:
        """What the registers make the motors do, (20,) each.

        With torque off the drive is zero and back-EMF brakes on; whether the real bridge floats
        instead is in no source. `JointCommand` has no integral term: its duty, (I/65536) * sum of
        the errors in counts (one a sampling time, e-manual), becomes the offset of the goal at
        which P gives the same duty. It stays within goal_pwm (anti-windup), and needs P > 0.

        Args:
            position: present angles, rad, (20,).
            servo: its `derivative_time_s` is the sampling time of the I term too.
            cycle_s: time since the last call.
        """
        on = self._torque > 0
        p = np.where(on, self._p, 0).astype(np.int64)
        pwm = np.minimum(self._pwm, self._pwm_limit).astype(np.int64)
        goal = (self.goal_position - CENTRE) / _COUNTS_PER_RAD
        active = on & (self._i > 0)
        if active.any():
            error = (goal - position) * _COUNTS_PER_RAD
            self._windup += self._i / 65536 * error * (cycle_s / servo.derivative_time_s)
            self._windup = np.where(active, np.clip(self._windup, -pwm, pwm), 0.0)
            goal = goal + self._windup * 128 / np.maximum(p, 1) / _COUNTS_PER_RAD * (p > 0)
        else:
            self._windup[:] = 0.0
        d = np.where(on, self._d, 0).astype(np.int64)
        return JointCommand(position=goal, p_gain=p, d_gain=d, goal_pwm=pwm)
