# SPDX-License-Identifier: Apache-2.0
"""`op3-fall play` shows what evaluation runs; `op3-fall bench policy` writes what it promises."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

pytest.importorskip("gymnasium")

from policy_samples import contract, layers, model, write

from op3_fall import play, rendering
from op3_fall.bench_policy import GOALS_US, bench_policy
from op3_fall.cli import main
from op3_fall.errors import BadInputError
from op3_fall.model import load_model
from op3_fall.play import Play, run_play
from op3_fall.rendering import Painter


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plain = contract()
    network = layers(plain.observation_length, plain.action_length)
    path = tmp_path_factory.mktemp("policy") / "small.onnx"
    return write(path, model(network), contract(network).to_json())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short video of few pixels, if pictures can be made here."""
    monkeypatch.setattr(play, "SIZE", (160, 120))
    monkeypatch.setattr(play, "SHOWN_S", -0.6)
    try:
        with Painter(load_model().mj, 16, 16):
            pass
    except BadInputError as error:
        pytest.skip(str(error))


def frames(path: Path) -> tuple[dict[str, Any], int]:
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    return about, sum(1 for _ in reader)  # type: ignore[return-value]


def test_falls_become_a_video(
    policy: Path, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "falls.mp4"
    assert run_play(Play(policy, falls=2, scenario="front", video=video)) == 0
    said = capsys.readouterr().out
    assert "small.onnx: front" in said and "damage index" in said
    assert said.replace("\n", "").endswith(f"Video: {video}")
    about, count = frames(video)
    assert about["size"] == (160, 120) and about["fps"] == 25
    assert count == pytest.approx(about["duration"] * 25, abs=2)
    assert 2 * 0.1 * 25 < count < 2 * 0.4 * 25, "from the start until 0.6 s before the contact"
    assert [path.name for path in tmp_path.iterdir()] == ["falls.mp4"]


def test_where_no_window_opens_a_video_takes_its_place(
    policy: Path, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run_play(Play(policy, falls=1, out=tmp_path / "new")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "No window, a video instead: a window was asked for, but there is no usable display "
        "(DISPLAY is '')",
        f"Video: {tmp_path}/new/play.mp4",
    ]
    assert frames(tmp_path / "new" / "play.mp4")[1] > 2


def test_a_window_shows_one_fall_after_the_other(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[float, Any]] = []

    def window(mj: Any, given: Iterable[tuple[float, Any]]) -> None:
        shown.extend(given)

    monkeypatch.setattr(rendering, "play_human", window)
    assert run_play(Play(policy, falls=2, scenario="front", out=tmp_path / "none")) == 0
    assert not list(tmp_path.iterdir())
    times, height = np.array([now for now, _ in shown]), np.array([qpos[2] for _, qpos in shown])
    steps = np.diff(times)
    assert (steps > 0).all() and np.isclose(steps, 0.008).all()
    stands = height > 0.25
    assert stands[0] and not stands[-1]
    assert (np.diff(stands.astype(int)) == 1).sum() == 1, "the second fall begins upright"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"scenario": "up"}, "scenario 'up' is unknown; allowed are all, front_weak, front, "),
        ({"falls": 0},
         "number of falls is 0; allowed is a whole number from 1 to 1000; give one"),
        ({"seed": -1}, "seed is -1; allowed is a whole number from 0 to 262144; give one"),
        ({"video": Path("falls.avi")}, "picture path is 'falls.avi'; allowed is a name that ends "
         "in .mp4 in an existing writable folder; make the folder or choose another"),
        ({"policy": Path("none.onnx")}, "'none.onnx' cannot be read (No such file or directory); "
         "allowed is a policy file; correct the path"),
        ({"policy": Path("arm")}, "policy is 'arm'; allowed are arms, arms_legs, roll and ONNX "
         "files; correct the name or the path"),
    ],
)  # fmt: skip
def test_bad_input_is_told_before_anything_falls(
    policy: Path, settings: dict[str, Any], text: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"policy": policy, "out": tmp_path / "out"}
    with pytest.raises(BadInputError) as caught:
        run_play(Play(**given | settings))
    assert str(caught.value).startswith(text) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_benchmark_times_every_part(policy: Path, tmp_path: Path) -> None:
    result = bench_policy(tmp_path, seconds=0.2, policy=policy)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["parts"] == result["parts"]
    assert set(summary["parts"]) == set(GOALS_US)
    for part, row in summary["parts"].items():
        assert 0 < row["p50_us"] <= row["p99_us"] <= row["p99.9_us"]
        assert row["reached"] == (row["p99_us"] < GOALS_US[part])
        assert row["steps"] > 10
    whole, *inside = (summary["parts"][part]["p50_us"] for part in GOALS_US)
    assert whole > max(inside)
    assert summary["file"]["size_mb"] == policy.stat().st_size / 1e6
    assert summary["file"]["reached"] is True


def test_the_benchmark_tells_of_a_missing_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    nowhere, out = tmp_path / "nowhere.onnx", tmp_path / "out"
    assert main(["bench", "policy", "--policy", str(nowhere), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"op3-fall: '{nowhere}' cannot be read (No such file or directory); allowed is a policy "
        "file; correct the path\n"
    )
    assert not list(tmp_path.iterdir())
