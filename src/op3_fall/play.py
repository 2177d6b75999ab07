# SPDX-License-Identifier: Apache-2.0
"""`op3-fall play`: falls under a policy, in a window, or as a video where there is no screen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from op3_fall.errors import BadInputError, check_choice, check_whole
from op3_fall.resources import policy_path

if TYPE_CHECKING:
    import mujoco

    from op3_fall.evaluation.runs import Falls

__all__ = ["Play", "run_play"]

SIZE = (640, 480)
"""Of the video, pixels."""
SHOWN_S = 1.2
"""From the first contact on, s; by then a robot lies still."""
_BAND = 56
_INK, _PAPER = (20, 20, 20), (255, 255, 255)
MOST_FALLS = 1000


@dataclass(frozen=True)
class Play:
    """Falls under a policy in MuJoCo's window, or as a video where there is no screen."""

    policy: tyro.conf.Positional[Path] = Path("arms_legs")
    """A shipped policy (arms, arms_legs, roll), or an ONNX file."""
    falls: int = 3
    """Falls to show, one after the other."""
    scenario: str = "all"
    """Situation as `op3-fall evaluate` has them: all, front, back, sides, diagonals, slippery,
    bumps, worst ..."""
    seed: int = 0
    """Other falls of that situation."""
    video: Path | None = None
    """Write this .mp4 and open no window."""
    out: Path = Path("results/play")
    """Folder for play.mp4 where no window can be opened."""
    model: str = ""
    """MJCF file with the OP3's joint names, or 'menagerie'; empty for this package's own."""

    def __post_init__(self) -> None:
        """Refuse numbers that there cannot be.

        Raises:
            BadInputError: with the value and the range.
        """
        check_whole("number of falls", self.falls, 1, MOST_FALLS)


@dataclass(frozen=True)
class _Shown:
    """What there is to see."""

    mj: "mujoco.MjModel"
    falls: "Falls"
    damage: NDArray[np.float64]
    """Damage index of each fall, (n,)."""

    def cycles(self, k: int) -> int:
        """Driver cycles of fall `k` that are worth seeing."""
        end = self.falls.truth.impact_s[k] + SHOWN_S
        return int((self.falls.time_s <= end).sum()) or len(self.falls.time_s)

    def frames(self) -> Iterator[tuple[float, NDArray[np.float64]]]:
        """Time and configuration of every cycle, one fall after the other."""
        begun = 0.0
        for k in range(len(self.damage)):
            times = self.falls.time_s[: self.cycles(k)]
            yield from zip(begun + times, self.falls.qpos[:, k], strict=False)
            begun += float(times[-1])


def run_play(args: Play) -> int:
    """Simulate, then show; exit status 0.

    Raises:
        BadInputError: the policy, the situation or the path cannot be used, or neither a window
            nor a picture can be made.
    """
    from op3_fall import rendering, results

    if args.video is not None:
        rendering.picture_path(args.video, ".mp4")
    shown = _simulate(args)
    _print(args, shown)
    path = args.video
    if path is None:
        try:
            rendering.play_human(shown.mj, shown.frames())
            return 0
        except BadInputError as error:
            path = results.open_folder(args.out) / "play.mp4"
            print(f"No window, a video instead: {str(error).split(';')[0]}")
    _write_video(path, args, shown)
    print(f"Video: {path}")
    return 0


def _simulate(args: Play) -> _Shown:
    # What parsing the command line does not need; gymnasium comes with the environments.
    from op3_fall.damage import Tolerances, damage_index
    from op3_fall.detectors import DetectorConfig
    from op3_fall.evaluation.controllers import policy_controller
    from op3_fall.evaluation.runs import run_falls
    from op3_fall.evaluation.scenarios import MAX_SEED, SCENARIOS, draw_falls, fall_seeds
    from op3_fall.model import load_model
    from op3_fall.onnx_policy import OnnxPolicy
    from op3_fall.simulation import Simulation

    check_choice("scenario", args.scenario, SCENARIOS, remedy="choose one of them")
    check_whole("seed", args.seed, 0, MAX_SEED)
    policy, situation = OnnxPolicy.load(policy_path(args.policy)), SCENARIOS[args.scenario]
    model = load_model(args.model, bumps=situation.phase.bumps)
    simulation = Simulation(args.falls, model=model, profile=policy.contract.sensor_profile)
    falls = run_falls(
        simulation, draw_falls(situation, fall_seeds(args.seed, args.falls)),
        policy_controller(policy.contract, policy.infer), DetectorConfig(), pictures=True,
    )  # fmt: skip
    return _Shown(model.mj, falls, damage_index(falls.truth, Tolerances()))


def _print(args: Play, shown: _Shown) -> None:
    from op3_fall.results import print_table

    falls = shown.falls
    columns = (falls.alarm_s, falls.truth.impact_s, falls.truth.head_contact_speed, shown.damage)
    print_table(
        f"{args.policy.name}: {args.scenario}",
        ["fall", "noticed (s)", "first contact (s)", "head hits at (m/s)", "damage index"],
        [[str(k + 1), *("-" if np.isnan(c[k]) else f"{c[k]:.2f}" for c in columns)]
         for k in range(args.falls)],
    )  # fmt: skip


def _write_video(path: Path, args: Play, shown: _Shown) -> None:
    from PIL import Image, ImageDraw

    from op3_fall.rendering import Painter, caption_font, frame_camera
    from op3_fall.video import Encoder

    (width, height), fps = SIZE, 25
    font = caption_font(20)
    with Painter(shown.mj, width, height - _BAND) as painter, Encoder(path, SIZE, fps) as encoder:
        for k in range(args.falls):
            times = shown.falls.time_s[: shown.cycles(k)]
            qpos = shown.falls.qpos[: len(times), k]
            camera = frame_camera(shown.mj, qpos, aspect=width / (height - _BAND))
            for now in np.arange(0.0, times[-1], 1 / fps):
                row = int(np.searchsorted(times, now))
                frame = Image.new("RGB", SIZE, _PAPER)
                frame.paste(Image.fromarray(painter.paint(qpos[row], camera)), (0, _BAND))
                text = f"{args.policy.stem}, {args.scenario}: fall {k + 1} of {args.falls}"
                draw = ImageDraw.Draw(frame)
                draw.text((16, _BAND // 2), text, _INK, font, anchor="lm")
                draw.text((width - 16, _BAND // 2), _state(shown, k, now), _INK, font, anchor="rm")
                encoder.add(frame)


def _state(shown: _Shown, k: int, now: float) -> str:
    """What has happened in fall `k`, and the time."""
    truth: Any = shown.falls.truth
    told = "standing"
    for text, since in (("fall noticed", shown.falls.alarm_s[k]), ("impact", truth.impact_s[k])):
        told = text if now >= since else told
    return f"{told}   {now:.2f} s"
