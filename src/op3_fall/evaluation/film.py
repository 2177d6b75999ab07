# SPDX-License-Identifier: Apache-2.0
"""The same fall under each controller, as a film strip and as a video of two."""

from collections.abc import Mapping
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from op3_fall.evaluation.runs import Falls
from op3_fall.rendering import Painter, caption_font, frame_camera, picture_path
from op3_fall.scenarios import Scenario
from op3_fall.video import write_pair_video
from op3_fall.whole_file import whole_file

__all__ = ["film_strip", "most_to_the_front", "write_video"]

Array = NDArray[np.float64]

_PANEL, _GAP, _HEAD, _SIDE = (300, 340), 8, 44, 48
_INK, _PAPER = (20, 20, 20), (255, 255, 255)
_SINCE_S = (-0.25, -0.1, 0.0, 0.1, 0.3, 0.6, 1.5)
"""Pictures, from the first contact of the first that has one, s."""
_FONT = 26
_VIDEO_S = (-0.5, 0.9)
"""What the video shows, from the same moment, s: then nothing happens any more."""


def most_to_the_front(scenario: Scenario) -> int:
    """The fall whose push goes nearest to the front."""
    force = scenario.push_force
    return int(np.abs(np.arctan2(force[:, 1], force[:, 0])).argmin())


def film_strip(path: Path, model: mujoco.MjModel, falls: Mapping[str, Falls]) -> None:
    """Write a PNG: a row for each controller, the same moments side by side.

    Args:
        path: ends in .png; replaced if it exists.
        model: that the falls were simulated with.
        falls: one fall by controller.

    Raises:
        BadInputError: OpenGL is missing or the path is no writable .png.
    """
    path = picture_path(path, ".png")
    (width, height), contact_s = _PANEL, _first_contact_s(falls)
    picks_s = contact_s + np.array(_SINCE_S)
    chosen = {name: _at(of, picks_s) for name, of in falls.items()}
    camera = frame_camera(model, *(q[None] for rows in chosen.values() for q in rows),
                          aspect=width / height)  # fmt: skip
    size = (_SIDE + len(picks_s) * (width + _GAP), _HEAD + len(falls) * (height + _GAP))
    strip = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(strip), caption_font(_FONT)
    for k, since in enumerate(_SINCE_S):
        text = "first contact of any" if since == 0 else f"{since:+.2f} s"
        middle = _SIDE + k * (width + _GAP) + width // 2
        draw.text((middle, _HEAD // 2), text, _INK, font, anchor="mm")
    with Painter(model, width, height) as painter:
        for j, (name, rows) in enumerate(chosen.items()):
            top = _HEAD + j * (height + _GAP)
            strip.paste(_upwards(name.replace("_", ", "), height), (0, top))
            for k, qpos in enumerate(rows):
                picture = Image.fromarray(painter.paint(qpos, camera))
                strip.paste(picture, (_SIDE + k * (width + _GAP), top))
    with whole_file(path) as file:
        strip.save(file)


def write_video(path: Path, model: mujoco.MjModel, falls: Mapping[str, Falls]) -> None:
    """Write an mp4 of the first controller and the last side by side, slower at the impact.

    Raises:
        BadInputError: OpenGL is missing or the path is no writable .mp4.
    """
    (left, one), *_, (right, other) = falls.items()
    contact_s = _first_contact_s(falls)
    first, end = np.searchsorted(one.time_s, contact_s + np.array(_VIDEO_S))
    shown = slice(first, min(end, len(other.time_s)))
    write_pair_video(
        path, model, one.qpos[shown, 0], other.qpos[shown, 0],
        labels=(left.replace("_", ", "), right.replace("_", ", ")), times_s=one.time_s[shown],
        loads_n_m=(one.load_n_m[shown, 0], other.load_n_m[shown, 0]),
        slow_motion=0.25, slow_window_s=(contact_s - 0.1, contact_s + 0.3),
    )  # fmt: skip


def _first_contact_s(falls: Mapping[str, Falls]) -> float:
    """Of the first that has one, s; the end of the shortest if none falls."""
    return float(np.nanmin([
        *(of.truth.impact_s[0] for of in falls.values()),
        min(of.time_s[-1] for of in falls.values()),
    ]))  # fmt: skip


def _at(falls: Falls, times_s: Array) -> Array:
    """Configurations of the one fall at these times (t,), (t, nq)."""
    rows = np.abs(falls.time_s[:, None] - times_s).argmin(axis=0)
    return falls.qpos[rows, 0]


def _upwards(text: str, height: int) -> Image.Image:
    """A label that is read from below."""
    label = Image.new("RGB", (height, _SIDE), _PAPER)
    draw = ImageDraw.Draw(label)
    draw.text((height // 2, _SIDE // 2), text, _INK, caption_font(_FONT), anchor="mm")
    return label.transpose(Image.Transpose.ROTATE_90)
