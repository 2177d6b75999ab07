# SPDX-License-Identifier: Apache-2.0
"""The three known rules: their conditions as published, and the laws that hold for all."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from test_attitude import CYCLE_S, MIRROR_PSEUDOVECTOR, MIRROR_VECTOR, reading

from op3_fall.detection_scores import first_alarm
from op3_fall.known_rules import (
    KNOWN_RULES,
    GravityLookAhead,
    KnownRule,
    StockDemo,
    TiltScaledRate,
)
from op3_fall.rotations import from_roll_pitch, gravity_in_body
from op3_fall.signals import SensorReading

Array = NDArray[np.float64]
DEG = math.pi / 180
every_rule = pytest.mark.parametrize("rule", KNOWN_RULES, ids=lambda rule: rule.name)
seeds = st.integers(0, 2**32 - 1)


def posed(
    roll_deg: float, pitch_deg: float, gyro: ArrayLike = (0, 0, 0), time_s: float = 0.0
) -> tuple[SensorReading, Array]:
    """A reading with the true orientation, and the true gravity."""
    q = from_roll_pitch(roll_deg * DEG, pitch_deg * DEG)
    return dataclasses.replace(reading(time_s, gyro), orientation=q), gravity_in_body(q)


def tumble(seed: int, shape: tuple[int, ...] = (), steps: int = 12) -> list[SensorReading]:
    """Readings (*shape,) with any orientation and rate."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(steps):
        q = rng.normal(size=(*shape, 4))
        q /= np.linalg.norm(q, axis=-1, keepdims=True)
        one = reading(k * CYCLE_S, rng.normal(scale=4, size=(*shape, 3)))
        found.append(dataclasses.replace(one, orientation=q))
    return found


def scores(rule: type[KnownRule], stream: list[SensorReading]) -> Array:
    """Score of every reading, (t, ...), with the true gravity."""
    one = rule()
    return np.array([one.step(r, gravity_in_body(r.orientation)) for r in stream])


def alarm_s(rule: type[KnownRule], tipping: tuple[float, float], rate: float) -> float:
    """When the rule fires for a robot that tips at that rate (rad/s) from upright."""
    times = np.arange(250) * CYCLE_S
    roll, pitch = np.array(tipping) / np.hypot(*tipping)
    one = rule()
    told = [
        one.step(*posed(
            roll * rate * t / DEG, pitch * rate * t / DEG, (rate * roll, rate * pitch, 0), t
        ))
        for t in times
    ]  # fmt: skip
    return float(first_alarm(times[:, None], np.array(told)[:, None], 1.0, one.hold_s)[0])


@pytest.mark.parametrize(
    ("roll_deg", "pitch_deg", "fires"),
    [(0, 59, False), (0, 61, True), (0, -59, False), (0, -61, True), (80, 0, False)],
)
def test_the_stock_demo_looks_at_pitch_alone(
    roll_deg: float, pitch_deg: float, fires: bool
) -> None:
    assert (StockDemo().step(*posed(roll_deg, pitch_deg, (9, 9, 9))) > 1) == fires


def test_the_stock_demo_lags_by_its_filter_and_by_its_looks() -> None:
    """From 0 to 90 degrees at once: filtered 36, 57.6, 70.56, ... Looks at 0 and at 40 ms."""
    rule = StockDemo()
    told = [rule.step(*posed(0, 90 * (k > 0), time_s=k * CYCLE_S)) for k in range(11)]
    held, looked = [0.0] * 5, 90 * (1 - 0.6**5) / 60
    assert told[:9] == pytest.approx([*held, *[looked] * 4])
    assert told[9] == pytest.approx(90 * (1 - 0.6**9) / 60), "72 ms is the first after 66.7 ms"


def test_the_stock_demo_looks_thirty_times_a_second() -> None:
    rule = StockDemo()
    told = [rule.step(*posed(0, 0.05 * k, time_s=k * CYCLE_S)) for k in range(1251)]
    assert len(set(map(float, told))) == 301, "in ten seconds, both ends counted"


@pytest.mark.parametrize(
    ("roll_deg", "pitch_deg", "gyro", "fires"),
    [
        (0, 20, (0, 1.99, 0), False),  # the limit at half the tilt is half the rate
        (0, 20, (0, 2.01, 0), True),
        (0, 20, (0, -9, 0), False),  # on its way back
        (0, -20, (0, -2.01, 0), True),
        (30, 0, (0.99, 0, 0), False),
        (30, 0, (1.01, 0, 0), True),
        (-30, 0, (1.01, 0, 0), False),
        (0, 30, (1.5, 0, 0), False),  # each axis has its own tilt
        (0, 39.9, (0, 0, 0), False),
        (0, 40.1, (0, -9, 0), True),
        (0, 0.01, (0, 3.99, 0), False),
        (0, 20, (0, 0, 9), False),
    ],
)
def test_the_tilt_scaled_rate_rule(
    roll_deg: float, pitch_deg: float, gyro: ArrayLike, fires: bool
) -> None:
    assert (TiltScaledRate().step(*posed(roll_deg, pitch_deg, gyro)) > 1) == fires


@given(seeds)
def test_the_tilt_scaled_score_is_above_one_exactly_where_the_published_condition_holds(
    seed: int,
) -> None:
    """falling.py: away (or over the limit) and |rate| > limit x max(1 - |tilt| / limit, 0)."""
    stream = tumble(seed, (40,), steps=1)[0]
    gravity = gravity_in_body(stream.orientation)
    fused = np.arcsin(np.clip(np.stack([-gravity[:, 1], gravity[:, 0]], -1), -1, 1))
    rate = stream.angular_velocity[:, :2]
    over = np.abs(fused) > 40 * DEG
    scaled = 4.0 * np.maximum((40 * DEG - np.abs(fused)) / (40 * DEG), 0)
    fires = ((np.sign(fused) == np.sign(rate)) | over) & (np.abs(rate) > scaled)
    told = TiltScaledRate().step(stream, gravity)
    assert np.array_equal(told > 1, fires.any(axis=-1))


@pytest.mark.parametrize(
    ("roll_deg", "pitch_deg", "gyro", "fires"),
    [
        (0, 25, (0, 9, 0), False),  # gravity z -0.906
        (0, 26, (0, 9, 0), True),
        # 30 degrees: z = -0.866, and 0.3 s x rate x sin 30 must exceed 0.366: rate 2.44
        (0, 30, (0, 2.43, 0), False),
        (0, 30, (0, 2.45, 0), True),
        (30, 0, (2.45, 0, 0), True),
        (30, 0, (-9, 0, 0), False),
        (0, -30, (0, -2.45, 0), True),
        (0, 80, (0, 0, 0), False),  # held at any tilt is no fall
        (0, 80, (0, -0.1, 0), False),
    ],
)
def test_the_look_ahead_on_gravity(
    roll_deg: float, pitch_deg: float, gyro: ArrayLike, fires: bool
) -> None:
    assert (GravityLookAhead().step(*posed(roll_deg, pitch_deg, gyro)) > 1) == fires


@every_rule
@given(seeds)
def test_each_row_of_a_batch_scores_as_alone(rule: type[KnownRule], seed: int) -> None:
    stream = tumble(seed, (2, 3))
    alone = [
        dataclasses.replace(
            r, time_s=r.time_s[1, 2], orientation=r.orientation[1, 2],
            angular_velocity=r.angular_velocity[1, 2],
        )
        for r in stream
    ]  # fmt: skip
    batch = scores(rule, stream)
    assert batch.shape == (12, 2, 3)
    assert np.array_equal(batch[:, 1, 2], scores(rule, alone))


@every_rule
@given(seeds)
def test_mirrored_readings_score_the_same(rule: type[KnownRule], seed: int) -> None:
    stream = tumble(seed)
    mirrored = [
        dataclasses.replace(
            r,
            orientation=r.orientation * np.array([1, *MIRROR_PSEUDOVECTOR]),
            angular_velocity=r.angular_velocity * MIRROR_PSEUDOVECTOR,
        )
        for r in stream
    ]
    below = gravity_in_body(stream[0].orientation) * MIRROR_VECTOR
    assert gravity_in_body(mirrored[0].orientation) == pytest.approx(below)
    assert scores(rule, mirrored) == pytest.approx(scores(rule, stream))


@every_rule
@given(seeds, st.floats(-math.pi, math.pi))
def test_heading_changes_nothing(rule: type[KnownRule], seed: int, yaw: float) -> None:
    c, s = math.cos(yaw / 2), math.sin(yaw / 2)
    turn = np.array([[c, 0, 0, -s], [0, c, -s, 0], [0, s, c, 0], [s, 0, 0, c]])
    stream = tumble(seed)
    turned = [dataclasses.replace(r, orientation=turn @ r.orientation) for r in stream]
    assert scores(rule, turned) == pytest.approx(scores(rule, stream), abs=1e-9)


@given(seeds, st.floats(-20, 20))
def test_a_spin_about_the_vertical_is_no_fall_for_the_look_ahead(seed: int, spin: float) -> None:
    """The rate of gravity does not see it; the tilt-scaled rule takes the gyro as it is."""
    one = tumble(seed, (20,), steps=1)[0]
    gravity = gravity_in_body(one.orientation)
    spinning = dataclasses.replace(one, angular_velocity=one.angular_velocity + spin * gravity)
    told, plain = (GravityLookAhead().step(r, gravity) for r in (spinning, one))
    assert told == pytest.approx(plain, abs=1e-9)


@every_rule
@given(seeds, st.sampled_from([-100.0, 0.5, 1e6]))
def test_a_shift_in_time_changes_nothing(rule: type[KnownRule], seed: int, shift_s: float) -> None:
    stream = tumble(seed, steps=60)
    later = [dataclasses.replace(r, time_s=r.time_s + shift_s) for r in stream]
    assert np.array_equal(scores(rule, later), scores(rule, stream))


@pytest.mark.parametrize(
    ("rule", "expected_s"),
    [
        # 60 degrees at 524 ms, filtered 12 ms later, the look at 533 ms is the reading of 536
        (StockDemo, 0.536),
        # half the rate's limit at 20 degrees, 174.5 ms: all five readings from 176 on
        (TiltScaledRate, 0.208),
        # -cos a + 0.6 sin a = -0.5 at 33.65 degrees, 293.7 ms: not in the 60 ms before 352
        (GravityLookAhead, 0.352),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_alarm_of_a_robot_that_tips_forward_at_two_rad_per_second(
    rule: type[KnownRule], expected_s: float
) -> None:
    assert alarm_s(rule, (0, 1), 2.0) == pytest.approx(expected_s)


def test_only_the_stock_demo_misses_a_fall_to_the_side() -> None:
    found = {rule.name: alarm_s(rule, (1, 0), 2.0) for rule in KNOWN_RULES}
    assert math.isnan(found.pop("stock_demo"))
    assert all(time_s < 0.4 for time_s in found.values()) and len(found) == 2
