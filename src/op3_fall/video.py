# SPDX-License-Identifier: Apache-2.0
"""Videos: two falls side by side, with captions and torque load, or any frames."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import imageio_ffmpeg
import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from op3_fall.errors import BadInputError, check_range
from op3_fall.rendering import Painter, caption_font, frame_camera, picture_path

__all__ = ["Encoder", "write_pair_video"]

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
Captions = Sequence[tuple[float, str]]

_WIDTH, _HEIGHT, _HEADER = 1280, 720, 48  # of the video, pixels
_FOOTER = 64
_PANEL = (_WIDTH // 2, _HEIGHT - _HEADER - _FOOTER)
_INK, _PAPER, _BAR, _PEAK = (20, 20, 20), (255, 255, 255), (70, 130, 180), (200, 60, 40)


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
    path, times = picture_path(path, ".mp4"), np.asarray(times_s, dtype=float)
    both = np.asarray(qpos_left), np.asarray(qpos_right)
    camera = frame_camera(model, *both, aspect=_PANEL[0] / _PANEL[1])
    shown = _frame_times(times, slow_motion, slow_window_s, fps)
    loads = None if loads_n_m is None else np.array(loads_n_m, dtype=float)
    with Painter(model, *_PANEL) as painter, Encoder(path, (_WIDTH, _HEIGHT), fps) as encoder:
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
        draw.text((centre, _HEADER // 2), labels[k], _INK, caption_font(26), anchor="mm")
        draw.text((left + 16, _HEADER + 14), captions[k], _PAPER, caption_font(24))
    draw.line([(_WIDTH // 2, 0), (_WIDTH // 2, _HEIGHT)], _PAPER, 4)
    draw.text((_WIDTH // 2, _HEADER + _PANEL[1] - 12), clock, _PAPER, caption_font(24),
              anchor="mb", stroke_width=3, stroke_fill=_INK)  # fmt: skip
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
        draw.text((left, top + 8), text, _INK, caption_font(20))
        draw.text((left + width, top + 8), f"peak {load.max():.1f} N m", _PEAK, caption_font(20),
                  anchor="ra")  # fmt: skip


class Encoder:
    """Pipes frames to ffmpeg as H.264; a context manager.

    The video takes its name only when it is complete.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        """Frames of `size` (width, height), even numbers of pixels, `fps` a second."""
        self._path = path
        self._unfinished = path.with_name(f".{path.stem}.unfinished.mp4")
        # One thread and no tags: the bytes depend on the frames alone.
        self._command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt",
            "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-", "-an", "-c:v",
            "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-threads", "1", "-map_metadata",
            "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart",
            str(self._unfinished),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        """Start ffmpeg."""
        self._ffmpeg = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return self

    def add(self, frame: Image.Image) -> None:
        """Append a frame.

        Raises:
            BadInputError: the video cannot be written.
        """
        assert self._ffmpeg.stdin is not None
        try:
            self._ffmpeg.stdin.write(frame.tobytes())
        except BrokenPipeError:
            self._refuse(self._ffmpeg.communicate()[1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Finish the video, or remove what there is of it after an error.

        Raises:
            BadInputError: the video cannot be written.
        """
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
