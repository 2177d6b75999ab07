# SPDX-License-Identifier: Apache-2.0
"""Pictures of falls: videos of two side by side, film strips, and a live window."""

import copy
import ctypes.util
import importlib
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imageio_ffmpeg
import matplotlib
import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from op3_fall.errors import BadInputError, check_range

__all__ = ["Painter", "film_strip", "frame_camera", "play_human", "write_pair_video"]

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
Captions = Sequence[tuple[float, str]]

_WIDTH, _HEIGHT, _HEADER = 1280, 720, 48  # of the video, pixels
_FOOTER = 64
_PANEL = (_WIDTH // 2, _HEIGHT - _HEADER - _FOOTER)
_STRIP_PANEL = (420, 560)
_DPI = 300
_SHADOW_TEXELS = 2048  # the scene's 8192 doubles the time per frame of a software renderer
_INK, _PAPER, _BAR, _PEAK = (20, 20, 20), (255, 255, 255), (70, 130, 180), (200, 60, 40)


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _gl_context_class() -> Callable[[int, int], Any] | None:
    """The class of OpenGL contexts that works here; None if there is none.

    MuJoCo chooses at its own import, from MUJOCO_GL, and takes GLFW by default, which needs a
    display. By now it is imported, so on Linux its EGL or OSMesa class is taken: they need none,
    and DISPLAY may be stale.
    """
    if sys.platform.startswith("linux") and not os.environ.get("MUJOCO_GL"):
        # PyOpenGL settles on the first platform that is tried, so look before importing.
        for module, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
            if ctypes.util.find_library(library):
                return importlib.import_module(f"mujoco.{module}").GLContext
        if not _has_display():
            return None
    return getattr(mujoco, "GLContext", None)


class Painter:
    """Renders configurations of a model off screen; a context manager."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        """Open an OpenGL context for pictures of that size in pixels.

        Raises:
            BadInputError: OpenGL is missing.
        """
        self._model = copy.copy(model)  # its offscreen buffer and shadows are ours to set
        visual = self._model.vis
        visual.global_.offwidth, visual.global_.offheight = width, height
        visual.quality.shadowsize = min(visual.quality.shadowsize, _SHADOW_TEXELS)
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=2000)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._gl: Any = None
        try:
            make = _gl_context_class()
            if make is None:
                raise OSError("no EGL, OSMesa or display")
            self._gl = make(width, height)
            self._gl.make_current()
            font = mujoco.mjtFontScale.mjFONTSCALE_100.value
            self._context = mujoco.MjrContext(self._model, font)
        except Exception as error:  # each way of making a context fails in its own way
            reason = " ".join(str(error).split())
            raise BadInputError(
                f"OpenGL does not work on this machine ({reason}); pictures need EGL, OSMesa or "
                "a display; install it with: sudo apt install libegl1 (or libosmesa6 and "
                "MUJOCO_GL=osmesa)"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)

    def __enter__(self) -> Self:
        """The painter itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close the OpenGL context."""
        self._context.free()
        self._gl.free()

    def paint(self, qpos: ArrayLike, camera: mujoco.MjvCamera) -> Picture:
        """Picture (height, width, 3) of the configuration (nq,)."""
        self._gl.make_current()
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._model, self._data)
        mujoco.mjv_updateScene(
            self._model, self._data, mujoco.MjvOption(), None, camera,
            mujoco.mjtCatBit.mjCAT_ALL.value, self._scene,
        )  # fmt: skip
        picture = np.empty((self._rect.height, self._rect.width, 3), dtype=np.uint8)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(picture, None, self._rect, self._context)
        return picture[::-1]


def frame_camera(
    model: mujoco.MjModel, *trajectories: ArrayLike, aspect: float = 1.0
) -> mujoco.MjvCamera:
    """The model's free camera, moved sideways and back until it sees all of the motion.

    The camera stands still, so that the floor does and the fall can be judged against it.

    Args:
        model: with the default direction of view.
        trajectories: configurations that must be in the picture, (t, nq) each.
        aspect: width over height of the picture.
    """
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    data, seen = mujoco.MjData(model), []
    solid = np.isfinite(model.geom_rbound) & (model.geom_rbound > 0)  # not the floor
    for qpos in np.concatenate([np.asarray(t)[::-4] for t in trajectories]):
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        seen.append(data.geom_xpos[solid].copy())
    points, radius = np.concatenate(seen), np.tile(model.geom_rbound[solid], len(seen))
    sight, azimuth = np.radians([camera.elevation, camera.azimuth])
    forward = np.array([np.cos(sight) * np.cos(azimuth), np.cos(sight) * np.sin(azimuth),
                        np.sin(sight)])  # fmt: skip
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    # Columns are the picture's axes: to the right, up, away from the viewer.
    axes = np.stack([right, np.cross(right, forward), forward], axis=-1)
    seen_from = points @ axes
    middle = (seen_from.min(axis=0) + seen_from.max(axis=0)) / 2
    camera.lookat[:] = axes @ middle
    half_view = np.tan(np.radians(model.vis.global_.fovy) / 2) * np.array([aspect, 1.0])
    offset = seen_from - middle
    needed = (np.abs(offset[:, :2]) + 1.1 * radius[:, None]) / half_view - offset[:, 2:]
    camera.distance = float(needed.max())
    return camera


def _font(size: int) -> Any:
    """DejaVu Sans as it comes with matplotlib: the same letters on every machine."""
    path = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def write_pair_video(
    path: Path,
    model: mujoco.MjModel,
    qpos_left: ArrayLike,
    qpos_right: ArrayLike,
    *,
    labels: tuple[str, str],
    times_s: ArrayLike,
    loads_n_m: tuple[ArrayLike, ArrayLike] | None = None,
    captions: tuple[Captions, Captions] = ((), ()),
    slow_motion: float = 1.0,
    slow_window_s: tuple[float, float] = (-np.inf, np.inf),
    hold_s: float = 1.0,
    fps: int = 50,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Write two falls side by side as H.264; the same falls give the same bytes on a machine.

    Args:
        path: ends in .mp4; replaced if it exists.
        model: that the falls were simulated with.
        qpos_left: configurations of the left fall, (t, nq).
        qpos_right: of the right one, (t, nq).
        labels: what to write above each.
        times_s: of both, s, increasing, (t,).
        loads_n_m: torque load of each, N m, (t,); drawn as bars below, with their peaks.
        captions: of each, (time in s, text); the latest is shown below the label.
        slow_motion: speed in the slow window, 1 for real time.
        slow_window_s: from when to when `slow_motion` counts, s; always by default.
        hold_s: how long the last frame stays, s.
        fps: frames per second.
        progress: called with the share done, 0 to 1.

    Raises:
        BadInputError: OpenGL is missing, the path is no writable .mp4, or slow_motion is not in
            [0.01, 1].
    """
    check_range("slow_motion", slow_motion, 0.01, 1.0)
    path, times = _picture_path(path, ".mp4"), np.asarray(times_s, dtype=float)
    both = np.asarray(qpos_left), np.asarray(qpos_right)
    camera = frame_camera(model, *both, aspect=_PANEL[0] / _PANEL[1])
    shown = _frame_times(times, slow_motion, slow_window_s, fps)
    loads = None if loads_n_m is None else np.array(loads_n_m, dtype=float)
    with Painter(model, *_PANEL) as painter, _Encoder(path, fps) as encoder:
        drawn, panels = -1, []
        for k, now in enumerate(shown):
            row = max(int(np.searchsorted(times, now + 1e-9, side="right")) - 1, 0)
            if row != drawn:
                drawn, panels = row, [painter.paint(qpos[row], camera) for qpos in both]
            slow = slow_motion < 1 and slow_window_s[0] <= now < slow_window_s[1]
            clock = f"{now:.2f} s" + (f"   {slow_motion:g} x speed" if slow else "")
            frame = _compose(panels, labels, clock, [_latest(c, now) for c in captions])
            if loads is not None:
                _draw_loads(frame, loads[:, : row + 1], float(loads.max()))
            encoder.add(frame)
            progress((k + 1) / len(shown))
        for _ in range(round(hold_s * fps)):
            encoder.add(frame)


def _frame_times(times: Array, speed: float, window: tuple[float, float], fps: int) -> list[float]:
    """Simulated time of each frame."""
    now, shown = float(times[0]), []
    while now <= times[-1] + 1e-9:
        shown.append(now)
        now += (speed if window[0] <= now < window[1] else 1.0) / fps
    return shown


def _latest(captions: Captions, now_s: float) -> str:
    return next((text for at, text in sorted(captions, reverse=True) if at <= now_s), "")


def _compose(
    panels: Sequence[Picture], labels: Sequence[str], clock: str, captions: Sequence[str]
) -> Image.Image:
    frame = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw = ImageDraw.Draw(frame)
    for k, panel in enumerate(panels):
        left = k * _PANEL[0]
        frame.paste(Image.fromarray(panel), (left, _HEADER))
        centre = left + _PANEL[0] // 2
        draw.text((centre, _HEADER // 2), labels[k], _INK, _font(26), anchor="mm")
        draw.text((left + 16, _HEADER + 14), captions[k], _PAPER, _font(24))
    draw.line([(_WIDTH // 2, 0), (_WIDTH // 2, _HEIGHT)], _PAPER, 4)
    draw.text((_WIDTH // 2, _HEADER + _PANEL[1] - 12), clock, _PAPER, _font(24), anchor="mb",
              stroke_width=3, stroke_fill=_INK)  # fmt: skip
    return frame


def _draw_loads(frame: Image.Image, loads: Array, full: float) -> None:
    """A bar of each torque load (2, t) so far, its peak marked; `full` fills the width."""
    draw, top, margin = ImageDraw.Draw(frame), _HEIGHT - _FOOTER, 16
    width = _PANEL[0] - 2 * margin
    for k, load in enumerate(loads):
        left = k * _PANEL[0] + margin
        now, peak = (left + round(width * value / full) for value in (load[-1], load.max()))
        draw.rectangle([left, top + 40, left + width, top + 56], (230, 230, 230))
        draw.rectangle([left, top + 40, now, top + 56], _BAR)
        draw.rectangle([peak - 2, top + 36, peak + 1, top + 60], _PEAK)
        text = f"torque load {load[-1]:.1f} N m"
        draw.text((left, top + 8), text, _INK, _font(20))
        draw.text((left + width, top + 8), f"peak {load.max():.1f} N m", _PEAK, _font(20),
                  anchor="ra")  # fmt: skip


def _picture_path(path: Path, suffix: str) -> Path:
    path = Path(path)
    folder = path.parent
    if path.suffix != suffix or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInputError(
            f"picture path is '{path}'; allowed is a name that ends in {suffix} in an existing "
            "writable folder; make the folder or choose another"
        )
    return path


class _Encoder:
    """Pipes frames to ffmpeg; the video takes its name only when it is complete."""

    def __init__(self, path: Path, fps: int) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.stem}.unfinished.mp4")
        # One thread and no tags: the bytes depend on the frames alone.
        self._command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt",
            "rgb24", "-s", f"{_WIDTH}x{_HEIGHT}", "-r", str(fps), "-i", "-", "-an", "-c:v",
            "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-threads", "1", "-map_metadata",
            "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart",
            str(self._unfinished),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._ffmpeg = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return self

    def add(self, frame: Image.Image) -> None:
        assert self._ffmpeg.stdin is not None
        try:
            self._ffmpeg.stdin.write(frame.tobytes())
        except BrokenPipeError:
            self._refuse(self._ffmpeg.communicate()[1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            if kind is None:
                said = self._ffmpeg.communicate()[1]
                if self._ffmpeg.returncode:
                    self._refuse(said)
                os.replace(self._unfinished, self._path)
        finally:
            self._ffmpeg.kill()
            self._ffmpeg.wait()
            self._unfinished.unlink(missing_ok=True)

    def _refuse(self, said: bytes) -> None:
        reason = " ".join(said.decode(errors="replace").split())
        raise BadInputError(
            f"video '{self._path}' cannot be written ({reason}); allowed is a folder with space "
            "left; choose another"
        )


def film_strip(
    path: Path,
    model: mujoco.MjModel,
    qpos: ArrayLike,
    times_s: ArrayLike,
    picks_s: Sequence[float],
) -> None:
    """Write snapshots of one fall side by side, with their times, as a PNG of 300 dpi.

    Args:
        path: ends in .png; replaced if it exists.
        model: that the fall was simulated with.
        qpos: its configurations, (t, nq).
        times_s: of them, s, increasing, (t,).
        picks_s: when to take a snapshot, s; 5 or 6 fit a page.

    Raises:
        BadInputError: OpenGL is missing or the path is no writable .png.
    """
    path = _picture_path(path, ".png")
    times = np.asarray(times_s, dtype=float)
    rows = [int(np.abs(times - pick).argmin()) for pick in picks_s]
    chosen = np.asarray(qpos)[rows]
    (width, height), gap, band = _STRIP_PANEL, 12, 64
    camera = frame_camera(model, *chosen[:, None], aspect=width / height)
    size = (len(rows) * (width + gap) - gap, height + band)
    strip = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(strip)
    with Painter(model, width, height) as painter:
        for k, row in enumerate(rows):
            left = k * (width + gap)
            strip.paste(Image.fromarray(painter.paint(chosen[k], camera)), (left, 0))
            label = f"{times[row]:.2f} s"
            draw.text((left + width // 2, height + band // 2), label, _INK, _font(40), anchor="mm")
    unfinished = path.with_name(f".{path.stem}.unfinished.png")
    try:
        strip.save(unfinished, dpi=(_DPI, _DPI))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def play_human(model: mujoco.MjModel, frames: Iterable[tuple[float, ArrayLike]]) -> None:
    """Play a motion in a window in real time, until it ends or the window is closed.

    Args:
        model: that the motion was simulated with.
        frames: (time in s, qpos (nq,)) each, in time order; may be a generator.

    Raises:
        BadInputError: there is no display, or none that OpenGL can use.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW warns and we refuse
        import glfw  # here, because the rest of this module works without a display

        # The viewer would wait for ever for a window that cannot be opened.
        if not _has_display() or not glfw.init():
            raise _no_display()
    import mujoco.viewer

    data = mujoco.MjData(model)
    try:
        window = mujoco.viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False)
    except RuntimeError as error:  # macOS without mjpython
        raise _no_display() from error
    with window:
        mujoco.mjv_defaultFreeCamera(model, window.cam)
        begun, first = time.monotonic(), None
        for time_s, qpos in frames:
            if not window.is_running():
                return
            first = time_s if first is None else first
            time.sleep(max(0.0, begun + time_s - first - time.monotonic()))
            with window.lock():
                data.time, data.qpos[:] = time_s, qpos
                mujoco.mj_forward(model, data)
            window.sync()


def _no_display() -> BadInputError:
    given = os.environ.get("DISPLAY", "")
    return BadInputError(
        f"a window was asked for, but there is no usable display (DISPLAY is '{given}'); allowed "
        "is a graphical session (on macOS under mjpython); log in to one, or record a video"
    )
