# SPDX-License-Identifier: Apache-2.0
"""The schedule of stiffness and damping on hand-made falls."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from signal_samples import impact_estimate

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig, ComplianceSchedule, Phase
from op3_fall.errors import BadInputError

Array = NDArray[np.float64]
SERVO = robot.Servo()
DT = 0.02
FAR, NEAR = math.inf, 0.1
CONFIG = ComplianceConfig(0.3, 1.5, 0.3, restore_s=0.5, longest_soft_s=2.0)

stories = st.lists(
    st.tuples(st.sampled_from([FAR, 1.0, NEAR]), st.booleans()), min_size=1, max_size=200,
)  # fmt: skip


def run(
    schedule: ComplianceSchedule, story: Iterable[tuple[float, bool]]
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Stiffness, damping and phase after each (error, load has subsided)."""
    rows = []
    for k, (error, subsided) in enumerate(story):
        impact = impact_estimate(subsided=subsided)
        scales = schedule.step(np.array(k * DT), np.array(error), impact)
        rows.append((*scales, schedule.phase))
    stiffness, damping, phase = (np.array(column) for column in zip(*rows, strict=True))
    return stiffness, damping, phase


def test_a_fall_goes_through_the_phases_in_time() -> None:
    """Alarm at 0.1 s, pose at 0.3 s, load subsided at 1.0 s: back from 1.0 to 1.5 s."""
    story = [
        (FAR if k * DT < 0.1 else 1.0 if k * DT < 0.3 - 1e-9 else NEAR, k * DT > 1.0 - 1e-9)
        for k in range(100)
    ]  # fmt: skip
    stiffness, damping, phase = run(ComplianceSchedule(SERVO, (), CONFIG), story)
    starts = {Phase(p): np.argmax(phase == p) * DT for p in np.unique(phase)}
    assert starts[Phase.SOFT] == pytest.approx(0.3)
    assert starts[Phase.RESTORE] == pytest.approx(1.0)
    assert starts[Phase.DONE] == pytest.approx(1.5, abs=DT + 1e-9)
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
    story: list[tuple[float, bool]], soft_k: float, soft_d: float
) -> None:
    config = ComplianceConfig(soft_k, soft_d, longest_soft_s=1.0)
    stiffness, damping, phase = run(ComplianceSchedule(SERVO, (), config), story)
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
        assert story[start][1] or waited >= config.longest_soft_s - margin
    if not any(error == NEAR for error, _ in story):
        assert (phase == Phase.STIFF).all()


@pytest.mark.parametrize(
    ("subsided_s", "restored_after_s"), [(0.0, DT), (1.0, 1.0), (1.98, 1.98), (np.inf, 2.0)]
)
def test_restoring_waits_until_the_load_has_subsided_but_not_for_ever(
    subsided_s: float, restored_after_s: float
) -> None:
    """It is soft for one step at least."""
    story = [(NEAR, k * DT >= subsided_s - 1e-9) for k in range(150)]
    _, _, phase = run(ComplianceSchedule(SERVO, (), CONFIG), story)
    assert np.argmax(phase == Phase.RESTORE) * DT == pytest.approx(restored_after_s)


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
    subsided_from = near_from + rng.uniform(0, 1, shape)
    for k in range(150):
        time_s = np.full(shape, k * DT)
        error = np.where(time_s < near_from, FAR, NEAR)
        impact = impact_estimate(shape, subsided=time_s > subsided_from)
        many = grid.step(time_s, error, impact)
        assert many[0].shape == many[1].shape == shape
        for i, schedule in single.items():
            alone = impact_estimate(subsided=impact.subsided[i])
            one = schedule.step(time_s[i], error[i], alone)
            assert one == (many[0][i], many[1][i])
    assert len(np.unique(grid.phase)) > 1 or (grid.phase == Phase.DONE).all()


def test_scales_of_robots_are_clipped_to_the_range() -> None:
    schedule = ComplianceSchedule(
        SERVO, (3,), stiffness_scale=[-1.0, 0.5, 7.0], damping_scale=[0.0, 2.0, 99.0]
    )
    stiffness, damping = schedule.step(np.zeros(3), np.full(3, NEAR), impact_estimate((3,)))
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
