# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the detectors on a tiny set: what it writes, and laws of its figures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from op3_fall import detect
from op3_fall.cli import main
from op3_fall.detection_report import RULES, alarms_of, curve, operated
from op3_fall.detection_set import SetSize, simulate_set, training_falls
from op3_fall.detection_tuning import tune
from op3_fall.detection_watch import OURS, PROFILES, Label
from op3_fall.detector_file import load_detector
from op3_fall.detectors import DetectorConfig
from op3_fall.episodes import KINDS, seeds_of
from op3_fall.recipes import FALLS, NON_FALLS

CONFIG = DetectorConfig()
TINY = SetSize(falls=2, non_falls=1)


@pytest.fixture(scope="module")
def seen() -> Any:
    return simulate_set(TINY, CONFIG)


@pytest.fixture(scope="module")
def told(seen: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The command's folder and summary."""
    out = tmp_path_factory.mktemp("detect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect, "simulate_set", lambda *args, **how: seen)
        detect.run_detect(detect.Detect(out=out))
    return out, json.loads((out / "summary.json").read_text())


def test_every_kind_is_in_the_set_and_most_do_what_their_name_says(seen: Any) -> None:
    assert sorted(set(seen.held.episodes.kind)) == sorted(FALLS)
    assert sorted(set(seen.quiet.episodes.kind)) == sorted(NON_FALLS)
    assert (seen.held.label == Label.FALL).sum() >= 8
    assert (seen.quiet.label == Label.NON_FALL).sum() >= 8
    np.testing.assert_array_equal(seen.held.episodes.seed, seen.braced.episodes.seed)


def test_no_seed_of_the_training_split_is_in_the_test_split(seen: Any) -> None:
    assert not set(training_falls(TINY)) & set(seen.held.episodes.seed.tolist())
    assert all(KINDS[s % len(KINDS)] == kind for kind in KINDS for s in seeds_of(kind, 3, 7))


def test_the_margin_over_its_threshold_is_the_alarm(seen: Any) -> None:
    """What the curves are drawn from, and what the detector did, are the same."""
    at = operated(CONFIG.fall)[OURS]
    from_scores = alarms_of(seen.held, OURS, at, CONFIG.fall.settle_s)
    fell = seen.held.label == Label.FALL
    for profile in PROFILES:
        alarm_s = seen.held.verdict[profile].alarm_s
        # The tilt that is lost whatever the capture point says may be quicker.
        assert (alarm_s[fell] <= np.nan_to_num(from_scores[fell], nan=np.inf) + 1e-9).all()
        same = np.isclose(alarm_s[fell], from_scores[fell])
        assert same.mean() > 0.7


def test_the_point_of_no_return_lies_between_the_event_and_the_contact(seen: Any) -> None:
    fell = seen.held.label == Label.FALL
    no_return, event = seen.held.no_return_s[fell], seen.held.episodes.event_s[fell]
    assert (no_return >= event - 0.016).all()
    assert (no_return <= seen.held.contact_s[fell] + 1e-9).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_more_careful_rule_alarms_less(seen: Any, rule: str) -> None:
    """Recall also falls at the eager end, where the alarm is there before the disturbance."""
    found = curve(seen, rule, 0.016, 0.3)
    assert (np.diff(found.near_share) <= 1e-12).all()
    assert found.false_alarms_per_hour[-1] <= found.false_alarms_per_hour[0]
    assert found.recall.max() > 0.5 and found.recall[-1] < found.recall.max() + 1e-12
    best = found.recall.argmax()
    assert (np.diff(found.recall[best:]) <= 1e-12).all()


def test_the_command_writes_pictures_and_a_summary(told: tuple[Path, Any]) -> None:
    out, summary = told
    assert {p.name for p in out.glob("*.png")} == {
        "curves.png", "leads.png", "directions.png", "impacts.png",
    }  # fmt: skip
    assert summary["split"] == "test" and summary["settings"]["size"] == "default"
    assert set(summary["rules"]) == set(summary["curves"]) == set(RULES)
    assert {g["profile"] for g in summary["goals"]} == {"both", *PROFILES}
    by_kind = summary["rules"][OURS]["by_kind"]
    assert sum(k["falls"] for k in by_kind.values()) == summary["episodes"]["held"]["fall"]


def test_the_table_says_what_the_summary_says(
    told: tuple[Path, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from op3_fall.detection_tables import print_report

    print_report(told[1])
    text = capsys.readouterr().out
    ours = told[1]["rules"][OURS]
    assert f"{ours['falls']['falls']} falls" in text and ours["label"] in text
    assert "op3-fall detect --replay SEED" in text


def test_tuning_searches_a_split_of_its_own_and_its_file_reads_back(tmp_path: Path) -> None:
    best, tried = tune(SetSize(1, 1), CONFIG)
    assert {"alarm", "impact"} == set(tried) and len(tried["alarm"]) > 50
    fewest = min(t["false_alarms"] for t in tried["alarm"])
    mine = [t for t in tried["alarm"] if (t["margin_m"], t["hold_s"]) ==
            (best.fall.margin_m, best.fall.hold_s)]  # fmt: skip
    assert mine[0]["false_alarms"] == fewest
    from op3_fall.detector_file import detector_yaml

    path = tmp_path / "detector.yaml"
    path.write_text(detector_yaml(best))
    assert load_detector(path) == best
    untouched = replace(best.fall, margin_m=CONFIG.fall.margin_m, hold_s=CONFIG.fall.hold_s)
    assert untouched == CONFIG.fall


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seed", "-1"], "op3-fall: seed is -1; allowed is from 0 to 90; "),
        (["--replay", "-3"], "op3-fall: seed is -3; allowed is 0 or more; "),
        (["--video"], "op3-fall: video of no episode; allowed is --video with --replay; add "),
        (["--detector", "none.yaml"], "op3-fall: detector file 'none.yaml' cannot be read "),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(text) and error.count("\n") == 1
