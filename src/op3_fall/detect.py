# SPDX-License-Identifier: Apache-2.0
"""`op3-fall detect`: how good the detectors are, beside three known rules, on a labelled set."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from op3_fall import detection_plots, results
from op3_fall.detection_goals import goals
from op3_fall.detection_report import RULES, curve, detection_report, operated
from op3_fall.detection_set import SIZES, simulate_set
from op3_fall.detector_file import detector_yaml, load_detector
from op3_fall.errors import BadInputError, check_range

__all__ = ["Detect", "run_detect", "run_replay", "run_tune"]

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Detect:
    """How good the detectors are: a labelled set of falls and non-falls, beside three rules."""

    full: bool = False
    """The reported set with its 10 hours of non-falls: about half an hour."""
    tune: bool = False
    """Search the detectors' parameters on the training split and write them as detector.yaml."""
    replay: int | None = None
    """Seed of one episode to draw instead, such as one of the worst cases."""
    video: bool = False
    """With --replay: also a film of it."""
    detector: Path | None = None
    """Parameter file of the detectors; the shipped config/detector.yaml if none is given."""
    seed: int = 0
    """Another set of the same size."""
    out: Path = Path("results/detect")
    """Folder for tables, pictures and summary.json."""

    def __post_init__(self) -> None:
        """Refuse seeds that are none, and a film of nothing.

        Raises:
            BadInputError: with the value, the range and the remedy.
        """
        check_range("seed", self.seed, 0, 90)
        if self.video and self.replay is None:
            raise BadInputError(
                "video of no episode; allowed is --video with --replay; add --replay SEED"
            )


def run_detect(args: Detect, progress: Progress = lambda share: None) -> dict[str, Any]:
    """Simulate the test split, judge it, write everything into `args.out`; returns the summary.

    Raises:
        BadInputError: the detector file or the folder cannot be used.
    """
    config = load_detector(args.detector)
    out = results.open_folder(args.out)
    size = "full" if args.full else "default"
    seen = simulate_set(SIZES[size], config, seed=args.seed, progress=progress)
    report = detection_report(seen, config.fall)
    at = operated(config.fall)
    curves = {n: curve(seen, n, at[n].hold_s, config.fall.settle_s) for n in RULES}
    summary = {
        **results.provenance({"size": size, "detector": asdict(config)}, args.seed),
        "split": "test",
        "goals": goals(report),
        **report,
        "curves": {name: found._asdict() for name, found in curves.items()},
    }
    results.write_json(out / "summary.json", summary)
    detection_plots.plot_all(out, seen, report, curves, config.fall)
    return summary


def run_replay(args: Detect, progress: Progress = lambda share: None) -> list[str]:
    """Draw the episode of one seed; returns what to say about it.

    Raises:
        BadInputError: no such seed, or the detector file or the folder cannot be used.
    """
    from op3_fall.detection_replay import replay

    assert args.replay is not None, "the caller looks"
    out = results.open_folder(args.out)
    told = replay(args.replay, out, load_detector(args.detector), args.video, progress)
    lines = [f"Seed {told['seed']}: {told['kind']}, {told['label'].replace('_', '-')}"]
    for name in ("event_s", "no_return_s", "contact_s"):
        if told[name] is not None:
            lines.append(f"  {name.removesuffix('_s').replace('_', ' ')}: {told[name]:.3f} s")
    for rule, alarm_s in told["alarm_s"].items():
        lines.append(
            f"  alarm, {RULES[rule]}: " + ("-" if alarm_s is None else f"{alarm_s:.3f} s")
        )
    for profile, felt in told["felt_s"].items():
        lines.append(f"  felt, {profile}: " + (", ".join(f"{t:.3f}" for t in felt) or "-"))
    return [*lines, f"Graph: {out / f'episode_{args.replay}.png'}"]


def run_tune(args: Detect, progress: Progress = lambda share: None) -> dict[str, Any]:
    """Search on the training split; writes detector.yaml and tune.json into `args.out`."""
    from op3_fall.detection_tuning import tune

    config = load_detector(args.detector)
    out = results.open_folder(args.out)
    size = SIZES["full" if args.full else "default"]
    best, tried = tune(size, config, seed=args.seed, progress=progress)
    results.write_json(
        out / "tune.json",
        {**results.provenance({"detector": asdict(config)}, args.seed), "split": "training",
         "best": asdict(best), "tried": tried},
    )  # fmt: skip
    (out / "detector.yaml").write_text(detector_yaml(best))
    return {"best": best, "tried": tried}
