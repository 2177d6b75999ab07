# SPDX-License-Identifier: Apache-2.0
"""What an experiment gives when asked: rosbag2 logs, a video of a pair, a window."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall import bags, rendering, robot, video
from op3_fall.experiments import FallRun
from op3_fall.torque_log import (
    FallTrack,
    GainTrack,
    GoalTrack,
    ImuTrack,
    JointTrack,
    LoadTrack,
    TorqueLog,
)

__all__ = ["play_pair", "torque_log", "write_bags", "write_video"]

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
    for k in range(len(run.truth.time_s)):
        log = {name: values[:, k] for name, values in run.log.items()}
        bags.write_torque_log(folder / f"fall_{k + 1:02d}", torque_log(log, servo))


def torque_log(log: Mapping[str, NDArray[Any]], servo: robot.Servo) -> TorqueLog:
    """What the graph's nodes would have said of one fall, from its `FallLog` arrays (t, ...)."""
    t, torque = log["time_s"], log["torque_n_m"]
    stiffness, damping = log["stiffness_scale"], log["damping_scale"]
    scheduled = ((stiffness != 1) | (damping != 1)).any()
    whole = {
        name: log[name].astype(np.int64)
        for name in (
            "fall_phase",
            "fall_direction",
            "fall_fast",
            "impact_count",
            "impact_sense",
            "gains_phase",
        )
    }
    shape, yes = torque.shape, np.ones(len(t), dtype=bool)
    return TorqueLog(
        joint_names=robot.JOINTS,
        joints=JointTrack(t, log["position_rad"], log["velocity_rad_s"],
                          torque * servo.effort_per_n_m),
        goal=GoalTrack(t, log["goal_rad"]),
        imu=ImuTrack(t, log["orientation"], log["angular_velocity_rad_s"],
                     log["linear_acceleration_m_s2"]),
        fall=FallTrack(t, whole["fall_phase"], log["tilt_rad"], log["gravity"], log["margin_m"],
                       log["fall_angle_rad"], whole["fall_direction"], log["fall_velocity_rad_s"],
                       whole["fall_fast"], log["time_to_impact_s"], log["clearance_m"]),
        load=LoadTrack(t, yes, torque, log["torque_load_n_m"], log["spike_n_m"],
                       log["impact_peak_n_m"], log["impact_onset"] > 0, whole["impact_count"],
                       whole["impact_sense"], log["impact_subsided"] > 0),
        gains=GainTrack(t, whole["gains_phase"] * scheduled, stiffness, damping, yes,
                        servo.p_register(np.broadcast_to(stiffness[:, None], shape)),
                        np.zeros(shape, dtype=np.int64),
                        servo.d_register(np.broadcast_to(damping[:, None], shape)),
                        np.full(shape, servo.MAX_PWM)),
    )  # fmt: skip


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
