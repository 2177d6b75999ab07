# SPDX-License-Identifier: Apache-2.0
"""Scores, intervals, and the sweep's choice, by hand-computed small cases."""

import json
from pathlib import Path

import numpy as np
import pytest

from op3_fall import robot
from op3_fall.metrics import METRICS, mean_interval, paired_difference, score
from op3_fall.scenarios import PushSpec
from op3_fall.sweep import Grid, SweepResult
from op3_fall.sweep_report import report_sweep
from op3_fall.truth import Measurement, PhysicsFrame


def test_bootstrap_of_paired_differences() -> None:
    difference = paired_difference([1, 2, 3, np.nan], [2, 3, 4, 9])
    assert (difference.mean, difference.low, difference.high, difference.pairs) == (1, 1, 1, 3)
    values = np.random.default_rng(0).normal(5, 1, 400)
    interval = mean_interval(values)
    # 1.96 standard errors of 1 / sqrt(400) on each side
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20, rel=0.1)
    assert np.isnan(mean_interval([np.nan]).mean)


def test_a_robot_that_did_not_fall_or_diverged_has_no_score() -> None:
    truth = Measurement.start(3)
    truth.hit[:2], truth.diverged[1], truth.time_s[:] = True, True, 2.0
    truth.first_contact_s[:2, 3] = 1.0
    truth.impact_saturated_s[:] = 0.25
    scores = score(truth)
    assert scores["saturated_share"][0] == 0.25  # 0.25 s of the 1 s since the contact
    assert scores["head_contact_share"][0] == 0
    for name in METRICS:
        assert np.isnan(scores[name][1:]).all()


def test_impulse_and_energy_of_each_servo_by_hand() -> None:
    """Two steps of 10 ms, before and after the hip touched the floor."""
    truth, joints = Measurement.start(1), np.zeros((1, 20))
    torque, velocity = joints.copy(), joints.copy()
    torque[0, :3], velocity[0, :3] = (-2.0, 2.0, 0.5), (3.0, 3.0, -4.0)
    for force in (0.0, 5.0):
        floor_force = np.zeros((1, 14))
        floor_force[0, robot.PARTS.index("l_hip")] = force
        frame = PhysicsFrame(
            torque=torque, gear_load=joints, velocity=velocity, saturated=joints > 0,
            floor_force=floor_force, head_speed=np.zeros(1), head_acceleration=np.zeros(1),
        )  # fmt: skip
        truth.add(frame, np.zeros(1), 0.01)
    # The first brakes with 6 W, the second drives, the third brakes with 2 W.
    np.testing.assert_allclose(truth.impact_energy[0, :4], [0.06, 0.0, 0.02, 0.0])
    np.testing.assert_allclose(truth.impact_impulse[0, :4], [0.02, 0.02, 0.005, 0.0])
    np.testing.assert_allclose(score(truth)["torque_impulse_n_m_s"], [0.045])


def result(peak: list[float], head: list[float]) -> SweepResult:
    grid = Grid(stiffness=(0.2, 0.5, 1.0), damping=(1.0,), restore_s=(0.5,), falls=2)
    means = {name: np.ones(3) for name in METRICS}
    means |= {"peak_torque_load_n_m": np.array(peak), "head_contact_share": np.array(head)}
    stiff = dict.fromkeys(METRICS, 0.0)
    return SweepResult(grid, means, stiff, diverged=0)


def test_best_is_the_least_load_among_those_that_spare_the_head() -> None:
    assert result([1, 2, 3], [0.5, 0, 0]).best == 1
    assert list(result([1, 2, 3], [0.5, 0, 0]).pareto(
        "peak_torque_load_n_m", "head_contact_share")) == [0, 1]  # fmt: skip
    assert result([1, 2, 3], [0.5, 0.5, 0.5]).best is None


def test_the_sweep_writes_its_cells_and_its_stiff_corner_is_stiff(tmp_path: Path) -> None:
    grid = Grid(stiffness=(0.5, 1.0), damping=(1.0,), restore_s=(0.1, 0.5), falls=2)
    report_sweep(grid, PushSpec(), 0, tmp_path, "")
    summary = json.loads((tmp_path / "summary.json").read_text())
    rows = (tmp_path / "sweep.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 and summary["falls"] == 10
    stiff = [f"{summary['stiff'][m]:.6g}" for m in METRICS]
    assert rows[-1].split(",")[3:] == stiff
    assert (tmp_path / "heat_maps.png").stat().st_size > 10_000
    assert (tmp_path / "pareto.png").stat().st_size > 10_000
