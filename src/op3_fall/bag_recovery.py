# SPDX-License-Identifier: Apache-2.0
"""What is whole of an MCAP file that was cut short: its records up to the last one that fits.

The file format is that of https://mcap.dev/spec: magic, then records of one byte operation code,
eight bytes length (little endian) and content; data end, summary and footer close it.
"""

import shutil
import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["finished", "recover"]

MAGIC = b"\x89MCAP0\r\n"
FOOTER, MESSAGE, CHUNK, DATA_END = 0x02, 0x05, 0x06, 0x0F
_HEAD = struct.Struct("<BQ")
# Data end and footer without checksums; zero offsets say that there is no summary.
_TAIL = _HEAD.pack(DATA_END, 4) + bytes(4) + _HEAD.pack(FOOTER, 20) + bytes(20) + MAGIC


def finished(path: Path) -> bool:
    """True if the file ends as a closed MCAP file does."""
    footer = _HEAD.pack(FOOTER, 20)
    size = len(footer) + 20 + len(MAGIC)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        end = file.read()
    return len(end) == size and end.startswith(footer) and end.endswith(MAGIC)


def recover(source: Path, target: Path) -> bool:
    """Write the whole records of `source` as a closed file; False if they hold no message."""
    with source.open("rb") as file:
        end = _whole(file, source.stat().st_size)
        if not end:
            return False
        with target.open("wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.seek(end)
            copy.truncate()
            copy.write(_TAIL)
    return True


def _whole(file: BinaryIO, size: int) -> int:
    """Where the last whole record of the data ends; 0 if no record holds messages."""
    if file.read(len(MAGIC)) != MAGIC:
        return 0
    position, has_messages = len(MAGIC), False
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        code, length = _HEAD.unpack(head)
        after = position + _HEAD.size + length
        # A power cut can leave zeros behind the last block that was written.
        if code in (0, DATA_END, FOOTER) or after > size:
            break
        has_messages |= code in (MESSAGE, CHUNK)
        position = after
        file.seek(position)
    return position if has_messages else 0
