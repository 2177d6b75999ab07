# SPDX-License-Identifier: Apache-2.0
"""The registers of the XM430-W350 servos and of the OpenCR board, and the driver's angles in them.

Addresses, lengths, access and ranges are those of the e-manual's XM430-W350 page; names are those
of ROBOTIS' device files for the driver (ROBOTIS-GIT/ROBOTIS-Framework, robotis_device/devices).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CENTRE", "OPEN_CR_ITEMS", "SERVO_ITEMS", "Item", "from_register", "to_register"]

CENTRE = 2048
"""Position register of 0 rad."""


@dataclass(frozen=True)
class Item:
    """One register."""

    name: str
    address: int
    length: int
    """Bytes, little endian; negative values as two's complement."""
    writable: bool
    eeprom: bool
    """Cannot be written while torque is on."""
    low: int
    high: int

    def value(self, data: bytes) -> int:
        """What these bytes mean here."""
        return int.from_bytes(data, "little", signed=self.low < 0)


def _items(table: str) -> dict[str, Item]:
    items = {}
    for line in table.split("\n"):
        if line.strip():
            name, address, length, access, memory, low, high = line.split()
            items[name] = Item(
                name, int(address), int(length), access == "rw", memory == "eeprom",
                int(low), int(high),
            )  # fmt: skip
    return items


# The gains' upper end is the e-manual's; ROBOTIS' device file says 32767.
SERVO_ITEMS = _items("""
    model_number              0  2  r   eeprom  0         65535
    version_of_firmware       6  1  r   eeprom  0         254
    ID                        7  1  rw  eeprom  0         252
    baudrate                  8  1  rw  eeprom  0         7
    return_delay_time         9  1  rw  eeprom  0         254
    drive_mode               10  1  rw  eeprom  0         1
    operating_mode           11  1  rw  eeprom  0         16
    secondary_id             12  1  rw  eeprom  0         255
    homing_offset            20  4  rw  eeprom  -1044479  1044479
    moving_threshold         24  4  rw  eeprom  0         1023
    max_temperature_limit    31  1  rw  eeprom  0         100
    max_voltage_limit        32  2  rw  eeprom  95        160
    min_voltage_limit        34  2  rw  eeprom  95        160
    pwm_limit                36  2  rw  eeprom  0         885
    current_limit            38  2  rw  eeprom  0         1193
    velocity_limit           44  4  rw  eeprom  0         1023
    max_position_limit       48  4  rw  eeprom  0         4095
    min_position_limit       52  4  rw  eeprom  0         4095
    shutdown                 63  1  rw  eeprom  0         255
    torque_enable            64  1  rw  ram     0         1
    LED                      65  1  rw  ram     0         1
    status_return_level      68  1  rw  ram     0         2
    registered_instruction   69  1  r   ram     0         1
    hardware_error_status    70  1  r   ram     0         255
    velocity_i_gain          76  2  rw  ram     0         16383
    velocity_p_gain          78  2  rw  ram     0         16383
    position_d_gain          80  2  rw  ram     0         16383
    position_i_gain          82  2  rw  ram     0         16383
    position_p_gain          84  2  rw  ram     0         16383
    feedforward_2nd_gain     88  2  rw  ram     0         16383
    feedforward_1st_gain     90  2  rw  ram     0         16383
    bus_watchdog             98  1  rw  ram     -1        127
    goal_pwm                100  2  rw  ram     0         885
    goal_current            102  2  rw  ram     0         1193
    goal_velocity           104  4  rw  ram     0         1023
    profile_acceleration    108  4  rw  ram     0         32767
    profile_velocity        112  4  rw  ram     0         32767
    goal_position           116  4  rw  ram     -1048575  1048575
    realtime_tick           120  2  r   ram     0         32767
    moving                  122  1  r   ram     0         1
    moving_status           123  1  r   ram     0         255
    present_pwm             124  2  r   ram     0         885
    present_current         126  2  r   ram     0         1193
    present_velocity        128  4  r   ram     0         1023
    present_position        132  4  r   ram     -2147483648  2147483647
    velocity_trajectory     136  4  r   ram     0         1023
    position_trajectory     140  4  r   ram     0         4095
    present_input_voltage   144  2  r   ram     95        160
    present_temperature     146  1  r   ram     0         100
    indirect_address_1      168  2  rw  ram     0         65535
    indirect_data_1         224  1  rw  ram     0         255
    indirect_address_29     578  2  rw  ram     0         65535
    indirect_data_29        634  1  rw  ram     0         255
""")

OPEN_CR_ITEMS = _items("""
    model_number           0  2  r   eeprom  0       65535
    version_of_firmware    2  1  r   eeprom  0       254
    ID                     3  1  rw  eeprom  0       252
    baudrate               4  1  rw  eeprom  0       252
    return_delay_time      5  1  rw  eeprom  0       254
    status_return_level   16  1  rw  eeprom  0       2
    dynamixel_power       24  1  rw  ram     0       1
    LED                   25  1  rw  ram     0       7
    LED_RGB               26  2  rw  ram     0       32767
    buzzer                28  2  rw  ram     0       65535
    button                30  1  r   ram     0       15
    present_voltage       31  1  r   ram     50      250
    gyro_x                32  2  r   ram     -32800  32800
    gyro_y                34  2  r   ram     -32800  32800
    gyro_z                36  2  r   ram     -32800  32800
    acc_x                 38  2  r   ram     -32768  32767
    acc_y                 40  2  r   ram     -32768  32767
    acc_z                 42  2  r   ram     -32768  32767
    roll                  44  2  r   ram     0       4096
    pitch                 46  2  r   ram     0       4096
    yaw                   48  2  r   ram     0       4096
    imu_control           50  1  rw  ram     0       255
""")


def to_register(angle_rad: ArrayLike) -> NDArray[np.int64]:
    """Goal positions (...) as the driver writes them: halves of 2047 and 2048, cut to integers."""
    angle = np.asarray(angle_rad, dtype=float)
    return np.trunc(angle * np.where(angle > 0, 2047, 2048) / math.pi + CENTRE).astype(np.int64)


def from_register(register: ArrayLike) -> NDArray[np.float64]:
    """The driver's angles in rad of position registers (...)."""
    counts = np.asarray(register) - CENTRE
    return counts * math.pi / np.where(counts > 0, 2047, 2048)
