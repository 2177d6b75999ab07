# SPDX-License-Identifier: Apache-2.0
"""Torque logs: what is written is read back, twice the same bytes, and errors in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from op3_fall.bags import TOPICS, Imu, read_torque_log, write_torque_log
from op3_fall.errors import BadInputError
from op3_fall.robot import JOINTS

CYCLES = 375
TIMES_S = 0.008 * np.arange(1, CYCLES + 1)
MARKERS = [(0.61, "first impact"), (0.3, "fall noticed")]


def log(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    joints = (CYCLES, len(JOINTS))
    effort = rng.normal(size=joints)
    imu = Imu(rng.normal(size=(CYCLES, 4)), rng.normal(size=(CYCLES, 3)),
              rng.normal(size=(CYCLES, 3)))  # fmt: skip
    fields = {
        "times_s": TIMES_S, "joint_names": JOINTS, "position": rng.normal(size=joints),
        "velocity": rng.normal(size=joints), "goal": rng.normal(size=joints), "effort": effort,
        "torque_load": np.abs(effort).sum(axis=-1), "imu": imu, "markers": MARKERS,
    }  # fmt: skip
    return fields | changes


def refusal(path: Path, **changes: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        write_torque_log(path, **log(**changes))
    return str(caught.value)


def reading_refusal(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        read_torque_log(path)
    return str(caught.value)


def test_round_trip(tmp_path: Path) -> None:
    given = log()
    write_torque_log(tmp_path / "fall", **given)
    back = read_torque_log(tmp_path / "fall")
    assert back["joint_names"] == JOINTS
    np.testing.assert_allclose(back["times_s"], TIMES_S, rtol=0, atol=1e-9)
    for name in ("position", "velocity", "effort", "torque_load", "goal"):
        np.testing.assert_array_equal(back[name], given[name])
    for name in ("orientation", "angular_velocity", "linear_acceleration"):
        np.testing.assert_array_equal(getattr(back["imu"], name), getattr(given["imu"], name))
    assert back["markers"] == sorted(MARKERS)


def test_optional_topics_are_absent(tmp_path: Path) -> None:
    write_torque_log(tmp_path / "fall", **log(velocity=None, goal=None, imu=None, markers=[]))
    back = read_torque_log(tmp_path / "fall")
    assert {"goal", "imu"}.isdisjoint(back)
    assert back["markers"] == []
    assert not back["velocity"].any()
    text = (tmp_path / "fall/metadata.yaml").read_text()
    assert TOPICS["present"][0] in text
    assert TOPICS["torque_load"][0] in text
    assert TOPICS["goal"][0] not in text


def test_same_log_same_bytes(tmp_path: Path) -> None:
    for folder in "ab":
        write_torque_log(tmp_path / folder / "fall", **log())
    files = sorted(p.name for p in (tmp_path / "a/fall").iterdir())
    assert files == ["fall.mcap", "metadata.yaml"]
    for name in files:
        assert (tmp_path / "a/fall" / name).read_bytes() == (
            tmp_path / "b/fall" / name
        ).read_bytes()


def test_existing_path_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "fall").write_text("mine")
    text = refusal(tmp_path / "fall")
    assert "exists already" in text
    assert "\n" not in text
    assert (tmp_path / "fall").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"effort": np.zeros((CYCLES, 19))}, "effort of the torque log has shape (375, 19)"),
        ({"position": np.full((CYCLES, 20), np.nan)}, "7500 values not finite"),
        ({"times_s": TIMES_S[::-1]}, "increasing times"),
        ({"markers": [(float("nan"), "never")]}, "times of the torque log"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    text = refusal(tmp_path / "fall", **changes)
    assert said in text
    assert "\n" not in text
    assert list(tmp_path.iterdir()) == []


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("op3_fall.bags.Writer.write", full)
    assert "No space left on device" in refusal(tmp_path / "fall")
    assert list(tmp_path.iterdir()) == []


def test_unreadable_logs(tmp_path: Path) -> None:
    missing, empty, cut = (tmp_path / name for name in ("missing", "empty", "cut"))
    empty.mkdir()
    write_torque_log(cut, **log())
    mcap = cut / "cut.mcap"
    mcap.write_bytes(mcap.read_bytes()[:5000])
    for path in (missing, empty, cut):
        text = reading_refusal(path)
        assert f"torque log '{path}' cannot be read" in text
        assert "\n" not in text
