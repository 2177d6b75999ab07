# SPDX-License-Identifier: Apache-2.0
"""A torque log that was cut short reads up to its last whole chunk, wherever the cut is."""

import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from test_bags import joint_state, log, reading_refusal

from op3_fall.bag_reader import read_torque_log
from op3_fall.bag_types import TOPICS
from op3_fall.bag_writer import TorqueLogWriter
from op3_fall.bags import EPOCH_NS, TRACKS, write_torque_log
from op3_fall.errors import BadInputError
from op3_fall.torque_log import TorqueLog

CYCLES = 200  # 1.6 s: three chunks of half a second and the rest
CHUNK, INDEX, DATA_END, CHUNK_INDEX, FOOTER = 0x06, 0x07, 0x0F, 0x08, 0x02


@dataclass(frozen=True)
class Whole:
    """A closed bag, and where the records of its file lie."""

    path: Path
    log: TorqueLog
    raw: bytes
    records: list[tuple[int, int, int]]
    """(operation code, first byte, byte after)."""

    def ends(self, code: int) -> list[int]:
        return [end for its, _, end in self.records if its == code]

    def messages(self, cut: int) -> int:
        """Messages in the chunks that end before `cut`, by the message indexes behind them."""
        chunk_end, total = 0, 0
        for code, start, end in self.records:
            if code == CHUNK:
                chunk_end = end
            elif code == INDEX and chunk_end <= cut:
                total += struct.unpack_from("<I", self.raw, start + 11)[0] // 16
        return total


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path = tmp_path_factory.mktemp("whole") / "fall"
    write_torque_log(path, log(CYCLES))
    raw, at, records = (path / "fall.mcap").read_bytes(), 8, []
    while at < len(raw) - 8:
        code, length = struct.unpack_from("<BQ", raw, at)
        records.append((code, at, at + 9 + length))
        at += 9 + length
    return Whole(path, read_torque_log(path), raw, records)


def cut_bag(folder: Path, whole: Whole, cut: int, *, metadata: bool = True) -> Path:
    """A copy whose file ends after `cut` bytes."""
    path = folder / "fall"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    (path / "fall.mcap").write_bytes(whole.raw[:cut])
    if metadata:
        shutil.copy(whole.path / "metadata.yaml", path)
    return path


def check(path: Path, whole: Whole, cut: int) -> None:
    """The log reads to its last whole chunk, or is refused if there is none."""
    if cut < whole.ends(CHUNK)[0]:
        assert reading_refusal(path) == (
            f"torque log '{path}' cannot be read (cut before its first whole chunk); allowed is "
            "a rosbag2 folder with /robotis/present_joint_states; check the path or record it "
            "again"
        )
        return
    back, found = read_torque_log(path), 0
    for key in TRACKS:
        track, full = getattr(back, key), getattr(whole.log, key)
        found += len(track.times_s)
        for name, values in vars(track).items():
            np.testing.assert_array_equal(values, getattr(full, name)[: len(values)])
    assert found == whole.messages(cut)
    seconds = back.joints.times_s[-1] - back.joints.times_s[0]
    assert back.notes == (f"cut short; the {seconds:.2f} s up to its last whole chunk are read",)


def test_chunks_close_every_half_second(whole: Whole) -> None:
    chunks = whole.ends(CHUNK)
    assert len(chunks) == 4
    counts = [whole.messages(end) for end in chunks]
    # 63 cycles after its first message a chunk is 0.504 s old and closes with that message.
    assert counts == [6 * 63 + 1, 6 * 126 + 1, 6 * 189 + 1, 6 * CYCLES]


PLACES = {
    "empty file": lambda w: 0,
    "in the magic": lambda w: 5,
    "after the magic": lambda w: 8,
    "in the header": lambda w: 20,
    "before the first chunk": lambda w: w.records[1][1],
    "in the head of the first chunk": lambda w: w.records[1][1] + 5,
    "in the first chunk": lambda w: w.records[1][2] // 2,
    "one byte short of the first chunk": lambda w: w.ends(CHUNK)[0] - 1,
    "after the first chunk": lambda w: w.ends(CHUNK)[0],
    "in the first index": lambda w: w.ends(CHUNK)[0] + 12,
    "between the first chunks": lambda w: w.ends(INDEX)[5],
    "in the second chunk": lambda w: w.ends(CHUNK)[1] - 1000,
    "after the last chunk": lambda w: w.ends(CHUNK)[-1],
    "in the data end": lambda w: w.ends(DATA_END)[0] - 2,
    "after the data end": lambda w: w.ends(DATA_END)[0],
    "in the summary": lambda w: w.ends(CHUNK_INDEX)[0],
    "before the footer": lambda w: w.ends(FOOTER)[0] - 29,
    "in the footer": lambda w: w.ends(FOOTER)[0] - 10,
    "in the last magic": lambda w: len(w.raw) - 1,
}


@pytest.mark.parametrize("metadata", [True, False], ids=["metadata", "no metadata"])
@pytest.mark.parametrize("place", PLACES)
def test_every_region(tmp_path: Path, whole: Whole, place: str, metadata: bool) -> None:
    cut = PLACES[place](whole)
    check(cut_bag(tmp_path, whole, cut, metadata=metadata), whole, cut)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_cut(tmp_path_factory: pytest.TempPathFactory, whole: Whole, share: float) -> None:
    cut = int(share * len(whole.raw))
    check(cut_bag(tmp_path_factory.mktemp("cut"), whole, cut), whole, cut)


def test_a_whole_file_without_metadata_is_no_cut(tmp_path: Path, whole: Whole) -> None:
    path = cut_bag(tmp_path, whole, len(whole.raw), metadata=False)
    assert read_torque_log(path).notes == ()


def test_zeros_behind_the_cut_are_no_records(tmp_path: Path, whole: Whole) -> None:
    cut = whole.ends(INDEX)[5]
    path = cut_bag(tmp_path, whole, cut)
    with (path / "fall.mcap").open("ab") as file:
        file.write(bytes(5000))
    check(path, whole, cut)


def test_garbage_in_a_cut_file_is_refused_in_one_line(tmp_path: Path, whole: Whole) -> None:
    path = cut_bag(tmp_path, whole, len(whole.raw) - 1)
    raw = bytearray(whole.raw[:-1])
    raw[200:9000] = bytes(255 - b for b in raw[200:9000])
    (path / "fall.mcap").write_bytes(raw)
    with pytest.raises(BadInputError, match=r"^torque log '.*' cannot be read \([^\n]*$"):
        read_torque_log(path)


def test_the_whole_files_of_a_split_bag_are_read_too(tmp_path: Path, whole: Whole) -> None:
    path = cut_bag(tmp_path, whole, whole.ends(CHUNK)[0])
    write_torque_log(tmp_path / "other", log(40, goal=None, fall=None))
    shutil.copy(tmp_path / "other/other.mcap", path / "fall_1.mcap")
    back = read_torque_log(path)
    assert len(back.joints.times_s) == 64 + 40
    assert back.goal is not None and len(back.goal.times_s) == 63


KILLED = """
import os, signal, sys
from pathlib import Path
from op3_fall.bag_types import TOPICS, typestore
from op3_fall.bag_writer import TorqueLogWriter
from test_bags import EPOCH_NS, joint_state
writer = TorqueLogWriter(Path(sys.argv[1]))
for k in range(1, 301):
    data = typestore().serialize_cdr(joint_state(k), TOPICS["joints"][1])
    writer.write("joints", bytes(data), EPOCH_NS + 8_000_000 * k)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_its_chunks(tmp_path: Path) -> None:
    path = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parent, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    back = read_torque_log(path)
    # 300 cycles are four chunks of 64 messages and an open one.
    assert len(back.joints.times_s) == 256
    assert back.notes == ("cut short; the 2.04 s up to its last whole chunk are read",)


def test_metadata_is_there_from_the_start(tmp_path: Path) -> None:
    writer = TorqueLogWriter(tmp_path / "fall")
    try:
        text = (tmp_path / "fall/metadata.yaml").read_text()
        info = YAML(typ="safe").load(text)["rosbag2_bagfile_information"]
        assert info["relative_file_paths"] == ["fall.mcap"]
        assert info["message_count"] == 0
        names = {t["topic_metadata"]["name"] for t in info["topics_with_message_count"]}
        assert names == {topic for topic, _ in TOPICS.values()}
        hashes = re.findall(r"type_description_hash:\s+(\S+)", text)
        assert len(hashes) == 8 and all(h.startswith("RIHS01_") for h in hashes)
    finally:
        writer.abort()
    assert [p.name for p in (tmp_path / "fall").iterdir()].count("metadata.yaml.tmp") == 0


def test_a_full_disk_keeps_the_chunks_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from op3_fall.bag_types import typestore

    calls = []

    def sync(_: int) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("op3_fall.bag_writer.os.fsync", sync)
    with pytest.raises(OSError, match="No space"), TorqueLogWriter(tmp_path / "fall") as writer:
        for k in range(1, 400):
            data = typestore().serialize_cdr(joint_state(k), TOPICS["joints"][1])
            writer.write("joints", bytes(data), EPOCH_NS + 8_000_000 * k)
    assert writer.count == 3 * 64
    assert len(read_torque_log(tmp_path / "fall").joints.times_s) >= 2 * 64


def test_a_clock_that_is_set_back_closes_chunks_too(tmp_path: Path) -> None:
    from op3_fall.bag_types import typestore

    writer = TorqueLogWriter(tmp_path / "fall")
    for k in range(1, 130):
        data = typestore().serialize_cdr(joint_state(k), TOPICS["joints"][1])
        writer.write("joints", bytes(data), EPOCH_NS - 8_000_000 * k)
    writer.abort()
    assert len(read_torque_log(tmp_path / "fall").joints.times_s) == 128


def test_a_writer_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError) as caught:
        TorqueLogWriter(tmp_path / "file/fall")
    assert str(caught.value) == (
        f"torque log '{tmp_path / 'file/fall'}' cannot be written (Not a directory); allowed is "
        "a path in a writable folder with space left; choose another"
    )
