# SPDX-License-Identifier: Apache-2.0
"""Recorded falls, of the simulator or of the robot: graphs, summary and table from their bags."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import metrics, results
from op3_fall.attitude import Attitude, AttitudeConfig
from op3_fall.bag_reader import read_torque_log
from op3_fall.errors import BadInputError
from op3_fall.fall_graphs import (
    ENVELOPE_S,
    Curve,
    EnvelopePanel,
    FallPicture,
    draw_envelopes,
    draw_fall,
)
from op3_fall.signals import SensorReading
from op3_fall.torque_log import TorqueLog

__all__ = ["plot_bags", "score", "table", "tilt_curve"]

METRICS = {
    "peak_torque_load_n_m": "peak torque load",
    "torque_impulse_n_m_s": "torque impulse",
    "worst_joint_torque_n_m": "worst joint torque",
    "lead_time_s": "lead time, alarm to impact",
}
"""What a recorded fall is scored by, from the impact to the end of the envelope."""

LONG_S = 10.0
"""A longer bag is drawn around its fall only: this long before and after the alarm, s."""
AROUND_ALARM_S = (1.0, 4.0)

Array = NDArray[np.float64]


def plot_bags(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Draw each bag and the envelope over all into `out`, with summary.json; return the summary.

    Raises:
        BadInputError: no bags are given, one of them cannot be read, or `out` cannot be written.
    """
    if not paths:
        raise BadInputError(
            "no bags are given; allowed are one or more rosbag2 folders; "
            "give for example results/experiment/bags/*"
        )
    logs = [read_torque_log(path) for path in paths]
    out = results.open_folder(out)
    for stale in out.glob("bag_*.png"):
        stale.unlink()
    tilts = [tilt_curve(log) for log in logs]
    bags = []
    for number, (path, log, tilt) in enumerate(zip(paths, logs, tilts, strict=True), 1):
        name = path.resolve().name
        picture = f"bag_{number:02d}_{name}.png"
        draw_fall(out / picture, _picture(f"{name}, {_mode_text(log.mode)}", log, tilt))
        bags.append({"bag": str(path), "picture": picture, **score(log)})
    _draw_envelopes(out / "envelope.png", logs, tilts, [bag["aligned_s"] for bag in bags])
    summary = {**results.provenance({"bags": [str(p) for p in paths]}, seed=0),
               "modes": _by_mode(bags), "bags": bags}  # fmt: skip
    results.write_json(out / "summary.json", summary)
    return summary


def _mode_text(mode: str) -> str:
    return "gains not recorded" if mode == "unknown" else mode


def score(log: TorqueLog) -> dict[str, Any]:
    """What happened when in a log and what it cost, `METRICS` among it; NaN for what is unknown.

    The clock of the scores starts at `aligned_s`: the first impact felt while falling, or the
    largest load from the alarm on if none was felt.
    """
    events, load = log.events(), log.load
    aligned_s, scores = events["felt_s"], dict.fromkeys(METRICS, np.nan)
    known = load is not None and np.isfinite(load.total).any()
    if load is not None and known:
        if np.isnan(aligned_s):
            falling = ~(load.times_s < events["alarm_s"]) & np.isfinite(load.total)
            candidates = np.where(falling, load.total, -1.0)
            aligned_s = float(load.times_s[np.argmax(candidates)])
        since = load.times_s - aligned_s
        after = (since >= 0) & (since <= ENVELOPE_S[1]) & np.isfinite(load.total)
        scores |= {
            "peak_torque_load_n_m": load.total[after].max(),
            "torque_impulse_n_m_s": np.trapezoid(load.total[after], since[after]),
            "worst_joint_torque_n_m": np.abs(load.torque[after]).max(),
        }
    scores["lead_time_s"] = events["felt_s"] - events["alarm_s"]
    joints = log.joints.times_s
    return {
        "mode": log.mode,
        "duration_s": joints[-1] - joints[0],
        "notes": list(log.notes),
        **events,
        "impacts_felt_s": log.impacts_s(),
        "aligned_s": aligned_s,
        **scores,
        "whole_bag_peak_torque_load_n_m": np.nanmax(load.total) if load and known else np.nan,
    }


def tilt_curve(log: TorqueLog) -> Curve | None:
    """Tilt over time, rad: the fall detector's, or by its filter from the IMU; None without."""
    if log.fall is not None:
        return Curve(log.fall.times_s, log.fall.tilt)
    if log.imu is None:
        return None
    unread = np.zeros(len(log.joint_names))
    readings = [
        SensorReading(time_s, unread, unread, unread, rate, force, orientation)
        for time_s, orientation, rate, force in zip(*vars(log.imu).values(), strict=True)
    ]
    attitude, tilt = Attitude.start(readings[0]), []
    for reading in readings:
        attitude = attitude.step(reading, AttitudeConfig())
        tilt.append(attitude.tilt)
    return Curve(log.imu.times_s, np.array(tilt))


def _load_curve(log: TorqueLog, values: str) -> Curve | None:
    """The load track's `total`, or its `torque` as that of the joint that carries most."""
    load = log.load
    if load is None or not np.isfinite(load.total).any():
        return None
    rows = load.total if values == "total" else np.abs(load.torque).max(axis=-1)
    return Curve(load.times_s, rows)


def _margin_curve(log: TorqueLog) -> Curve | None:
    """Of the capture point; None where the detector did not tell it, as in older logs."""
    if log.fall is None or not np.isfinite(log.fall.margin).any():
        return None
    return Curve(log.fall.times_s, log.fall.margin)


def _picture(title: str, log: TorqueLog, tilt: Curve | None) -> FallPicture:
    gains, joints, events = log.gains, log.joints, log.events()
    start, end = float(joints.times_s[0]), float(joints.times_s[-1])
    alarm = events["alarm_s"]
    if end - start > LONG_S and np.isfinite(alarm):
        start, end = max(start, alarm - AROUND_ALARM_S[0]), min(end, alarm + AROUND_ALARM_S[1])
    return FallPicture(
        title, (start, end), events,
        load_n_m=_load_curve(log, "total"),
        scales=gains and (Curve(gains.times_s, gains.stiffness_scale),
                          Curve(gains.times_s, gains.damping_scale)),
        tilt_rad=tilt,
        margin_m=_margin_curve(log),
        angles_rad=Curve(joints.times_s, joints.position),
    )  # fmt: skip


def _draw_envelopes(
    path: Path, logs: Sequence[TorqueLog], tilts: Sequence[Curve | None], impact_s: list[float]
) -> None:
    degrees = [tilt and Curve(tilt.times_s, np.degrees(tilt.values)) for tilt in tilts]
    panels = [
        EnvelopePanel("torque load,\nfrom effort (N m)", [_load_curve(g, "total") for g in logs]),
        EnvelopePanel("worst joint\ntorque (N m)", [_load_curve(g, "torque") for g in logs]),
        EnvelopePanel("tilt (deg)", degrees),
    ]
    draw_envelopes(path, panels, impact_s, [log.mode for log in logs],
                   since="the first impact felt, or the largest load")  # fmt: skip


def _by_mode(bags: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and 95 % interval of each metric over the bags of a mode."""
    modes = {}
    for mode in dict.fromkeys(bag["mode"] for bag in bags):
        its = [bag for bag in bags if bag["mode"] == mode]
        means = {name: metrics.mean_interval([bag[name] for bag in its]) for name in METRICS}
        modes[mode] = {"bags": len(its), **{name: asdict(mean) for name, mean in means.items()}}
    return modes


def table(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The summary as header and rows for the screen: a row a bag, then one a mode."""
    columns = {"alarm_s": "alarm\n(s)", "felt_s": "impact\n(s)", "lead_time_s": "lead\n(s)",
               "peak_torque_load_n_m": "peak load\n(N m)",
               "torque_impulse_n_m_s": "impulse\n(N m s)"}  # fmt: skip
    rows = [
        [Path(bag["bag"]).name, bag["mode"], *(_number(bag[name]) for name in columns)]
        for bag in summary["bags"]
    ]
    for mode, means in summary["modes"].items():
        cells = [_number(means[name]["mean"]) if name in means else "" for name in columns]
        rows.append([f"mean of {means['bags']}", mode, *cells])
    return ["bag", "gains", *columns.values()], rows


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "-"
