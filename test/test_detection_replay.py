# SPDX-License-Identifier: Apache-2.0
"""A replayed episode is the one of the benchmark: same times, with pictures of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from op3_fall import detection_replay, rendering, video
from op3_fall.detection_replay import replay
from op3_fall.detection_report import alarms_of, operated
from op3_fall.detection_runs import observe
from op3_fall.detection_set import FALL_S
from op3_fall.detection_watch import OURS, PROFILES, Label, Observed
from op3_fall.detectors import DetectorConfig
from op3_fall.episodes import draw
from op3_fall.errors import BadInputError

CONFIG = DetectorConfig()
SEEDS = [4, 0, 6]  # slipped, pushed standing, tipped slowly


@pytest.fixture(scope="module")
def batch() -> Observed:
    return observe(draw(SEEDS), FALL_S, CONFIG, no_return=True)


def same(one: float | None, other: float) -> bool:
    return np.isnan(other) if one is None else abs(one - other) < 1e-6


@pytest.mark.parametrize("k", range(len(SEEDS)))
def test_the_times_are_those_of_the_batch(batch: Observed, k: int, tmp_path: Path) -> None:
    told = replay(SEEDS[k], tmp_path, CONFIG, video=False)
    json.dumps(told, allow_nan=False)
    assert told["kind"] == batch.episodes.kind[k]
    assert told["label"] == Label(batch.label[k]).name.lower() == "fall"
    assert same(told["event_s"], batch.episodes.event_s[k])
    assert same(told["contact_s"], batch.contact_s[k])
    assert same(told["no_return_s"], batch.no_return_s[k])
    for name, at in operated(CONFIG.fall).items():
        in_batch = alarms_of(batch, name, at, CONFIG.fall.settle_s)[k]
        assert same(told["alarm_s"][name], in_batch), name
    assert same(told["alarm_s"][OURS], batch.verdict[PROFILES[0]].alarm_s[k])
    for profile in PROFILES:
        felt = [f.time_s for f in batch.verdict[profile].felt[k]]
        assert told["felt_s"][profile] == pytest.approx(felt) and felt
    assert told["event_s"] < told["no_return_s"] <= told["contact_s"]
    assert [p.name for p in tmp_path.iterdir()] == [f"episode_{SEEDS[k]}.png"]
    pixels = np.asarray(Image.open(tmp_path / f"episode_{SEEDS[k]}.png").convert("L"))
    assert pixels.shape == (1536, 1440) and (pixels < 128).mean() > 0.01


def test_what_did_not_happen_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection_replay, "NON_FALL_S", 2.0)
    told = replay(8, tmp_path, CONFIG, video=False)
    assert (told["seed"], told["kind"], told["label"]) == (8, "standing", "non_fall")
    assert told["no_return_s"] is told["contact_s"] is None
    assert set(told["alarm_s"].values()) == {None}
    assert told["felt_s"] == {"extended": [], "stock": []}
    assert (tmp_path / "episode_8.png").exists()


def test_the_video_has_both_robots_and_the_contact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips: list[Any] = []
    videos: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(rendering, "film_strip", lambda *args: strips.append(args))
    monkeypatch.setattr(
        video, "write_pair_video", lambda *args, **more: videos.append((args, more))
    )
    told = replay(0, tmp_path, CONFIG, video=True)
    (strip,), ((path, _, alone, braced), more) = strips, videos[0]
    assert (strip[0].name, path.name) == ("episode_0_strip.png", "episode_0.mp4")
    times = more["times_s"]
    assert alone.shape == braced.shape == (len(times), alone.shape[1])
    assert all(len(load) == len(times) for load in more["loads_n_m"])
    # Until the alarm both do the same, then one braces.
    noticed = np.searchsorted(times, told["alarm_s"][OURS])
    assert np.array_equal(alone[:noticed], braced[:noticed])
    assert not np.allclose(alone[-1], braced[-1], atol=0.1)
    assert times[0] < told["event_s"] < told["contact_s"] < times[-1]
    assert more["slow_window_s"][0] < told["contact_s"] < more["slow_window_s"][1]
    assert (told["contact_s"], "first contact") in more["captions"][0]
    assert (told["event_s"], "pushed standing") in more["captions"][1]
    picks = strip[4]
    assert len(picks) == 6 and picks == sorted(picks)
    assert picks[0] == pytest.approx(told["event_s"], abs=1e-6)


def test_missing_opengl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_gl_context_class", lambda: None)
    monkeypatch.setattr(detection_replay, "NON_FALL_S", 1.6)
    with pytest.raises(BadInputError, match=r"OpenGL does not work .* install it with: sudo apt"):
        replay(8, tmp_path, CONFIG, video=True)


def test_a_seed_below_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as error:
        replay(-1, tmp_path / "out", CONFIG, video=False)
    assert str(error.value) == (
        "seed is -1; allowed is 0 or more; take one of the worst cases in summary.json"
    )
    assert not (tmp_path / "out").exists()
