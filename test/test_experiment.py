# SPDX-License-Identifier: Apache-2.0
"""The experiment's files: complete, repeatable, honest about what broke or was cut short."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from op3_fall import experiment as module
from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.experiment import Experiment, load_goal, run_experiment, table
from op3_fall.experiments import FallRun
from op3_fall.metrics import METRICS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for folder in folders:
        run_experiment(Experiment(falls=4, duration_s=1.6, out=folder, bag=True))
    return folders


def test_two_runs_with_one_seed_give_identical_files(runs: list[Path]) -> None:
    files = [sorted(p.relative_to(r) for p in r.rglob("*") if p.is_file()) for r in runs]
    assert files[0] == files[1]
    assert {"summary.json", "envelope.png", "fall_01.csv", "fall_04.png"} <= {
        str(f) for f in files[0]
    }
    for name in files[0]:
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name


def test_summary_is_what_the_logs_say(runs: list[Path]) -> None:
    summary = json.loads((runs[0] / "summary.json").read_text())
    assert summary["complete"] and summary["falls_done"] == 4
    settings = summary["settings"]["detector"]
    assert [f["mode"] for f in summary["falls"]] == ["stiff", "compliant"] * 2
    for fall in summary["falls"]:
        with (runs[0] / f"fall_{fall['fall']:02d}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 200  # 1.6 s at 125 Hz
        peaks = np.array([float(r["torque_load_peak_n_m"]) for r in rows])
        times = np.array([float(r["time_s"]) for r in rows])
        assert peaks.max() == pytest.approx(fall["whole_fall_peak_torque_load_n_m"], rel=1e-5)
        after = times - 1e-9 > fall["first_contact_s"]
        assert peaks[after].max() == pytest.approx(fall["peak_torque_load_n_m"], rel=1e-5)
        soft = min(float(r["stiffness_scale"]) for r in rows)
        assert soft == (1.0 if fall["mode"] == "stiff" else 0.8)
        # The impact is felt within two driver cycles of the true contact, and not before it.
        assert 0 < fall["impacts_felt_s"][0] - fall["first_contact_s"] < 0.025
        assert [float(r["time_s"]) for r in rows if float(r["impact_onset"])] == pytest.approx(
            fall["impacts_felt_s"]
        )
        # The capture point is outside at the alarm, and the body was in the air from then on.
        fallen = [r for r in rows if float(r["fall_phase"])]
        assert float(fallen[0]["time_s"]) == pytest.approx(fall["alarm_s"])
        assert float(fallen[0]["margin_m"]) > settings["fall"]["margin_m"]
        assert float(fallen[0]["clearance_m"]) > 0.1
        felt = next(r for r in rows if float(r["impact_onset"]))
        assert float(felt["clearance_m"]) < settings["impact"]["near_m"]
        assert all(r["clearance_m"] == "nan" for r in rows if not float(r["fall_phase"]))


def test_falls_of_a_pair_are_the_same_until_one_softens(runs: list[Path]) -> None:
    pair = [np.genfromtxt(runs[0] / f"fall_0{k}.csv", delimiter=",", names=True) for k in (1, 2)]
    softened = json.loads((runs[0] / "summary.json").read_text())["falls"][1]["softened_s"]
    before = pair[0]["time_s"] <= softened
    assert before.sum() > 50
    for name in pair[0].dtype.names or ():
        np.testing.assert_array_equal(pair[0][name][before], pair[1][name][before])


def test_the_table_has_every_metric_and_shows_what_does_not_exist_as_a_dash(
    runs: list[Path],
) -> None:
    header, rows = table(json.loads((runs[0] / "summary.json").read_text()))
    assert len(header) == 5 and len(rows) == len(METRICS)
    assert all("nan" not in cell for row in rows for cell in row)


def test_an_interruption_keeps_the_finished_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate, calls = module._simulate, []

    def interrupted(*args: object) -> FallRun:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return simulate(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_simulate", interrupted)
    monkeypatch.setattr(module, "_CHUNK", 2)
    run_experiment(Experiment(falls=6, duration_s=1.0, out=tmp_path))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert not summary["complete"] and summary["falls_done"] == 2
    assert sorted(p.name for p in tmp_path.glob("fall_*.csv")) == ["fall_01.csv", "fall_02.csv"]


def test_a_diverged_fall_is_reported_and_never_averaged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate = module._simulate

    def broken(*args: object) -> FallRun:
        run = simulate(*args)  # type: ignore[arg-type]
        run.truth.diverged[1] = True
        run.truth.impact_peak.torque_load[1] = 1e9
        return run

    monkeypatch.setattr(module, "_simulate", broken)
    summary = run_experiment(Experiment(falls=4, duration_s=1.6, out=tmp_path))
    assert summary["falls_diverged"] == 1 and summary["falls"][1]["diverged"]
    assert summary["modes"]["compliant"]["peak_torque_load_n_m"]["mean"] < 100
    assert summary["compliant_minus_stiff"]["peak_torque_load_n_m"]["pairs"] == 1


def test_a_detector_file_decides_when_a_fall_is_noticed(tmp_path: Path, runs: list[Path]) -> None:
    """Its other parameters stay as they are, and the summary tells all of them."""
    before = json.loads((runs[0] / "summary.json").read_text())
    path = tmp_path / "detector.yaml"
    path.write_text("fall_detector:\n  ros__parameters:\n    margin_m: 0.1\n")
    out = tmp_path / "out"
    after = run_experiment(Experiment(falls=2, duration_s=1.6, out=out, detector=path))
    changed = before["settings"]["detector"]
    changed["fall"]["margin_m"] = 0.1
    assert json.loads((out / "summary.json").read_text())["settings"]["detector"] == changed
    for was, now in zip(before["falls"], after["falls"], strict=False):
        assert now["alarm_s"] > was["alarm_s"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r_elbow: 0.4", "joint 'r_elbow' is unknown; allowed are head_pan, "),
        ("r_el: .nan", "r_el is nan rad; allowed is -1.5708 to 2.5725 rad; "),
        ("r_el: 3.0", "r_el is 3.0 rad; allowed is -1.5708 to 2.5725 rad; "),
        ("r_el: bent", "r_el is bent rad; allowed is -1.5708 to 2.5725 rad; "),
        ("[1, 2", "cannot be read ("),
        ("0.4", "holds no mapping; allowed are 'joint: angle in rad' lines; "),
        ("!!python/object/apply:os.system [echo]", "cannot be read ("),
    ],
)
def test_bad_goal_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "goal.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError) as error:
        load_goal(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"goal file '{path}'")


def test_a_goal_file_overrides_only_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "goal.json"
    path.write_text('{"r_el": 0.1}')
    goal = load_goal(path)
    changed = np.nonzero(goal != robot.POSES["protect_front"])[0]
    assert [robot.JOINTS[i] for i in changed] == ["r_el"]
