# SPDX-License-Identifier: Apache-2.0
"""The e-stop's latch, and holders that tell each other over a bad line."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from op3_fall.estop import EStop, EStopState


def test_it_latches_until_it_is_cleared() -> None:
    stop = EStop()
    assert not stop.active and stop.reason == ""
    stop.press("button", 1000)
    stop.press("gantry", 2000)
    assert stop.active and stop.reason == "gantry"
    stop.clear()
    assert not stop.active and stop.reason == ""
    stop.press("again", 3000)
    assert stop.active


@pytest.mark.parametrize("wall_ns", [0, 5, 2000])
def test_a_press_holds_even_if_the_clock_stood_still_or_went_back(wall_ns: int) -> None:
    stop = EStop()
    stop.press("first", 2000)
    stop.clear()
    stop.press("second", wall_ns)
    assert stop.active and stop.reason == "second"


def test_a_node_that_starts_again_takes_the_state_over() -> None:
    policy, scheduler = EStop(), EStop()
    policy.press("button", 1000)
    assert scheduler.merge(policy.state) and scheduler.reason == "button"
    assert not scheduler.merge(policy.state), "twice is no news"
    policy = EStop()
    assert not scheduler.merge(policy.state) and scheduler.active, "knowing nothing clears nothing"
    policy.merge(scheduler.state)
    assert policy.active


def test_an_old_clear_undoes_no_newer_press() -> None:
    policy, scheduler = EStop(), EStop()
    policy.press("first", 1000)
    policy.clear()
    old = policy.state
    scheduler.press("second", 2000)
    scheduler.merge(old)
    policy.merge(scheduler.state)
    assert scheduler.active and policy.active
    scheduler.clear()
    policy.merge(scheduler.state)
    assert not policy.active


ACTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["press", "clear", "restart"]), st.integers(0, 2)),
        st.tuples(st.just("tell"), st.integers(0, 2), st.integers(0, 2), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(ACTS)
def test_laws_of_holders_on_a_bad_line(acts: list[tuple]) -> None:
    """Three holders; states are told late (up to 5 acts old), twice, or never."""
    holders = [EStop() for _ in range(3)]
    told: list[list[EStopState]] = [[h.state] for h in holders]
    presses, clears = [0], [0]  # times; a clear can only undo what was pressed before it
    for now, act in enumerate(acts, start=1):
        k = act[1]
        was_active = [h.active for h in holders]
        if act[0] == "press":
            holders[k].press("button", now)
            presses.append(now)
            assert holders[k].active
        elif act[0] == "clear":
            holders[k].clear()
            clears.append(now)
            assert not holders[k].active
        elif act[0] == "restart":
            holders[k] = EStop()
        else:
            past = told[act[2]]
            holders[k].merge(past[max(0, len(past) - 1 - act[3])])
            if was_active[k] and not holders[k].active:
                assert max(clears) > 0, "only a clear ends it"
        for j in range(3):
            if j != k:
                assert holders[j].active == was_active[j], "nobody acts for another"
        for mine, h in zip(told, holders, strict=True):
            mine.append(h.state)
    ends = []
    for order in permutations(range(3)):
        last = [h.state for h in holders]
        end = EStop()
        for j in order:
            end.merge(last[j])
        ends.append(end.state)
    assert len(set(ends)) == 1, "the order of the messages does not matter"
    if any(h.state.pressed_ns > max(clears) for h in holders):
        assert ends[0].active, "a press after the last clear holds"
