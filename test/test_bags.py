# SPDX-License-Identifier: Apache-2.0
"""Torque logs: what is written is read back, twice the same bytes, and errors in one line."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from ruamel.yaml import YAML

from op3_fall.bag_reader import NO_EFFORT, read_torque_log
from op3_fall.bag_types import TOPICS, make, typestore
from op3_fall.bags import EPOCH_NS, TRACKS, write_torque_log
from op3_fall.errors import BadInputError
from op3_fall.robot import JOINTS, Servo
from op3_fall.torque_log import (
    FallTrack,
    GainTrack,
    GoalTrack,
    ImuTrack,
    JointTrack,
    LoadTrack,
    TorqueLog,
)

ROOT = Path(__file__).parents[1]
CYCLES = 375
TIMES_S = np.linspace(0.008, 0.008 * CYCLES, CYCLES)
ALARM, SOFT, FELT, DONE = 50, 75, 95, 210  # cycles at which they happen


def log(cycles: int = CYCLES, **changes: Any) -> TorqueLog:
    """A compliant fall of noise, all tracks filled."""
    rng = np.random.default_rng(0)
    t, each = TIMES_S[:cycles], np.arange(cycles)
    joints, yes = (cycles, len(JOINTS)), np.ones(cycles, dtype=bool)

    def noise(*shape: int) -> Any:
        return rng.normal(size=shape)

    def registers() -> Any:
        return rng.integers(0, 2**14, size=joints)

    torque, impact = noise(*joints), np.isin(each, [20, FELT])
    felt = np.cumsum(impact, dtype=np.int64)
    soft = ((each >= SOFT) & (each < DONE)).astype(np.int64)
    return replace(TorqueLog(
        JOINTS,
        JointTrack(t, noise(*joints), noise(*joints), noise(*joints)),
        GoalTrack(t, noise(*joints)),
        ImuTrack(t, noise(cycles, 4), noise(cycles, 3), noise(cycles, 3)),
        FallTrack(t, (each >= ALARM).astype(np.int64) + (each >= FELT), noise(cycles),
                  noise(cycles, 3), noise(cycles), noise(cycles), rng.integers(0, 9, cycles),
                  noise(cycles), rng.integers(0, 2, cycles), np.full(cycles, np.nan),
                  np.where(each < ALARM, np.nan, noise(cycles))),
        LoadTrack(t, yes, torque, np.abs(torque).sum(axis=-1), noise(cycles),
                  np.where(felt, noise(cycles), np.nan), impact, felt, rng.integers(0, 3, cycles),
                  each >= DONE),
        GainTrack(t, soft + 3 * (each >= DONE), np.where(soft, 0.8, 1.0), np.ones(cycles), yes,
                  registers(), registers(), registers(), registers()),
        start_ns=EPOCH_NS,
    ), **changes)  # fmt: skip


def refusal(path: Path, **changes: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        write_torque_log(path, log(**changes))
    return str(caught.value)


def reading_refusal(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        read_torque_log(path)
    return str(caught.value)


def assert_same(back: TorqueLog, given: TorqueLog) -> None:
    """Every array of every track is the other's; time zero may differ."""
    assert back.joint_names == given.joint_names
    shift_s = (back.start_ns - given.start_ns) / 1e9
    for key in TRACKS:
        for field in fields(getattr(given, key)):
            got = getattr(getattr(back, key), field.name)
            want = getattr(getattr(given, key), field.name)
            if field.name == "times_s":
                np.testing.assert_allclose(got + shift_s, want, rtol=0, atol=1e-7)
            else:
                np.testing.assert_array_equal(got, want, err_msg=f"{key}.{field.name}")


def test_round_trip(tmp_path: Path) -> None:
    given = log()
    write_torque_log(tmp_path / "fall", given)
    back = read_torque_log(tmp_path / "fall")
    assert_same(back, given)
    assert back.start_ns == EPOCH_NS + 8_000_000
    assert back.notes == ()


def test_mode_and_events_come_from_the_messages(tmp_path: Path) -> None:
    write_torque_log(tmp_path / "fall", log())
    back = read_torque_log(tmp_path / "fall")
    assert back.mode == "compliant"
    # The impact in cycle 20 was felt before the alarm: the push, not the floor.
    want = {"alarm_s": ALARM, "softened_s": SOFT, "felt_s": FELT, "restored_s": DONE}
    assert back.events() == pytest.approx({name: 0.008 * k for name, k in want.items()})
    assert back.impacts_s() == pytest.approx([0.008 * FELT])


def test_modes() -> None:
    given = log()
    gains = given.gains
    assert gains is not None
    ones, stiff = np.ones(CYCLES), np.zeros(CYCLES, dtype=int)
    assert replace(given, gains=None).mode == "unknown"
    assert replace(given, gains=replace(gains, stiffness_scale=ones)).mode == "stiff"
    damped = replace(gains, stiffness_scale=ones, damping_scale=1.5 * ones)
    assert replace(given, gains=damped).mode == "compliant"
    fault = replace(gains, phase=stiff + 4)
    assert replace(given, gains=fault).mode == "stiff"
    events = replace(given, gains=replace(gains, phase=stiff)).events()
    assert np.isnan(events["softened_s"]) and np.isnan(events["restored_s"])


def test_optional_topics_are_absent(tmp_path: Path) -> None:
    write_torque_log(tmp_path / "fall", log(goal=None, imu=None, fall=None, load=None, gains=None))
    back = read_torque_log(tmp_path / "fall")
    assert (back.goal, back.imu, back.fall, back.gains) == (None, None, None, None)
    assert all(np.isnan(time) for time in back.events().values())
    text = (tmp_path / "fall/metadata.yaml").read_text()
    assert [topic in text for topic, _ in TOPICS.values()] == [True] + [False] * 7


def test_load_comes_from_the_effort_where_nobody_told_it(tmp_path: Path) -> None:
    given = log(load=None)
    write_torque_log(tmp_path / "fall", given)
    load = read_torque_log(tmp_path / "fall").load
    assert load is not None
    torque = given.joints.effort / Servo().effort_per_n_m
    np.testing.assert_allclose(load.torque, torque)
    np.testing.assert_allclose(load.total, np.abs(torque).sum(axis=1))
    assert np.isnan([load.spike, load.peak]).all()
    assert not (load.impact.any() or load.sense.any() or load.subsided.any())


def test_a_stock_driver_is_noted(tmp_path: Path) -> None:
    given = log(load=None)
    write_torque_log(
        tmp_path / "fall",
        replace(given, joints=replace(given.joints, effort=np.zeros((CYCLES, 20)))),
    )
    back = read_torque_log(tmp_path / "fall")
    assert back.notes == (NO_EFFORT,)
    assert back.load is not None and np.isnan(back.load.total).all()
    assert "\n" not in NO_EFFORT


def test_same_log_same_bytes(tmp_path: Path) -> None:
    for folder in "ab":
        write_torque_log(tmp_path / folder / "fall", log())
    files = sorted(p.name for p in (tmp_path / "a/fall").iterdir())
    assert files == ["fall.mcap", "metadata.yaml"]
    for name in files:
        assert (tmp_path / "a/fall" / name).read_bytes() == (
            tmp_path / "b/fall" / name
        ).read_bytes()


def test_metadata_is_rosbag2s(tmp_path: Path) -> None:
    write_torque_log(tmp_path / "fall", log())
    content = YAML(typ="safe").load((tmp_path / "fall/metadata.yaml").read_text())
    info = content["rosbag2_bagfile_information"]
    assert (info["version"], info["storage_identifier"]) == (9, "mcap")
    assert info["relative_file_paths"] == ["fall.mcap"]
    assert info["message_count"] == CYCLES * len(TRACKS)
    assert info["starting_time"]["nanoseconds_since_epoch"] == EPOCH_NS + 8_000_000
    assert info["duration"]["nanoseconds"] == 8_000_000 * (CYCLES - 1)
    listed = {
        (t["topic_metadata"]["name"], t["topic_metadata"]["type"]): t["message_count"]
        for t in info["topics_with_message_count"]
    }
    assert listed == {TOPICS[key]: CYCLES for key in TRACKS}
    raw = (tmp_path / "fall/fall.mcap").read_bytes()
    assert raw.startswith(b"\x89MCAP0\r\n") and raw[17:25] == b"\x04\x00\x00\x00ros2"


def test_existing_path_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "fall"
    path.write_text("mine")
    assert refusal(path) == (
        f"torque log '{path}' exists already; allowed is a path that does not; "
        "remove it or choose another"
    )
    assert path.read_text() == "mine"


JOINTS_OF = {"position": np.zeros((CYCLES, 20)), "velocity": np.zeros((CYCLES, 20))}


@pytest.mark.parametrize(
    ("joints", "said"),
    [
        (JointTrack(TIMES_S, **JOINTS_OF, effort=np.zeros((CYCLES, 19))),
         "joints.effort of the torque log has shape (375, 19), 0 values not finite; allowed is "
         "shape (375, 20), all finite; give one row per time"),
        (JointTrack(TIMES_S, **JOINTS_OF, effort=np.full((CYCLES, 20), np.nan)),
         "joints.effort of the torque log has shape (375, 20), 7500 values not finite; allowed is "
         "shape (375, 20), all finite; give one row per time"),
        (JointTrack(TIMES_S[::-1], **JOINTS_OF, effort=np.zeros((CYCLES, 20))),
         "the 375 times of the torque log are not all usable; allowed are one or more increasing "
         "times from 0 s; log the time of each cycle"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(tmp_path: Path, joints: JointTrack, said: str) -> None:
    assert refusal(tmp_path / "fall", joints=joints) == said
    assert list(tmp_path.iterdir()) == []


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("op3_fall.bag_writer.Writer.write", full)
    assert refusal(tmp_path / "fall") == (
        f"torque log '{tmp_path / 'fall'}' cannot be written (No space left on device); allowed "
        "is a path in a writable folder with space left; choose another"
    )
    assert list(tmp_path.iterdir()) == []


def damage(path: Path) -> None:
    """Turn bytes within the first chunk of a whole file around."""
    raw = bytearray((path / "x.mcap").read_bytes())
    raw[100:4000] = bytes(255 - b for b in raw[100:4000])
    (path / "x.mcap").write_bytes(raw)


def no_joint_states(path: Path) -> None:
    write_foreign(path, StoragePlugin.MCAP, joint_state=lambda k: None)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.mkdir(), "no metadata.yaml and no MCAP file"),
        (lambda path: (write_torque_log(path, log(130)), damage(path)), "damaged"),
        (no_joint_states, "it has no joint states"),
    ],
)  # fmt: skip
def test_unreadable_logs(tmp_path: Path, prepare: Callable[[Path], Any], reason: str) -> None:
    path = tmp_path / "x"
    prepare(path)
    assert reading_refusal(path) == (
        f"torque log '{path}' cannot be read ({reason}); allowed is a rosbag2 folder with "
        "/robotis/present_joint_states; check the path or record it again"
    )


def joint_state(k: int, *, stamp_ns: int | None = None, **changes: Any) -> Any:
    """As the driver sends it: 20 joints, all arrays filled."""
    stamp_ns = EPOCH_NS + 8_000_000 * k if stamp_ns is None else stamp_ns
    values = {"name": list(JOINTS), "position": np.full(20, 0.1 * k), "velocity": np.zeros(20),
              "effort": np.full(20, float(k))} | changes  # fmt: skip
    time = make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9))
    header = make("std_msgs/msg/Header", time, "")
    return typestore().types["sensor_msgs/msg/JointState"](header=header, **values)


def write_foreign(
    path: Path, plugin: StoragePlugin, joint_state: Callable[[int], Any] = joint_state
) -> None:
    """A bag of ten driver cycles as `ros2 bag record -a` leaves it: no topic of op3_fall."""
    topic, kind = TOPICS["joints"]
    with Writer(path, version=9, storage_plugin=plugin) as bag:
        present = bag.add_connection(topic, kind, typestore=typestore())
        rosout = bag.add_connection("/chatter", "std_msgs/msg/String", typestore=typestore())
        for k in range(1, 11):
            log_ns = EPOCH_NS + 8_000_000 * k + 1_000_000
            message = joint_state(k)
            if message is not None:
                bag.write(present, log_ns, typestore().serialize_cdr(message, kind))
            chatter = make("std_msgs/msg/String", "hello")
            bag.write(rosout, log_ns, typestore().serialize_cdr(chatter, "std_msgs/msg/String"))


LATER = {"fall": {"gravity", "margin", "clearance"}, "load": {"peak", "sense", "subsided"}}
"""Fields that the messages have not always had."""


def rewrite_as_before(new: Path, old: Path) -> None:
    """A copy of a bag whose messages and their definitions lack the later fields."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for kind in (kind for _, kind in TOPICS.values() if kind.startswith("op3_fall")):
        gone = {name for key, names in LATER.items() if TOPICS[key][1] == kind for name in names}
        lines = (ROOT / f"msg/{kind.rsplit('/', 1)[1]}.msg").read_text().splitlines()
        kept = [line for line in lines if not gone & set(line.split()[1:2])]
        assert len(lines) - len(kept) == len(gone)
        store.register(get_types_from_msg("\n".join(kept), kind))
    with Reader(new) as source, Writer(old, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = {c.topic: bag.add_connection(c.topic, c.msgtype, typestore=store)
                  for c in source.connections}  # fmt: skip
        for c, log_ns, data in source.messages():
            message = typestore().deserialize_cdr(data, c.msgtype)
            kind: Any = store.types[c.msgtype]
            values = {f.name: getattr(message, f.name) for f in fields(kind)}
            bag.write(topics[c.topic], log_ns, store.serialize_cdr(kind(**values), c.msgtype))


def test_logs_from_before_the_messages_grew_read(tmp_path: Path) -> None:
    given = log()
    write_torque_log(tmp_path / "new", given)
    rewrite_as_before(tmp_path / "new", tmp_path / "old")
    back = read_torque_log(tmp_path / "old")
    fall, load = back.fall, back.load
    assert fall is not None and load is not None
    assert fall.gravity.shape == (CYCLES, 3) and np.isnan(fall.gravity).all()
    assert np.isnan([fall.margin, fall.clearance, load.peak]).all()
    assert load.sense.tolist() == [0] * CYCLES and load.subsided.tolist() == [False] * CYCLES
    for key, names in LATER.items():
        there = {name: getattr(getattr(given, key), name) for name in names}
        back = replace(back, **{key: replace(getattr(back, key), **there)})
    assert_same(back, given)


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_bags_of_ros2_bag_record_read(tmp_path: Path, plugin: StoragePlugin) -> None:
    write_foreign(tmp_path / "x", plugin)
    back = read_torque_log(tmp_path / "x")
    np.testing.assert_allclose(back.joints.times_s, 0.008 * np.arange(10), atol=1e-9)
    np.testing.assert_allclose(back.joints.position[:, 7], 0.1 * np.arange(1, 11))
    assert back.load is not None
    np.testing.assert_allclose(back.load.total, 20 * np.arange(1, 11) / Servo().effort_per_n_m)
    assert (back.mode, back.fall, back.gains) == ("unknown", None, None)


def test_joints_in_another_order_are_put_in_the_first_ones(tmp_path: Path) -> None:
    def turned(k: int) -> Any:
        names, angles = list(JOINTS), np.arange(20.0)
        return joint_state(
            k,
            name=names if k % 2 else names[::-1],
            position=angles if k % 2 else angles[::-1].copy(),
        )

    write_foreign(tmp_path / "x", StoragePlugin.MCAP, turned)
    back = read_torque_log(tmp_path / "x")
    np.testing.assert_array_equal(back.joints.position, np.tile(np.arange(20.0), (10, 1)))


@pytest.mark.parametrize(
    "stamp_ns", [lambda k: 0, lambda k: EPOCH_NS + 10**9 * (k % 4)], ids=["zero", "jump back"]
)
def test_unusable_stamps_give_way_to_the_log_times(
    tmp_path: Path, stamp_ns: Callable[[int], int]
) -> None:
    write_foreign(
        tmp_path / "x", StoragePlugin.MCAP, lambda k: joint_state(k, stamp_ns=stamp_ns(k))
    )
    back = read_torque_log(tmp_path / "x")
    np.testing.assert_allclose(back.joints.times_s, 0.008 * np.arange(10), atol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"position": np.zeros(0), "velocity": np.zeros(0)},  # rosbags 0.11 cannot read it back
        {"position": np.zeros(0)},
        {"position": np.zeros(7)},
        {"effort": np.zeros(7)},
    ],
)  # fmt: skip
def test_joint_states_that_are_not_filled(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_foreign(tmp_path / "x", StoragePlugin.MCAP, lambda k: joint_state(k, **changes))
    text = reading_refusal(tmp_path / "x")
    assert text.startswith(f"torque log '{tmp_path / 'x'}' cannot be read (")
    assert "\n" not in text


def test_missing_velocity_and_effort_count_as_zero(tmp_path: Path) -> None:
    empty: dict[str, Any] = {"velocity": np.zeros(0), "effort": np.zeros(0)}
    write_foreign(tmp_path / "x", StoragePlugin.MCAP, lambda k: joint_state(k, **empty))
    back = read_torque_log(tmp_path / "x")
    assert back.joints.velocity.shape == (10, 20)
    assert back.notes == (NO_EFFORT,)
