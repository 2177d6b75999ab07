# SPDX-License-Identifier: Apache-2.0
"""What an experiment gives when asked: rosbag2 logs, a video of a pair, a window."""

import shutil
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall import bags, rendering, robot, video
from op3_fall.experiments import FallRun

__all__ = ["play_pair", "write_bags", "write_video"]

CAPTIONS = {
    "alarm_s": "fall noticed",
    "reached_s": "pose nearly reached",
    "softened_s": "softened",
    "felt_s": "impact felt",
    "restored_s": "stiffness restored",
}


def _events(run: FallRun, k: int) -> list[tuple[float, str]]:
    """What happened in fall `k`, in time order."""
    times = [(float(getattr(run.events, name)[k]), text) for name, text in CAPTIONS.items()]
    head = float(run.truth.first_contact_s[k, robot.PARTS.index("head")])
    return sorted((t, text) for t, text in [*times, (head, "head hits the floor")] if t == t)


def write_bags(folder: Path, run: FallRun, servo: robot.Servo) -> None:
    """One rosbag2 a fall, `fall_01` and on; an earlier run's go."""
    shutil.rmtree(folder, ignore_errors=True)
    log = run.log
    for k in range(len(run.truth.time_s)):
        bags.write_torque_log(
            folder / f"fall_{k + 1:02d}",
            log["time_s"][:, k],
            robot.JOINTS,
            position=log["position_rad"][:, k],
            velocity=log["velocity_rad_s"][:, k],
            effort=log["torque_n_m"][:, k] * servo.effort_per_n_m,
            goal=log["goal_rad"][:, k],
            torque_load=log["torque_load_n_m"][:, k],
            markers=_events(run, k),
        )


def _window(run: FallRun) -> tuple[slice, tuple[float, float]]:
    """Cycles worth seeing, and when to slow down: around the first contact of the first pair."""
    impact = float(np.nanmin([*run.truth.impact_s[:2], run.truth.time_s[0]]))
    end = int(np.searchsorted(run.log["time_s"][:, 0], impact + 0.9))
    return slice(0, end), (impact - 0.1, impact + 0.3)


def write_video(out: Path, model: mujoco.MjModel, run: FallRun) -> None:
    """`pair.mp4`, the first pair side by side and slower at the impact, and a film strip each.

    Raises:
        BadInputError: OpenGL is missing.
    """
    cycles, slow = _window(run)
    log = {name: values[cycles] for name, values in run.log.items()}
    times: NDArray[np.float64] = log["time_s"][:, 0]
    picks = [0.0, slow[0] - 0.15, slow[0], slow[0] + 0.1, slow[1], float(times[-1])]
    for k, mode in enumerate(("stiff", "compliant")):
        path = out / f"film_strip_{mode}.png"
        rendering.film_strip(path, model, log["qpos"][:, k], times, picks)
    video.write_pair_video(
        out / "pair.mp4", model, log["qpos"][:, 0], log["qpos"][:, 1],
        labels=("stiff", "compliant"), times_s=times,
        loads_n_m=(log["torque_load_n_m"][:, 0], log["torque_load_n_m"][:, 1]),
        captions=(_events(run, 0), _events(run, 1)), slow_motion=0.25, slow_window_s=slow,
    )  # fmt: skip


def play_pair(model: mujoco.MjModel, run: FallRun) -> None:
    """Replay the first pair in a window, one fall after the other, at real time.

    Raises:
        BadInputError: there is no display.
    """
    times, qpos = run.log["time_s"][:, 0], run.log["qpos"]
    frames = [(float(t + k * times[-1]), qpos[i, k]) for k in (0, 1) for i, t in enumerate(times)]
    rendering.play_human(model, frames)
