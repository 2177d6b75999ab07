# SPDX-License-Identifier: Apache-2.0
"""Pictures of falls: their size and content, videos that play, and errors in one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from op3_fall import rendering
from op3_fall.errors import BadInputError
from op3_fall.model import load_model
from op3_fall.rendering import Painter, film_strip, frame_camera, play_human
from op3_fall.video import write_pair_video

CYCLE_S = 0.008
CYCLES = 10


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return load_model().mj


@pytest.fixture(scope="module")
def painter(model: mujoco.MjModel) -> Iterator[Painter]:
    try:
        opened = Painter(model, 320, 240)
    except BadInputError as error:
        pytest.skip(str(error))
    with opened:
        yield opened


@pytest.fixture
def motion(model: mujoco.MjModel) -> NDArray[np.float64]:
    """The robot slides 0.5 m to the front, (t, nq)."""
    qpos = np.tile(model.qpos0, (CYCLES, 1))
    qpos[:, 0] = np.linspace(0, 0.5, CYCLES)
    qpos[:, 2] += 0.28
    return qpos


def times() -> NDArray[np.float64]:
    return np.arange(1.0, CYCLES + 1) * CYCLE_S


def write(path: Path, model: mujoco.MjModel, motion: NDArray[np.float64], **more: Any) -> None:
    loads = np.linspace(1, 9, CYCLES)
    write_pair_video(
        path, model, motion, motion[::-1], labels=("stiff", "compliant"), times_s=times(),
        loads_n_m=(loads, loads / 2), captions=([(0.01, "falling")], []), hold_s=0.1, **more,
    )  # fmt: skip


def refused(call: object, *args: object, **named: object) -> str:
    assert callable(call)
    with pytest.raises(BadInputError) as caught:
        call(*args, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_picture_shows_the_robot(
    model: mujoco.MjModel, painter: Painter, motion: NDArray[np.float64]
) -> None:
    camera = frame_camera(model, motion, aspect=320 / 240)
    first, last = painter.paint(motion[0], camera), painter.paint(motion[-1], camera)
    assert first.shape == (240, 320, 3)
    assert first.dtype == np.uint8
    assert first.std() > 10
    moved = np.abs(first.astype(int) - last).max(axis=-1) > 20
    assert moved.sum() > 2000


def test_camera_keeps_the_whole_motion_in_the_picture(
    model: mujoco.MjModel, painter: Painter, motion: NDArray[np.float64]
) -> None:
    camera = frame_camera(model, motion, aspect=320 / 240)
    away = motion[0].copy()
    away[:3] = 50, 50, 50
    empty = painter.paint(away, camera).astype(int)
    for qpos in motion[[0, -1]]:
        robot = np.abs(painter.paint(qpos, camera) - empty).max(axis=-1) > 30
        # Not the lower edge: the floor mirrors the robot there.
        border = [robot[0], robot[:, 0], robot[:, -1]]
        assert robot.sum() > 2000
        assert not any(side.any() for side in border)


def test_video_plays(
    model: mujoco.MjModel, painter: Painter, motion: NDArray[np.float64], tmp_path: Path
) -> None:
    write(tmp_path / "fall.mp4", model, motion, slow_motion=0.5)
    assert [p.name for p in tmp_path.iterdir()] == ["fall.mp4"]
    reader = imageio_ffmpeg.read_frames(tmp_path / "fall.mp4")
    meta = next(reader)
    frames = list(reader)
    assert meta["size"] == (1280, 720)
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p")
    assert meta["fps"] == 50
    # 72 ms at half speed are 8 frames of 10 ms; 0.1 s of the last are 5 more.
    assert len(frames) == 8 + 5
    assert np.frombuffer(frames[0], dtype=np.uint8).std() > 10


def test_same_falls_same_bytes(
    model: mujoco.MjModel, painter: Painter, motion: NDArray[np.float64], tmp_path: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, model, motion)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_film_strip(
    model: mujoco.MjModel, painter: Painter, motion: NDArray[np.float64], tmp_path: Path
) -> None:
    film_strip(tmp_path / "fall.png", model, motion, times(), [0.01, 0.03, 0.05, 0.08])
    assert [p.name for p in tmp_path.iterdir()] == ["fall.png"]
    with Image.open(tmp_path / "fall.png") as strip:
        assert strip.size == (4 * 420 + 3 * 12, 560 + 64)
        assert np.asarray(strip).std() > 10


def test_bad_paths_and_speeds_are_refused(
    model: mujoco.MjModel, motion: NDArray[np.float64], tmp_path: Path
) -> None:
    assert "ends in .mp4" in refused(write, tmp_path / "fall.gif", model, motion)
    assert "existing writable folder" in refused(write, tmp_path / "no/fall.mp4", model, motion)
    assert "slow_motion is 0" in refused(
        write, tmp_path / "fall.mp4", model, motion, slow_motion=0.0
    )
    picture = tmp_path / "fall.jpg"
    assert "ends in .png" in refused(film_strip, picture, model, motion, times(), [0.0])
    assert list(tmp_path.iterdir()) == []


def test_missing_opengl_is_told(model: mujoco.MjModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_gl_context_class", lambda: None)
    text = refused(Painter, model, 64, 48)
    assert "OpenGL" in text
    assert "sudo apt install libegl1 (or libosmesa6 and MUJOCO_GL=osmesa)" in text


@pytest.mark.skipif(not rendering.sys.platform.startswith("linux"), reason="displays of Linux")
def test_window_without_display_is_refused(
    model: mujoco.MjModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "no usable display" in refused(play_human, model, [])
    monkeypatch.setenv("DISPLAY", ":987")
    assert "DISPLAY is ':987'" in refused(play_human, model, [])
