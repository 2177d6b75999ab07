# SPDX-License-Identifier: Apache-2.0
"""The benchmark and the step study write what they promise; no figure of speed is judged here."""

import json
import math
from pathlib import Path

import pytest

from op3_fall.bench import bench_sim
from op3_fall.convergence import STEPS_MS, convergence
from op3_fall.errors import BadInputError

FIGURES = {
    "peak_torque_load", "peak_gear_load", "peak_floor_force", "peak_head_acceleration",
    "peak_head_speed", "impact_time",
}  # fmt: skip


def test_bench_writes_figures_ratios_and_goals(tmp_path: Path) -> None:
    result = bench_sim(tmp_path, seconds=0.01, counts=(1, 3), singles=2)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["figures"] == result["figures"]
    assert [(f["name"], f["simulations"]) for f in summary["figures"]] == [
        ("mj_step, one thread", 2), ("Simulation, one by one", 2),
        ("Simulation", 1), ("mjbatch", 1), ("Simulation", 3), ("mjbatch", 3),
    ]  # fmt: skip
    for figure in summary["figures"]:
        assert figure["rounds"] >= 5
        assert figure["physics_steps_per_s"] == pytest.approx(10 * figure["control_steps_per_s"])
    assert set(summary["simulation_to_mjbatch_ratio"]) == {"1", "3"}
    assert summary["goals"]["ratio_reached"] is None  # no batch large enough
    memory = summary["memory"]
    assert memory["simulations"] == 3
    assert 0 <= memory["growth_mb"] < memory["peak_mb"]
    assert {"mujoco", "mjbatch", "numpy"} <= set(summary["versions"])
    assert summary["python"] and summary["cpu_count"] >= 1


def test_convergence_compares_every_step_with_the_finest(tmp_path: Path) -> None:
    convergence(tmp_path, falls=4, duration_s=0.1)
    summary = json.loads((tmp_path / "summary.json").read_text())
    rows = summary["steps"]
    assert [row["step_ms"] for row in rows] == list(STEPS_MS)
    assert all(set(row["compared"]) == FIGURES for row in rows)
    assert all(f"{k}_error" in row for k in FIGURES for row in rows)
    for row in rows:
        steps = rows[0]["physics_steps"]
        assert math.isclose(steps / row["physics_steps"], row["step_ms"] / rows[0]["step_ms"])
    assert rows[0]["peak_head_speed_error"] == 0
    table = (tmp_path / "convergence.md").read_text().splitlines()
    assert {line.count("|") for line in table} == {len(STEPS_MS) + 2}


def test_convergence_wants_a_fall_in_each_direction(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="allowed is 4 or more"):
        convergence(tmp_path, falls=3)


def test_the_environments_are_raced_against_mjbatch_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gymnasium")
    from op3_fall import bench_env

    monkeypatch.setattr(bench_env, "MEMORY_COUNT", 4)
    monkeypatch.setattr(bench_env, "_WARM_UP_STEPS", 2)
    result = bench_env.bench_env(tmp_path, seconds=0.01, counts=(1, 3), rivals=(2,))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["figures"] == result["figures"]
    assert [(f["name"], f["simulations"]) for f in summary["figures"]] == [
        ("vector environment", 1), ("mjbatch", 1), ("vector environment", 3), ("mjbatch", 3),
        ("AsyncVectorEnv", 2),
    ]  # fmt: skip
    assert set(summary["vector_to_mjbatch_ratio"]) == {"1", "3"}
    assert all(0 < ratio < 1.5 for ratio in summary["vector_to_mjbatch_ratio"].values())
    assert summary["vector_to_async_ratio"] > 0
    assert summary["memory"]["robots"] == 4
    assert 0 < summary["memory"]["before_mb"] < summary["memory"]["peak_mb"]
    assert summary["goals"]["ratio_reached"] is None  # no batch large enough
