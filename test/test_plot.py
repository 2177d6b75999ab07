# SPDX-License-Identifier: Apache-2.0
"""Graphs and scores from bags: the experiment's falls come out as the experiment told them."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import StoragePlugin
from test_bags import JOINTS, joint_state, log, rewrite_as_before, write_foreign

from op3_fall import replay
from op3_fall.bag_reader import NO_EFFORT, read_torque_log
from op3_fall.bags import write_torque_log
from op3_fall.cli import main
from op3_fall.experiment import Experiment, run_experiment
from op3_fall.fall_graphs import Curve, EnvelopePanel, FallPicture, draw_envelopes
from op3_fall.replay import plot_bags, score, table, tilt_curve
from op3_fall.torque_log import FallTrack, ImuTrack, JointTrack, LoadTrack, TorqueLog

FIRST_S = 0.008  # stamp of the first joint states, time zero of a log that is read


@dataclass(frozen=True)
class Recorded:
    experiment: Path
    falls: list[dict[str, Any]]
    bags: list[Path]
    out: Path
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("plot")
    told = run_experiment(Experiment(falls=4, duration_s=2.4, out=folder / "exp", bag=True))
    bags = sorted((folder / "exp/bags").iterdir())
    summary = plot_bags(bags, folder / "out")
    return Recorded(folder / "exp", told["falls"], bags, folder / "out", summary)


def test_modes_and_events_are_those_of_the_experiment(recorded: Recorded) -> None:
    for bag, fall in zip(recorded.summary["bags"], recorded.falls, strict=True):
        assert bag["mode"] == fall["mode"]
        for name in ("alarm_s", "felt_s"):
            assert bag[name] == pytest.approx(fall[name] - FIRST_S), name
        # The experiment notes the decision, the gains' messages the driver cycle that writes.
        for name in ("softened_s", "restored_s"):
            difference = bag[name] - (fall[name] - FIRST_S)
            assert 0 <= difference < 0.02 or (np.isnan(fall[name]) and np.isnan(bag[name]))
        assert bag["impacts_felt_s"] + FIRST_S == pytest.approx(fall["impacts_felt_s"])
        assert bag["lead_time_s"] == pytest.approx(fall["felt_s"] - fall["alarm_s"])


def test_scores_are_those_of_the_logged_load(recorded: Recorded) -> None:
    for number, bag in enumerate(recorded.summary["bags"], 1):
        with (recorded.experiment / f"fall_{number:02d}.csv").open() as file:
            rows = list(csv.DictReader(file))
        times = np.array([float(row["time_s"]) for row in rows]) - FIRST_S
        load = np.array([float(row["torque_load_n_m"]) for row in rows])
        after = (times > bag["felt_s"] - 1e-9) & (times < bag["felt_s"] + 1.8 + 1e-9)
        assert bag["peak_torque_load_n_m"] == pytest.approx(load[after].max(), rel=1e-5)
        whole = np.nanmax(load)  # the first cycle does not know yet that there is effort
        assert bag["whole_bag_peak_torque_load_n_m"] == pytest.approx(whole, rel=1e-5)
        impulse = np.trapezoid(load[after], times[after])
        assert bag["torque_impulse_n_m_s"] == pytest.approx(impulse, rel=1e-4)


def test_the_files(recorded: Recorded) -> None:
    names = sorted(path.name for path in recorded.out.iterdir())
    assert names == [
        *(f"bag_{k:02d}_fall_{k:02d}.png" for k in range(1, 5)), "envelope.png", "summary.json",
    ]  # fmt: skip
    for path in recorded.out.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.shape[1] == 1152 and (pixels < 128).mean() > 0.005
    summary = json.loads((recorded.out / "summary.json").read_text())
    assert summary["modes"]["stiff"]["bags"] == summary["modes"]["compliant"]["bags"] == 2
    stiff, soft = (summary["modes"][m]["peak_torque_load_n_m"] for m in ("stiff", "compliant"))
    assert soft["mean"] < stiff["mean"] and stiff["low"] <= stiff["mean"] <= stiff["high"]
    assert summary["bags"][0]["softened_s"] is None


def test_the_table_is_the_summary(recorded: Recorded) -> None:
    header, rows = table(recorded.summary)
    assert [row[:2] for row in rows] == [
        ["fall_01", "stiff"], ["fall_02", "compliant"], ["fall_03", "stiff"],
        ["fall_04", "compliant"], ["mean of 2", "stiff"], ["mean of 2", "compliant"],
    ]  # fmt: skip
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][5] == f"{recorded.summary['bags'][0]['peak_torque_load_n_m']:.3g}"


def made_up(total: Any, impact: Any, phase: Any) -> TorqueLog:
    """One second a row; one joint carries all of the load."""
    t = np.arange(len(total), dtype=float)
    load = np.array(total, dtype=float)
    torque = np.zeros((len(t), 20))
    torque[:, 4] = -load
    zero, yes = np.zeros(len(t)), np.ones(len(t), dtype=bool)
    whole = zero.astype(np.int64)
    return TorqueLog(
        JOINTS, JointTrack(t, torque, torque, torque),
        fall=FallTrack(t, np.array(phase), zero, np.zeros((len(t), 3)), zero, zero, whole, zero,
                       whole, zero, zero),
        load=LoadTrack(t, yes, torque, load, zero, zero, np.array(impact, dtype=bool), whole,
                       whole, ~yes),
    )  # fmt: skip


def test_scores_by_hand() -> None:
    #           0  1  2  3  4
    felt = made_up([9, 1, 4, 2, 8], [1, 0, 1, 0, 0], [0, 1, 2, 2, 3])
    scores = score(felt)
    assert scores["mode"] == "unknown"
    assert (scores["alarm_s"], scores["felt_s"], scores["lead_time_s"]) == (1, 2, 1)
    assert scores["impacts_felt_s"].tolist() == [2]
    # From 2 s on, and no longer than 1.8 s: 4 N m at 2 s, 2 N m at 3 s.
    assert scores["peak_torque_load_n_m"] == 4
    assert scores["torque_impulse_n_m_s"] == 3
    assert scores["worst_joint_torque_n_m"] == 4
    assert scores["whole_bag_peak_torque_load_n_m"] == 9


def test_without_a_felt_impact_the_largest_load_is_the_clock() -> None:
    scores = score(made_up([1, 2, 7, 4, 1], [0] * 5, [0, 1, 1, 1, 1]))
    assert scores["aligned_s"] == 2
    assert np.isnan(scores["felt_s"]) and np.isnan(scores["lead_time_s"])
    assert scores["torque_impulse_n_m_s"] == 5.5
    # What the robot carried before the alarm, such as a push, does not count.
    assert score(made_up([9, 2, 7, 4, 1], [0] * 5, [0, 1, 1, 1, 1]))["aligned_s"] == 2
    assert score(made_up([9, 2, 7, 4, 1], [0] * 5, [0] * 5))["aligned_s"] == 0


def test_scores_without_effort_are_unknown() -> None:
    scores = score(made_up([np.nan] * 3, [0] * 3, [0, 1, 1]))
    assert scores["alarm_s"] == 1
    for name in (*replay.METRICS, "aligned_s", "whole_bag_peak_torque_load_n_m"):
        assert np.isnan(scores[name]), name


def test_tilt_comes_from_the_imu_where_no_detector_spoke() -> None:
    t = np.linspace(0.0, 0.392, 50)
    force = np.tile([9.80665 * np.sin(0.3), 0.0, 9.80665 * np.cos(0.3)], (50, 1))
    given = replace(log(50), fall=None, imu=ImuTrack(t, np.zeros((50, 4)), 0 * force, force))
    curve = tilt_curve(given)
    assert curve is not None
    np.testing.assert_allclose(curve.values, 0.3, atol=1e-9)
    assert tilt_curve(replace(given, imu=None)) is None


def pictures(monkeypatch: pytest.MonkeyPatch, bags: list[Path], out: Path) -> list[FallPicture]:
    """What `plot_bags` has drawn of each bag."""
    drawn: list[FallPicture] = []
    draw = replay.draw_fall

    def note(path: Path, fall: FallPicture) -> None:
        drawn.append(fall)
        draw(path, fall)

    monkeypatch.setattr(replay, "draw_fall", note)
    plot_bags(bags, out)
    return drawn


def test_a_stock_driver_s_bag_shows_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero = np.zeros(20)
    write_foreign(tmp_path / "x", StoragePlugin.MCAP, lambda k: joint_state(k, effort=zero))
    (fall,) = pictures(monkeypatch, [tmp_path / "x"], tmp_path / "out")
    assert fall.title == "x, gains not recorded"
    assert (fall.load_n_m, fall.scales, fall.tilt_rad) == (None, None, None)
    assert fall.angles_rad is not None and fall.angles_rad.values.shape == (10, 20)
    bag = json.loads((tmp_path / "out/summary.json").read_text())["bags"][0]
    assert bag["notes"] == [NO_EFFORT]
    assert bag["peak_torque_load_n_m"] is None


def test_the_capture_point_is_drawn_where_the_detector_told_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_torque_log(tmp_path / "new", log(100))
    rewrite_as_before(tmp_path / "new", tmp_path / "old")
    new, old = pictures(monkeypatch, [tmp_path / "new", tmp_path / "old"], tmp_path / "out")
    told = log(100).fall
    assert told is not None and new.margin_m is not None
    np.testing.assert_array_equal(new.margin_m.values, told.margin)
    assert old.margin_m is None and old.tilt_rad is not None


def test_a_long_bag_is_drawn_around_its_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_up(range(31), [0] * 31, [0] * 15 + [1] * 16)
    write_torque_log(tmp_path / "long", made)
    write_torque_log(tmp_path / "calm", replace(made, fall=None))
    write_torque_log(tmp_path / "short", made_up(range(6), [0] * 6, [0, 0, 1, 1, 1, 1]))
    bags = [tmp_path / name for name in ("long", "calm", "short")]
    drawn = pictures(monkeypatch, bags, tmp_path / "out")
    assert [fall.span_s for fall in drawn] == [(14, 19), (0, 30), (0, 5)]


def test_bags_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for folder in "ab":
        write_torque_log(tmp_path / folder / "fall", log(100))
    plot_bags([tmp_path / "a/fall", tmp_path / "b/fall"], tmp_path / "out")
    plot_bags([tmp_path / "b/fall"], tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["bag_01_fall.png", "envelope.png", "summary.json"]


def test_envelopes_do_not_go_on_where_a_bag_ends(tmp_path: Path) -> None:
    short = Curve(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    long = Curve(np.array([0.0, 3.0]), np.array([1.0, 0.0]))
    for name, curve in (("short", short), ("long", long)):
        draw_envelopes(tmp_path / f"{name}.png", [EnvelopePanel("load", [curve])], [0.5],
                       ["stiff"], since="impact")  # fmt: skip
    dark = {}
    for name in ("short", "long"):
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int)
        orange = (pixels[..., 0] > 180) & (pixels[..., 2] < 60)
        dark[name] = np.nonzero(orange[150:].any(axis=0))[0].max()
    assert dark["short"] < 0.6 * dark["long"]


READ = (
    "allowed is a rosbag2 folder with /robotis/present_joint_states; check the path or record it "
    "again"
)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, f"torque log '{{path}}' cannot be read (no such folder); {READ}"),
        (lambda path: path.write_text("no bag"),
         f"torque log '{{path}}' cannot be read (no such folder); {READ}"),
        (lambda path: path.mkdir(),
         f"torque log '{{path}}' cannot be read (no metadata.yaml and no MCAP file); {READ}"),
        (lambda path: write_foreign(path, StoragePlugin.MCAP, lambda k: None),
         f"torque log '{{path}}' cannot be read (it has no joint states); {READ}"),
    ],
)  # fmt: skip
def test_bad_bags_are_one_line_and_status_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path], Any],
    message: str,
) -> None:
    path = tmp_path / "x"
    prepare(path)
    assert main(["plot", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"op3-fall: {message.format(path=path)}\n"
    assert not (tmp_path / "out").exists()


def test_no_bags_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "op3-fall: no bags are given; allowed are one or more rosbag2 folders; "
        "give for example results/experiment/bags/*\n"
    )


def test_the_command_says_what_was_cut_and_where_the_graphs_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x"
    write_torque_log(path, log(200))
    raw = (path / "x.mcap").read_bytes()
    (path / "x.mcap").write_bytes(raw[: len(raw) // 2])
    assert main(["plot", str(path), "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    (note,) = read_torque_log(path).notes
    assert err == f"op3-fall: torque log '{path}': {note}\n"
    assert note.startswith("cut short; the ")
    assert f"Graphs: {tmp_path / 'out/envelope.png'}" in out
