# SPDX-License-Identifier: Apache-2.0
"""Gains that arrive, through the driver's merge bug, other writers, delays and restarts."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merging_driver import NOMINAL, SOFT, MergingDriver, World, registers

from op3_fall import robot
from op3_fall.driver import Driver
from op3_fall.gain_writer import DRAIN_S, GainWriter, Registers

P, D, PWM, _ = Registers._fields


phases, polls = st.integers(0, 7), st.integers(1, 10)
delays = st.lists(st.integers(1, 4), min_size=1, max_size=7)


def test_without_care_the_bug_loses_d_and_mixes_registers() -> None:
    """The model is the real thing: what is guarded against does happen in it."""
    driver = MergingDriver()
    driver.inbox = [(P, range(20), np.full(20, 160)), (D, range(20), np.full(20, 700))]
    driver.cycle()
    assert driver.held[P][0] == 160 and driver.held[D][0] == -1 and driver.lost[D] == 20
    driver.inbox = [(P, [0], np.array([400])), (D, range(20), np.full(20, 700))]
    driver.cycle()
    assert driver.held[P].tolist() == [400] + [700] * 19


def test_everything_is_written_in_order_of_importance() -> None:
    world = World()
    world.writer.want(SOFT)
    assert not world.writer.written
    world.run(200)
    assert [item for _, item, _ in world.sent] == list(Registers._fields)
    assert world.sent[0][0] == 0, "the first goes out at once"
    assert (np.diff([ms for ms, _, _ in world.sent]) >= 20).all()
    assert world.writer.written
    world.assert_arrived(SOFT)


def test_only_what_changed_is_sent() -> None:
    world = World()
    world.writer.want(NOMINAL)
    world.run(300)
    world.sent.clear()
    world.writer.want(registers(d=300))
    world.run(300)
    assert [(item, value) for _, item, value in world.sent] == [(D, 300)]
    world.writer.want(NOMINAL)
    world.run(5000)
    assert [(item, value) for _, item, value in world.sent] == [(D, 300), (D, 0)]


def test_a_ramp_sends_the_newest_values_and_starves_none() -> None:
    world = World()
    world.writer.want(SOFT)
    world.run(300)
    world.sent.clear()
    start = world.ms

    def ramp(ms: int) -> None:
        share = (ms - start) / 500
        world.writer.want(registers(160 + round(640 * share), 700 - round(700 * share), 600))

    world.run(500, ramp)
    counts = Counter(item for _, item, _ in world.sent)
    assert abs(counts[P] - counts[D]) <= 1 and counts[P] >= 9
    for ms, item, value in world.sent:
        share = (ms - start) / 500
        newest = {P: 160 + round(640 * share), D: 700 - round(700 * share)}.get(item, value)
        assert value == newest


@settings(deadline=None, max_examples=40)
@given(phases, polls, delays, st.lists(st.tuples(
    st.integers(1, 80), st.integers(40, 800), st.integers(0, 3000), st.integers(100, 885)),
    min_size=1, max_size=15))  # fmt: skip
def test_alone_on_the_line_nothing_is_lost_or_mixed(
    phase_ms: int, poll_ms: int, delays_ms: list[int], story: list[tuple[int, int, int, int]]
) -> None:
    world = World(phase_ms, poll_ms, delays_ms)
    # Each register has values of its own, so that one in the wrong place shows.
    wishes = [registers(p * 4, d * 4 + 1, pwm // 4 * 4 + 2, 3) for _, p, d, pwm in story]

    def check(_: int) -> None:
        for k, name in enumerate(Registers._fields):
            assert set(world.driver.held[name] % 4) <= {k} or (world.driver.held[name] == -1).all()
        if world.writer.written:
            world.assert_arrived(world.wanted)  # type: ignore[attr-defined]

    for (wait_ms, *_), wish in zip(story, wishes, strict=True):
        world.wanted = wish  # type: ignore[attr-defined]
        world.writer.want(wish)
        world.run(wait_ms, check)
    world.run(round(DRAIN_S * 1e3), check)
    assert world.writer.written and not world.driver.lost and not world.collisions
    world.assert_arrived(wishes[-1])
    changes = [ms for ms, _, _ in world.sent]
    assert (np.diff(changes) >= 20).all()


foreign_writes = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from([P, D, PWM, "LED"]),
              st.sets(st.integers(0, 19), min_size=1), st.integers(4000, 5000)),
    max_size=12,
)  # fmt: skip


@settings(deadline=None)
@given(phases, polls, delays, foreign_writes)
def test_beside_other_writers_everything_arrives_in_the_end(
    phase_ms: int, poll_ms: int, delays_ms: list[int],
    foreign: list[tuple[int, str, set[int], int]],
) -> None:  # fmt: skip
    world = World(phase_ms, poll_ms, delays_ms)
    world.writer.want(SOFT)

    def disturb(ms: int) -> None:
        for at_ms, item, joints, value in foreign:
            if at_ms == ms:
                world.publish(item, sorted(joints), np.full(len(joints), value))

    world.run(320, disturb)
    world.run(round(DRAIN_S * 1e3))
    assert world.writer.written
    world.assert_arrived(SOFT)


def test_a_lone_foreign_message_is_waited_out() -> None:
    """Ours would go into its packet, and 0 into torque_enable would let the robot drop."""
    world = World()
    world.writer.want(NOMINAL)
    world.run(200)
    world.sent.clear()
    world.publish("LED", [0], np.array([1]))
    world.run(2)
    world.writer.want(SOFT)
    world.run(200)
    assert world.sent[0][1] == P and world.sent[0][0] >= 201 + 16
    assert set(world.driver.held["LED"]) == {1, -1} and not world.collisions


def test_a_collision_is_told_and_everything_written_again() -> None:
    world = World()
    world.writer.want(SOFT)
    world.run(1)
    world.publish("LED", [0], np.array([1]))
    world.run(300)
    assert world.collisions == 1
    assert [item for _, item, _ in world.sent].count(P) == 2
    assert world.writer.written
    world.assert_arrived(SOFT)


def test_a_writer_that_never_stops_delays_but_does_not_silence_ours() -> None:
    """As open_cr's dynamixel_power does, every cycle while bulk reads fail."""
    world = World()
    world.writer.want(SOFT)

    def power(ms: int) -> None:
        if ms % 8 == 0:
            world.publish("LED", [0], np.array([1]))

    world.run(1000, power)
    assert not world.writer.written
    gaps = np.diff([ms for ms, _, _ in world.sent])
    assert gaps.min() >= 100 and gaps.max() <= 110
    world.run(round(DRAIN_S * 1e3))
    assert world.writer.written
    world.assert_arrived(SOFT)


@pytest.mark.parametrize("stop_ms", range(96, 125))
def test_the_last_message_of_a_burst_may_have_met_ours(stop_ms: int) -> None:
    """Ours went out at 100 ms, when patience was over, perhaps right behind a foreign one."""
    for phase_ms in range(8):
        world = World(phase_ms)
        world.writer.want(SOFT)
        world.run(
            stop_ms,
            lambda ms, world=world: ms % 8 == 0 and world.publish("LED", [0], np.array([1])),
        )
        assert stop_ms <= 100 or world.sent[1][0] == 100
        world.run(round(DRAIN_S * 1e3))
        assert world.writer.written
        world.assert_arrived(SOFT)


@pytest.mark.parametrize(("wanted", "repairs"), [(SOFT, True), (NOMINAL, False)])
def test_gains_that_somebody_else_writes_are_put_right_while_ours_are_not_nominal(
    wanted: Registers, repairs: bool
) -> None:
    """When they are, a person may tune."""
    world = World()
    world.writer.want(wanted)
    world.run(300)
    world.publish(P, range(20), np.full(20, 4000))
    world.run(60)
    assert (world.driver.held[P][0] == wanted.position_p_gain[0]) == repairs


def test_what_is_not_nominal_is_refreshed_once_a_second() -> None:
    """walking_module rewrites P inside the driver, where nobody hears it."""
    world = World()
    world.writer.want(registers(800, 700))
    world.run(1200)
    sent = Counter(item for _, item, _ in world.sent)
    assert set(sent.values()) == {2}
    world.driver.held[P][:] = 4000
    world.run(1000, lambda _: pytest.fail("stays written") if not world.writer.written else None)
    world.assert_arrived(registers(800, 700))
    world.run(2000)
    assert Counter(item for _, item, _ in world.sent)[P] == 5


def test_force_writes_everything_again() -> None:
    world = World()
    world.writer.want(NOMINAL)
    world.run(300)
    world.driver.held[P][:] = 40
    world.writer.force()
    assert not world.writer.written
    world.run(round(DRAIN_S * 1e3))
    world.assert_arrived(NOMINAL)
    assert world.writer.written


@settings(deadline=None)
@given(phases, polls, delays, st.integers(0, 60))
def test_a_shutdown_is_over_in_a_fifth_of_a_second(
    phase_ms: int, poll_ms: int, delays_ms: list[int], before_ms: int
) -> None:
    world = World(phase_ms, poll_ms, delays_ms)
    world.writer.want(SOFT)
    world.run(before_ms)
    world.writer.want(NOMINAL)
    world.writer.force()
    world.run(200)
    assert world.writer.written
    world.assert_arrived(NOMINAL)


def test_a_driver_that_stands_still_is_not_flooded() -> None:
    """Its callbacks go on while its loop stands; all that came would then meet in one cycle."""
    world = World()
    world.run(100)
    world.alive = False
    world.writer.want(SOFT)
    world.run(90)
    assert [item for _, item, _ in world.sent] == [P]
    world.run(410)
    assert {item for _, item, _ in world.sent} == set(Registers._fields), "all goes out once"
    assert not world.writer.written
    world.alive = True
    world.run(round(DRAIN_S * 1e3))
    assert world.writer.written
    world.assert_arrived(SOFT)


def test_nothing_is_sent_to_nobody_and_a_new_driver_gets_everything() -> None:
    world = World()
    world.subscribers = 0
    world.writer.want(NOMINAL)
    world.run(500)
    assert world.sent == [] and not world.writer.written
    world.subscribers = 1
    world.run(300)
    assert world.writer.written
    world.subscribers, world.driver = 0, MergingDriver()
    world.run(50)
    assert not world.writer.written
    world.subscribers = 1
    world.run(300)
    assert world.writer.written
    world.assert_arrived(NOMINAL)


def test_a_driver_found_after_a_recorder_gets_everything() -> None:
    """DDS finds one after the other; who is not found yet hears nothing and lives on."""
    world = World()
    world.writer.want(NOMINAL)
    driver, world.driver = world.driver, MergingDriver()  # the messages go elsewhere
    world.run(300)
    assert world.writer.written, "so it looks from here"
    world.subscribers, world.driver = 2, driver
    world.run(5)
    assert not world.writer.written
    world.run(300)
    assert world.writer.written
    world.assert_arrived(NOMINAL)
    world.subscribers, world.sent = 1, []
    world.run(300)
    assert world.sent == [], "who leaves needs nothing"


def test_a_simulation_that_starts_again_gets_everything_at_once() -> None:
    world = World()
    world.writer.want(NOMINAL)
    world.run(3000)
    world.ms, world.driver, world.sent = 0, MergingDriver(), []
    world.run(200)
    assert world.sent[0][:2] == (0, P)
    assert world.writer.written
    world.assert_arrived(NOMINAL)


def test_before_anything_is_wanted_nothing_is_sent() -> None:
    world = World()
    world.run(500)
    assert world.sent == [] and not world.writer.written


def test_what_is_given_away_is_not_the_writers_own() -> None:
    writer, mine = GainWriter(NOMINAL), registers(160)
    writer.want(mine)
    mine.position_p_gain[:] = 1
    message = writer.poll(0.0, 1)
    assert message is not None and message[0] == P and set(message[1]) == {160}
    message[1][:] = 2
    assert writer.heard(P, np.full(20, 160), 0.001) is False


@pytest.mark.parametrize("phase_ms", range(8))
def test_the_drivers_twin_gets_all_gains(phase_ms: int) -> None:
    """The same against the twin with its merge bug, its packets and its control tables."""
    pose = robot.POSES["stand"]
    twin, writer = Driver(pose), GainWriter(NOMINAL)
    writer.want(SOFT)
    for ms in range(200):
        if ms % 8 == phase_ms:
            twin.cycle(pose)
            writer.cycle()
        message = writer.poll(ms * 1e-3, 1)
        if message is not None:
            twin.sync_write_item(message[0], robot.JOINTS, message[1].tolist())
    assert writer.written
    for name, values in SOFT._asdict().items():
        np.testing.assert_array_equal(twin.servos.read(name), values, err_msg=name)
