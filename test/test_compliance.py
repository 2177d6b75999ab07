# SPDX-License-Identifier: Apache-2.0
"""The schedule of stiffness and damping on hand-made falls."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig, ComplianceSchedule, Phase
from op3_fall.errors import BadInputError
from op3_fall.signals import ImpactEstimate

Array = NDArray[np.float64]
SERVO = robot.Servo()
DT = 0.02
FAR, NEAR = math.inf, 0.1
CONFIG = ComplianceConfig(0.3, 1.5, 0.3, 6.0, hold_s=0.2, restore_s=0.5, longest_soft_s=2.0)

stories = st.lists(
    st.tuples(st.sampled_from([FAR, 1.0, NEAR]), st.floats(0, 30), st.booleans()),
    min_size=1, max_size=200,
)  # fmt: skip


def estimate(load: ArrayLike, count: ArrayLike) -> ImpactEstimate:
    load, count = np.asarray(load, dtype=float), np.asarray(count, dtype=np.int64)
    return ImpactEstimate(load, np.zeros_like(load), np.zeros(load.shape, dtype=bool), count)


def run(
    schedule: ComplianceSchedule, story: Iterable[tuple[float, float, int]]
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Stiffness, damping and phase after each (error, load, impacts so far)."""
    rows = []
    for k, (error, load, count) in enumerate(story):
        scales = schedule.step(np.array(k * DT), np.array(error), estimate(load, count))
        rows.append((*scales, schedule.phase))
    stiffness, damping, phase = (np.array(column) for column in zip(*rows, strict=True))
    return stiffness, damping, phase


def counted(story: list[tuple[float, float, bool]]) -> list[tuple[float, float, int]]:
    hits = np.cumsum([hit for _, _, hit in story])
    return [(e, load, int(n)) for (e, load, _), n in zip(story, hits, strict=True)]


def test_a_fall_goes_through_the_phases_in_time() -> None:
    """Alarm at 0.1 s, pose at 0.3 s, impact at 0.6 s, calm from 0.8 s: back from 1.0 to 1.5 s."""
    story = [
        (FAR if k * DT < 0.1 else 1.0 if k * DT < 0.3 - 1e-9 else NEAR,
         20.0 if 0.6 - 1e-9 < k * DT < 0.8 - 1e-9 else 2.0, int(k * DT > 0.6 - 1e-9))
        for k in range(100)
    ]  # fmt: skip
    stiffness, damping, phase = run(ComplianceSchedule(SERVO, (), CONFIG), story)
    starts = {Phase(p): np.argmax(phase == p) * DT for p in np.unique(phase)}
    assert starts[Phase.SOFT] == pytest.approx(0.3)
    assert starts[Phase.RESTORE] == pytest.approx(1.0, abs=DT + 1e-9)
    assert starts[Phase.DONE] == pytest.approx(1.5, abs=2 * DT + 1e-9)
    np.testing.assert_array_equal(stiffness[phase == Phase.STIFF], 1.0)
    np.testing.assert_allclose(stiffness[phase == Phase.SOFT], 0.3)
    np.testing.assert_array_equal(stiffness[phase == Phase.DONE], 1.0)
    np.testing.assert_array_equal(damping[phase == Phase.STIFF], 1.0)
    np.testing.assert_array_equal(damping[phase == Phase.SOFT], 1.5)
    np.testing.assert_array_equal(damping[phase == Phase.DONE], 1.0)
    ramp = stiffness[phase == Phase.RESTORE]
    np.testing.assert_allclose(np.diff(ramp), (1 - 0.3) * DT / 0.5, rtol=1e-6)


@given(stories, st.floats(0.05, 1.0), st.floats(1.0, 4.0))
def test_laws_of_every_story(
    story: list[tuple[float, float, bool]], soft_k: float, soft_d: float
) -> None:
    config = ComplianceConfig(soft_k, soft_d, longest_soft_s=1.0)
    seen = counted(story)
    stiffness, damping, phase = run(ComplianceSchedule(SERVO, (), config), seen)
    assert (np.isin(np.diff(phase), (0, 1))).all(), "phases come in order"
    margin = 1e-9
    assert ((stiffness >= soft_k - margin) & (stiffness <= 1 + margin)).all()
    assert ((damping >= 1 - margin) & (damping <= soft_d + margin)).all()
    ramp = phase >= Phase.RESTORE
    assert (np.diff(stiffness[ramp]) >= -margin).all(), "the way back is monotone"
    assert (np.diff(damping[ramp]) <= margin).all()
    if ramp.any():
        start, soft = int(np.argmax(ramp)), int(np.argmax(phase == Phase.SOFT))
        waited = (start - soft) * DT
        assert seen[start][2] > 0 or waited >= config.longest_soft_s - margin
    if not any(error == NEAR for error, _, _ in story):
        assert (phase == Phase.STIFF).all()


@pytest.mark.parametrize(
    ("load", "count", "restored_after_s"),
    [(2.0, 1, 0.2), (2.0, 0, 2.0), (20.0, 1, 2.0)],
    ids=["felt and calm", "nothing felt", "never calm"],
)
def test_restoring_waits_for_an_impact_and_for_calm_but_not_for_ever(
    load: float, count: int, restored_after_s: float
) -> None:
    _, _, phase = run(ComplianceSchedule(SERVO, (), CONFIG), [(NEAR, load, count)] * 150)
    assert np.argmax(phase == Phase.RESTORE) * DT == pytest.approx(restored_after_s, abs=DT + 1e-9)


def test_a_batch_gives_what_each_robot_gives_with_scales_of_its_own() -> None:
    rng = np.random.default_rng(0)
    shape = (2, 3)
    own: dict[str, Any] = {
        "stiffness_scale": rng.uniform(0.05, 1, shape),
        "damping_scale": rng.uniform(1, 4, shape),
        "restore_s": rng.uniform(0, 1, shape),
    }
    grid = ComplianceSchedule(SERVO, shape, **own)
    single = {
        i: ComplianceSchedule(SERVO, (), **{name: v[i] for name, v in own.items()})
        for i in np.ndindex(shape)
    }
    near_from = rng.uniform(0, 1, shape)
    for k in range(150):
        time_s = np.full(shape, k * DT)
        error = np.where(time_s < near_from, FAR, NEAR)
        impact = estimate(rng.uniform(0, 8, shape), time_s > near_from + 0.3)
        many = grid.step(time_s, error, impact)
        assert many[0].shape == many[1].shape == shape
        for i, schedule in single.items():
            one = schedule.step(
                time_s[i], error[i], estimate(impact.torque_load[i], impact.count[i])
            )
            assert one == (many[0][i], many[1][i])
    assert len(np.unique(grid.phase)) > 1 or (grid.phase == Phase.DONE).all()


def test_scales_of_robots_are_clipped_to_the_range() -> None:
    schedule = ComplianceSchedule(
        SERVO, (3,), stiffness_scale=[-1.0, 0.5, 7.0], damping_scale=[0.0, 2.0, 99.0]
    )
    step = (np.zeros(3), np.full(3, NEAR), estimate(np.zeros(3), np.zeros(3)))
    stiffness, damping = schedule.step(*step)
    np.testing.assert_allclose(stiffness, [0.05, 0.5, 1.0])
    np.testing.assert_allclose(damping, [1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("stiffness_scale", 0.01, "stiffness scale is 0.01; allowed is from 0.05 to 1; "
         "choose a value of stiffness scale in that range"),
        ("stiffness_scale", math.nan, "stiffness scale is nan; allowed is from 0.05 to 1; "
         "choose a value of stiffness scale in that range"),
        ("damping_scale", 5.0, "damping scale is 5; allowed is from 1 to 4; "
         "choose a value of damping scale in that range"),
        ("reached_rad", -0.1, "reached angle is -0.1 rad; allowed is from 0 to 3.14159 rad; "
         "choose a value of reached angle in that range"),
        ("subsided_n_m", 101.0, "subsided load is 101 N m; allowed is from 0 to 100 N m; "
         "choose a value of subsided load in that range"),
        ("hold_s", -1.0, "hold time is -1 s; allowed is from 0 to 60 s; "
         "choose a value of hold time in that range"),
        ("restore_s", math.inf, "restore time is inf s; allowed is from 0 to 60 s; "
         "choose a value of restore time in that range"),
        ("longest_soft_s", 61.0, "longest soft time is 61 s; allowed is from 0 to 60 s; "
         "choose a value of longest soft time in that range"),
    ],
)  # fmt: skip
def test_a_config_out_of_range_is_told(name: str, value: float, text: str) -> None:
    with pytest.raises(BadInputError) as error:
        ComplianceConfig(**{name: value})
    assert str(error.value) == text


def test_every_allowed_scale_fits_the_registers() -> None:
    for voltage in (11.1, 12.0, 14.8):
        servo = robot.Servo(voltage)
        assert servo.max_damping_scale >= 4.0
        assert servo.p_register(0.05) == 40
