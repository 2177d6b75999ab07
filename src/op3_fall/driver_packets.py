# SPDX-License-Identifier: Apache-2.0
"""The register writes that wait for the driver's next cycle, packet by packet."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from op3_fall import robot
from op3_fall.control_table import OPEN_CR_ITEMS, SERVO_ITEMS, Item
from op3_fall.servo_bank import ServoBank

__all__ = ["OPEN_CR", "PacketQueue"]

OPEN_CR = "open-cr"


@dataclass
class _Packet:
    """A sync write: one address and length for all devices in it."""

    address: int
    length: int
    data: dict[str, bytes] = field(default_factory=dict)


def _find(device: str, item: str) -> Item | str:
    """The register, or why there is none."""
    if device in robot.JOINT_INDEX:
        items = SERVO_ITEMS
    elif device == OPEN_CR:
        items = OPEN_CR_ITEMS
    else:
        return f"there is no device '{device}'"
    return items.get(item) or f"{device} has no item '{item}'"


class PacketQueue:
    """Packets in the order in which they go out.

    With the merge bug an item goes into the first packet there is, whatever its register: the
    driver looks for one by port and protocol alone, and all devices share both.
    """

    def __init__(self, *, merge: bool) -> None:
        """Start empty; `merge` is the bug."""
        self._merge = merge
        self._packets: list[_Packet] = []

    def add_item(self, name: str, devices: Sequence[str], values: Sequence[int]) -> list[str]:
        """One register of several devices; returns what is to be logged."""
        if len(values) < len(devices):
            return [f"sync_write_item {name} has {len(devices)} devices and {len(values)} values; "
                    "it is skipped"]  # fmt: skip
        warnings, own = [], None
        for device, value in zip(devices, values, strict=False):
            item = _find(device, name)
            if isinstance(item, str):
                warnings.append(f"sync_write_item: {item}")
            elif item.writable:
                if self._merge and self._packets:
                    packet = self._packets[0]
                else:
                    packet = own = own or self._new(item.address, item.length)
                data = (value & (1 << 8 * item.length) - 1).to_bytes(item.length, "little")
                # A device that is in the packet already keeps what it has.
                packet.data.setdefault(device, data.ljust(packet.length, b"\0")[: packet.length])
        return warnings

    def add_bytes(self, device: str, name: str, length: int, data: bytes) -> list[str]:
        """Bytes from a register of one device on, as a packet of their own."""
        item = _find(device, name)
        if isinstance(item, str):
            return [f"write_control_table: {item}"]
        if not 0 < length <= len(data):
            return [f"write_control_table {name} says {length} bytes and has {len(data)}; "
                    "it is skipped"]  # fmt: skip
        if item.writable:
            self._new(item.address, length).data[device] = bytes(data[:length])
        return []

    def _new(self, address: int, length: int) -> _Packet:
        packet = _Packet(address, length)
        self._packets.append(packet)
        return packet

    def send(self, bank: ServoBank) -> list[str]:
        """Write all packets to the servos; returns what they rejected, which no robot tells.

        What goes to the OpenCR board (lamps, buzzer, power) has no effect here.
        """
        rejected = []
        for packet in self._packets:
            for device, data in packet.data.items():
                if device != OPEN_CR:
                    reason = bank.write(robot.JOINT_INDEX[device], packet.address, data)
                    if reason:
                        rejected.append(f"servo {device} rejects a write: {reason}")
        self._packets.clear()
        return rejected
