# SPDX-License-Identifier: Apache-2.0
"""Pictures of falls without a screen, film strips, and a live window."""

import copy
import ctypes.util
import importlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import matplotlib
import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from op3_fall.errors import BadInputError
from op3_fall.whole_file import whole_file

__all__ = ["Painter", "caption_font", "film_strip", "frame_camera", "picture_path", "play_human"]

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

_INK, _PAPER = (20, 20, 20), (255, 255, 255)
_STRIP_PANEL = (420, 560)
_DPI = 300
_SHADOW_TEXELS = 2048  # the scene's 8192 doubles the time per frame of a software renderer


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


def caption_font(size: int) -> Any:
    """DejaVu Sans as it comes with matplotlib: the same letters on every machine."""
    path = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def picture_path(path: Path, suffix: str) -> Path:
    """The path, once its folder and ending are known to be fit for a picture.

    Raises:
        BadInputError: they are not.
    """
    path = Path(path)
    folder = path.parent
    if path.suffix != suffix or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInputError(
            f"picture path is '{path}'; allowed is a name that ends in {suffix} in an existing "
            "writable folder; make the folder or choose another"
        )
    return path


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
    path = picture_path(path, ".png")
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
            draw.text(
                (left + width // 2, height + band // 2), label, _INK, caption_font(40), anchor="mm"
            )
    with whole_file(path) as file:
        strip.save(file, dpi=(_DPI, _DPI))


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
