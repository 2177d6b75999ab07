# SPDX-License-Identifier: Apache-2.0
"""The experiment: stiff and compliant falls in turn, in pairs, with graphs and a summary."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from op3_fall import metrics, plots, results, robot
from op3_fall.compliance import ComplianceConfig
from op3_fall.detector_file import load_detector
from op3_fall.detectors import DetectorConfig
from op3_fall.errors import BadInputError, check_range
from op3_fall.experiments import FallRun, Reflex, merge_runs, run_falls
from op3_fall.model import Op3Model, load_model
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.simulation import Simulation
from op3_fall.yaml_files import read_yaml

__all__ = ["Experiment", "load_goal", "run_experiment"]

_CHUNK = 20  # falls simulated at once: what an interruption can lose
MODES = ("stiff", "compliant")


@dataclass(frozen=True)
class Experiment:
    """Stiff and compliant falls in turn: odd ones stay stiff, even ones soften at the impact."""

    falls: int = 10
    """Number of falls; even, because they come in pairs that share push and start."""
    seed: int = 0
    """Seed of push and start jitter."""
    out: Path = Path("results/experiment")
    """Folder for CSV files, graphs and summary.json."""
    push: PushSpec = field(default_factory=PushSpec)
    """The push at the head."""
    compliance: ComplianceConfig = field(default_factory=ComplianceConfig)
    """Scales of the even falls and when they change."""
    goal: Path | None = None
    """YAML or JSON file of joint angles in rad that override those of the protective pose."""
    detector: Path | None = None
    """ROS 2 parameter file of the detectors in place of config/detector.yaml."""
    profile: Literal["extended", "ideal"] = "extended"
    """Sensing; the stock bulk read has no effort to draw."""
    model: str = ""
    """MJCF file with the OP3's joint names, or 'menagerie'; empty for this package's own."""
    voltage_v: float = 12.0
    """Supply voltage of the servos, 11.1 to 14.8 V."""
    duration_s: float = 3.6
    """Simulated time of each fall, s."""
    physics_step_s: float = 0.002
    """Physics step, s; 0.0005 for absolute contact peaks (docs/physics.md)."""
    video: bool = False
    """Also write pair.mp4, the first pair side by side, and film strips of it."""
    render: Literal["none", "human"] = "none"
    """'human' replays the first pair in a window."""
    bag: bool = False
    """Also write the torque log of every fall as a rosbag2 (MCAP)."""
    ros: bool = False
    """Let the falls happen in the ROS 2 graph, in real time, and draw what it recorded."""

    def __post_init__(self) -> None:
        """Refuse counts and times that make no experiment.

        Raises:
            BadInputError: with the value, the range and the remedy.
        """
        check_range("number of falls", self.falls, 2, np.inf, remedy="give --falls 10 for example")
        if self.falls % 2:
            raise BadInputError(
                f"number of falls is {self.falls}; allowed are even numbers, because falls come "
                f"in pairs; give --falls {self.falls + 1}"
            )
        check_range("seed", self.seed, 0, np.inf)
        check_range("physics step", self.physics_step_s, 1e-5, 0.004, unit="s")
        check_range("duration", self.duration_s, 1.0, 60.0, unit="s")


def load_goal(path: Path | None) -> NDArray[np.float64]:
    """The protective pose (20,), rad, with the file's joints in place of its own.

    Raises:
        BadInputError: the file is missing or broken, names an unknown joint, or has an angle
            that is not a number within the joint's limits.
    """
    base = robot.POSES["protect_front"]
    if path is None:
        return base
    angles = read_yaml(path, "goal file", "a YAML or JSON file of 'joint: angle in rad' lines")
    if not isinstance(angles, dict):
        raise BadInputError(
            f"goal file '{path}' holds no mapping; allowed are 'joint: angle in rad' lines; "
            "write for example r_el: 0.4"
        )
    return robot.joint_vector(angles, base, source=f"goal file '{path}'")


def run_experiment(
    experiment: Experiment, progress: Callable[[float], None] = lambda share: None
) -> dict[str, Any]:
    """Simulate, write everything into `experiment.out`, and return the summary.

    An interruption keeps the finished falls and marks the summary as incomplete.

    Raises:
        BadInputError: whatever the settings name cannot be used.
    """
    reflex = Reflex(
        goal=load_goal(experiment.goal), compliance=experiment.compliance,
        detectors=load_detector(experiment.detector),
    )  # fmt: skip
    model = load_model(
        experiment.model,
        servo=robot.Servo(voltage_v=experiment.voltage_v),
        timestep_s=experiment.physics_step_s,
    )
    starts = range(0, experiment.falls, _CHUNK)
    sizes = [min(_CHUNK, experiment.falls - first) for first in starts]
    simulations = {n: Simulation(n, model=model, profile=experiment.profile) for n in {*sizes}}
    out = results.open_folder(experiment.out)
    for stale in (*out.glob("fall_*.csv"), *out.glob("fall_*.png")):
        stale.unlink()
    chunks: list[FallRun] = []
    try:
        for first, n in zip(starts, sizes, strict=True):
            begun, share = 0.5 * first / experiment.falls, 0.5 * n / experiment.falls

            def step(done: float, begun: float = begun, share: float = share) -> None:
                progress(begun + share * done)

            chunks.append(_simulate(experiment, simulations[n], reflex, first, step))
            _write_logs(out, chunks[-1], first)
    except KeyboardInterrupt:
        if not chunks:
            raise
    run = merge_runs(chunks)
    compliant = np.arange(len(run.truth.time_s)) % 2 == 1
    summary = summarise(experiment, reflex.detectors, run, compliant)
    results.write_json(out / "summary.json", summary)
    _draw(experiment, out, run, compliant, progress)
    _write_extras(experiment, out, model, run)
    progress(1.0)
    return summary


def _simulate(
    experiment: Experiment,
    simulation: Simulation,
    reflex: Reflex,
    first: int,
    progress: Callable[[float], None],
) -> FallRun:
    falls = first + np.arange(len(simulation))
    return run_falls(
        simulation,
        pushed_stand(experiment.push, falls // 2, seed=experiment.seed),
        reflex,
        falls % 2 == 1,
        duration_s=experiment.duration_s,
        progress=progress,
    )


def _write_logs(out: Path, run: FallRun, first: int) -> None:
    for k in range(len(run.truth.time_s)):
        results.write_csv(out / f"fall_{first + k + 1:02d}.csv", *results.log_table(run.log, k))


def _draw(
    experiment: Experiment, out: Path, run: FallRun, compliant: NDArray[np.bool_],
    progress: Callable[[float], None],
) -> None:  # fmt: skip
    plots.plot_envelopes(out / "envelope.png", run.log, run.truth, compliant)
    push = experiment.push
    for k, soft in enumerate(compliant):
        plots.plot_fall(
            out / f"fall_{k + 1:02d}.png", run, k, f"Fall {k + 1}, {MODES[int(soft)]}",
            (push.start_s, push.start_s + push.duration_s),
        )  # fmt: skip
        progress(0.5 + 0.5 * (k + 1) / len(compliant))


def _write_extras(experiment: Experiment, out: Path, model: Op3Model, run: FallRun) -> None:
    """Bags and pictures in motion; their libraries load only when asked for."""
    if not (experiment.bag or experiment.video or experiment.render == "human"):
        return
    from op3_fall import extras

    if experiment.bag:
        extras.write_bags(out / "bags", run, model.servo)
    if experiment.video:
        extras.write_video(out, model.mj, run)
    if experiment.render == "human":
        extras.play_pair(model.mj, run)


def summarise(
    experiment: Experiment, detectors: DetectorConfig, run: FallRun, compliant: NDArray[np.bool_]
) -> dict[str, Any]:
    """Scores per fall, mean per mode, and the paired difference, as `summary.json` has them."""
    truth, seed = run.truth, experiment.seed
    scores = metrics.score(truth)
    where = metrics.worst(truth)
    modes = {}
    for name, pick in zip(MODES, (~compliant, compliant), strict=True):
        modes[name] = {
            m: asdict(metrics.mean_interval(scores[m][pick], seed=seed)) for m in scores
        }
        forces = np.where(truth.diverged[pick, None], np.nan, truth.impact_peak.floor_force[pick])
        modes[name]["peak_floor_force_by_part_n"] = {
            part: metrics.mean_interval(forces[:, i], seed=seed).mean
            for i, part in enumerate(robot.PARTS)
        }
    difference = {
        m: asdict(metrics.paired_difference(v[~compliant], v[compliant], seed=seed))
        for m, v in scores.items()
    }
    aside = ("out", "video", "render", "ros")
    settings = {k: v for k, v in asdict(experiment).items() if k not in aside}
    settings["detector"] = asdict(detectors)
    falls = [
        {
            "fall": k + 1,
            "mode": MODES[int(soft)],
            "diverged": bool(truth.diverged[k]),
            "fell": bool(truth.hit[k]),
            "first_contact_s": truth.impact_s[k],
            "impacts_felt_s": [t for i, t, _ in run.impacts if i == k],
            **{name: times[k] for name, times in asdict(run.events).items()},
            **{m: v[k] for m, v in scores.items()},
            "whole_fall_peak_torque_load_n_m": truth.peak.torque_load[k],
            "worst": {m: names[k] for m, names in where.items()},
        }
        for k, soft in enumerate(compliant)
    ]
    return {
        "complete": len(compliant) == experiment.falls,
        "falls_done": len(compliant),
        "falls_diverged": int(truth.diverged.sum()),
        **results.provenance(settings, seed),
        "modes": modes,
        "compliant_minus_stiff": difference,
        "falls": falls,
    }


def table(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The summary as header and rows for the screen."""
    header = ["from first contact on", *MODES, "difference", "95 % interval"]
    rows = []
    for name, label in metrics.METRICS.items():
        means = [summary["modes"][mode][name]["mean"] for mode in MODES]
        d = summary["compliant_minus_stiff"][name]
        rows.append([f"{label} ({metrics.unit(name)})", *(_number(m) for m in means),
                     _number(d["mean"], "+"), f"{_number(d['low'], '+')} to "
                     f"{_number(d['high'], '+')}"])  # fmt: skip
    return header, rows


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:{sign}.3g}"
