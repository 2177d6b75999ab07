# SPDX-License-Identifier: Apache-2.0
"""IMU and joint states of a cycle find each other, whatever the line does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.readings import ReadingAssembler
from op3_fall.signals import SensorReading

CYCLE = 0.008
NAMES = list(robot.JOINTS)


def send_imu(assembler: ReadingAssembler, k: float, lag_s: float = 0.003) -> SensorReading | None:
    """The IMU of cycle k; its gyro says which."""
    return assembler.imu(k * CYCLE + lag_s, [k, 0, 0], [0, k, 9.8], [1, 0, 0, 0])


def send_joints(assembler: ReadingAssembler, k: float, **changes: Any) -> SensorReading | None:
    """The joint states of cycle k; its positions say which."""
    message: dict[str, Any] = {
        "names": NAMES, "position": np.full(20, float(k)), "velocity": [], "effort": [],
    }  # fmt: skip
    return assembler.joints(k * CYCLE, **{**message, **changes})


def cycles(reading: SensorReading | None) -> tuple[float, float] | None:
    """The cycles of the joint states and of the IMU in a reading."""
    if reading is None:
        return None
    assert float(reading.time_s) == reading.position[0] * CYCLE
    return float(reading.position[0]), float(reading.angular_velocity[0])


@pytest.mark.parametrize("lag_s", [0.0, 0.003, 0.0079], ids=["simulator", "robot", "late"])
@pytest.mark.parametrize("first", ["imu", "joints"])
def test_both_messages_of_a_cycle_make_a_reading_in_either_order(first: str, lag_s: float) -> None:
    assembler = ReadingAssembler()
    for k in range(1, 6):
        if first == "imu":
            assert send_imu(assembler, k, lag_s) is None
            assert cycles(send_joints(assembler, k)) == (k, k)
        else:
            assert send_joints(assembler, k) is None
            assert cycles(send_imu(assembler, k, lag_s)) == (k, k)


def test_every_value_comes_through() -> None:
    rng = np.random.default_rng(0)
    position, velocity, effort = rng.normal(size=(3, 20))
    assembler = ReadingAssembler()
    assembler.imu(1.0, [1, 2, 3], [4, 5, 6], [0.5, 0.5, 0.5, -0.5])
    reading = assembler.joints(1.0, NAMES, position, velocity, effort)
    assert reading is not None and reading.time_s.shape == ()
    np.testing.assert_array_equal(reading.position, position)
    np.testing.assert_array_equal(reading.velocity, velocity)
    np.testing.assert_array_equal(reading.effort, effort)
    np.testing.assert_array_equal(reading.angular_velocity, [1, 2, 3])
    np.testing.assert_array_equal(reading.linear_acceleration, [4, 5, 6])
    np.testing.assert_array_equal(reading.orientation, [0.5, 0.5, 0.5, -0.5])


def test_a_lost_imu_is_replaced_by_the_one_before() -> None:
    assembler = ReadingAssembler()
    send_imu(assembler, 1)
    assert cycles(send_joints(assembler, 1)) == (1, 1)
    assert send_joints(assembler, 2) is None
    assert cycles(send_joints(assembler, 3)) == (2, 1)
    assert cycles(send_imu(assembler, 3)) == (3, 3)


def test_a_lost_imu_does_not_shift_the_pairs_after_it() -> None:
    assembler = ReadingAssembler()
    send_joints(assembler, 1)
    assert cycles(send_imu(assembler, 2)) == (1, 2)
    assert cycles(send_joints(assembler, 2)) == (2, 2)


def test_lost_joint_states_give_no_reading() -> None:
    assembler = ReadingAssembler()
    assert send_imu(assembler, 1) is None
    assert send_imu(assembler, 2) is None
    assert cycles(send_joints(assembler, 2)) == (2, 2)


def test_an_imu_that_falls_silent_ends_the_readings() -> None:
    """The guard of the sensors then sees readings that no longer come."""
    assembler = ReadingAssembler()
    send_imu(assembler, 1)
    made = [k for k in range(1, 20) if send_joints(assembler, k) is not None]
    # Cycle k leaves when k + 1 comes; cycle 4 is 21 ms after the last IMU, cycle 5 is 29 ms.
    assert made == [1, 3, 4, 5]


def test_repeated_joint_states_are_dropped() -> None:
    assembler = ReadingAssembler()
    send_imu(assembler, 1)
    assert cycles(send_joints(assembler, 1)) == (1, 1)
    assert send_joints(assembler, 1) is None
    assert send_joints(assembler, 2) is None
    assert send_joints(assembler, 2) is None
    assert cycles(send_imu(assembler, 2)) == (2, 2)


@pytest.mark.parametrize("first", ["imu", "joints"])
@pytest.mark.parametrize("waiting", [False, True])
def test_after_a_restart_no_reading_mixes_old_and_new(first: str, waiting: bool) -> None:
    assembler = ReadingAssembler()
    send_imu(assembler, 999)
    send_joints(assembler, 999)
    if waiting:
        send_joints(assembler, 1000)
    else:
        send_imu(assembler, 1000)
    send = [send_imu, send_joints] if first == "imu" else [send_joints, send_imu]
    seen = [cycles(message(assembler, k)) for k in (1, 2) for message in send]
    assert [pair for pair in seen if pair is not None] == [(1, 1), (2, 2)]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=60),
       st.floats(0, 0.0079))  # fmt: skip
def test_laws_of_every_line(line: list[tuple[bool, bool, bool]], lag_s: float) -> None:
    """Each cycle's IMU or joint states may be lost, and either may come first."""
    assembler, made = ReadingAssembler(), []
    whole = []
    for k, (has_imu, has_joints, imu_first) in enumerate(line):
        sends = [("imu", has_imu), ("joints", has_joints)]
        for kind, arrives in sends if imu_first else reversed(sends):
            if arrives:
                reading = (send_imu(assembler, k, lag_s) if kind == "imu"
                           else send_joints(assembler, k))  # fmt: skip
                made += [cycles(reading)] if reading is not None else []
        if has_imu and has_joints:
            whole.append((k, k))
    assert set(whole) <= set(made), "a cycle that arrives whole is read whole"
    joints = [pair[0] for pair in made]
    assert all(np.diff(joints) > 0), "in order, and none twice"
    assert all(abs(k - i) * CYCLE <= 0.024 + CYCLE for k, i in made)


def test_joints_are_mapped_by_name() -> None:
    order = np.random.default_rng(1).permutation(20)
    assembler = ReadingAssembler()
    for k, columns in enumerate([order, np.arange(20), order[::-1]]):
        names = [NAMES[c] for c in columns]
        send_imu(assembler, k)
        values = {
            what: factor * columns
            for what, factor in (("position", 1.0), ("velocity", 2.0), ("effort", 3.0))
        }
        reading = send_joints(assembler, k, names=names, **values)
        assert reading is not None
        np.testing.assert_array_equal(reading.position, np.arange(20))
        np.testing.assert_array_equal(reading.velocity, 2 * np.arange(20))
        np.testing.assert_array_equal(reading.effort, 3 * np.arange(20))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"names": [*NAMES[:-1], "l_toe"]}, "joint states: l_toe is unknown; allowed is each of "
         "the OP3's 20 joints once; check the driver's robot file"),
        ({"names": [*NAMES, "l_toe", "r_toe"]}, "joint states: l_toe, r_toe are unknown; allowed "
         "is each of the OP3's 20 joints once; check the driver's robot file"),
        ({"names": NAMES[1:]}, "joint states: head_pan is missing; allowed is each of the OP3's "
         "20 joints once; check the driver's robot file"),
        ({"names": []}, f"joint states: {', '.join(NAMES)} are missing; allowed is each of the "
         "OP3's 20 joints once; check the driver's robot file"),
        ({"names": [*NAMES, "l_el"]}, "joint states: l_el is twice; allowed is each of the OP3's "
         "20 joints once; check the driver's robot file"),
        ({"position": []}, "joint states have 0 positions for 20 names; allowed is one a name; "
         "check what publishes them"),
        ({"position": np.zeros(19)}, "joint states have 19 positions for 20 names; allowed is "
         "one a name; check what publishes them"),
        ({"velocity": np.zeros(21)}, "joint states have 21 velocities for 20 names; allowed is "
         "one a name; check what publishes them"),
        ({"effort": [0.0]}, "joint states have 1 efforts for 20 names; allowed is one a name; "
         "check what publishes them"),
    ],
)  # fmt: skip
def test_joint_states_that_do_not_fit_are_told_and_do_no_harm(
    changes: dict[str, Any], text: str
) -> None:
    assembler = ReadingAssembler()
    send_imu(assembler, 1)
    with pytest.raises(BadInputError) as error:
        send_joints(assembler, 1, **changes)
    assert str(error.value) == text
    assert cycles(send_joints(assembler, 1)) == (1, 1)
