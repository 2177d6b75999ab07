# SPDX-License-Identifier: Apache-2.0
"""The command line: `op3-fall experiment | detect | train | evaluate | play | ros … | bench …`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from op3_fall.bench_commands import BENCHES, run_bench
from op3_fall.detect import Detect
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.evaluation.command import Evaluate
from op3_fall.experiment import Experiment
from op3_fall.packages import check_packages
from op3_fall.play import Play
from op3_fall.ros_commands import (
    RosRobot,
    RosSet,
    RosSim,
    RosTell,
    run_ros,
    tell_ros,
)
from op3_fall.scenarios import PushSpec
from op3_fall.search import Search
from op3_fall.sweep import Grid
from op3_fall.training.export_command import Export

__all__ = ["main"]


@dataclass(frozen=True)
class Sweep:
    """Stiffness x damping x restore time: heat maps and Pareto fronts of what each one costs."""

    grid: Grid = field(default_factory=Grid)
    """The settings to try."""
    push: PushSpec = field(default_factory=PushSpec)
    """The push at the head."""
    seed: int = 0
    """Seed of push and start jitter."""
    out: Path = Path("results/sweep")
    """Folder for CSV file, pictures and summary.json."""
    model: str = ""
    """MJCF file with the OP3's joint names, or 'menagerie'; empty for this package's own."""


@dataclass(frozen=True)
class Plot:
    """Graphs of recorded falls, and stiff against compliant ones, from their bags."""

    bags: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of the bags (rosbag2), of the experiment, the recorder or `ros2 bag record`."""
    out: Path = Path("results/plot")
    """Folder for graphs and summary.json."""


@dataclass(frozen=True)
class Convergence:
    """Which physics step is small enough: peaks and contact times against 0.25 ms."""

    falls: int = 16
    """Falls at each step."""
    seed: int = 0
    """Seed of push and start jitter."""
    out: Path = Path("results/convergence")
    """Folder for the table and summary.json."""


@dataclass(frozen=True)
class Train:
    """Train a policy: `train arms|arms_legs|roll`, `--config FILE` or `--resume RUN`, options."""

    argv: tuple[str, ...]
    """As typed after `train`, which has a parser of its own."""


@contextmanager
def _progress(label: str) -> Iterator[Callable[[float], None]]:
    columns = (TextColumn(label), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _experiment(args: Experiment) -> int:
    if args.ros:
        return _ros_experiment(args)
    from op3_fall.experiment import run_experiment, table
    from op3_fall.results import print_table

    with _progress(f"{args.falls} falls") as progress:
        summary = run_experiment(args, progress)
    title = f"{summary['falls_done']} falls, stiff and compliant in turn"
    print_table(title, *table(summary))
    if summary["falls_diverged"]:
        print(f"{summary['falls_diverged']} falls diverged and are left out of every mean")
    print(f"Graphs: {args.out / 'envelope.png'}, {args.out}/fall_*.png; "
          f"numbers: {args.out / 'summary.json'}")  # fmt: skip
    if not summary["complete"]:
        print(f"interrupted: {summary['falls_done']} of {args.falls} falls kept", file=sys.stderr)
        return 130
    return 0


def _sweep(args: Sweep) -> int:
    from op3_fall.sweep_report import report_sweep

    with _progress(f"{len(args.grid.cells)} settings") as progress:
        report_sweep(args.grid, args.push, args.seed, args.out, args.model, progress)
    return 0


def _ros_experiment(args: Experiment) -> int:
    from op3_fall.ros_experiment import run_ros_experiment

    with _progress(f"{args.falls} falls") as progress:
        summary = run_ros_experiment(args, progress)
    return _tell_bags(summary, args.out)


def _plot(args: Plot) -> int:
    from op3_fall.replay import plot_bags

    return _tell_bags(plot_bags(args.bags, args.out), args.out)


def _tell_bags(summary: dict[str, Any], out: Path) -> int:
    from op3_fall.replay import table
    from op3_fall.results import print_table

    for bag in summary["bags"]:
        for note in bag["notes"]:
            print(f"op3-fall: torque log '{bag['bag']}': {note}", file=sys.stderr)
    print_table("Recorded falls, from the first impact felt on", *table(summary))
    print(f"Graphs: {out / 'envelope.png'}, {out}/bag_*.png; numbers: {out / 'summary.json'}")
    return 0


def _detect(args: Detect) -> int:
    if args.replay is not None:
        from op3_fall.detect import run_replay

        with _progress(f"seed {args.replay}") as progress:
            lines = run_replay(args, progress)
        print("\n".join(lines))
        return 0
    from op3_fall.detect import run_detect, run_tune
    from op3_fall.detection_tables import print_report

    if args.tune:
        with _progress("training split") as progress:
            best = run_tune(args, progress)["best"]
        print(f"best: {best.fall.margin_m:g} m for {best.fall.hold_s:g} s")
        print(f"Parameters: {args.out / 'detector.yaml'}; all tried: {args.out / 'tune.json'}")
        return 0
    with _progress("test split") as progress:
        summary = run_detect(args, progress)
    print_report(summary)
    print(f"Graphs: {args.out}/*.png; numbers: {args.out / 'summary.json'}")
    return 0


def _convergence(args: Convergence) -> int:
    from op3_fall.convergence import convergence

    convergence(args.out, falls=args.falls, seed=args.seed)
    return 0


def _train(args: Train) -> int:
    check_packages("torch", "rsl_rl", "gymnasium", "tensorboard")
    from op3_fall.training.train_command import parse_train, run_train

    return run_train(parse_train(args.argv))


def _search(args: Search) -> int:
    check_packages("gymnasium")
    from op3_fall.search import run_search

    with _progress(f"{args.config.generations} generations") as progress:
        first, last = run_search(args, progress)
    print(f"cost of the mean motion: {first:.3f} at first, {last:.3f} at last (on other falls)")
    task = "arms" if args.config.arms_only else "arms_legs"
    print(f"Motions: {args.out}; imitate them: op3-fall train {task} "
          f"--imitation.motions {args.out}")  # fmt: skip
    return 0


def _evaluate(args: Evaluate) -> int:
    check_packages("gymnasium", "onnxruntime")
    from op3_fall.evaluation.command import run_evaluate
    from op3_fall.evaluation.tables import print_report

    with _progress(f"{args.falls} falls") as progress:
        summary = run_evaluate(args, progress)
    print_report(summary)
    print(
        f"Graphs: {args.out}/*.png; numbers: {args.out / 'summary.json'}, {args.out / 'table.md'}"
    )
    return 0


def _export(args: Export) -> int:
    check_packages("torch", "rsl_rl", "gymnasium", "onnx", "onnxscript", "onnxruntime")
    from op3_fall.training.export_command import run_export

    return run_export(args)


def _play(args: Play) -> int:
    check_packages("gymnasium", "onnxruntime")
    from op3_fall.play import run_play

    return run_play(args)


_COMMANDS = {
    "experiment": Experiment, "sweep": Sweep, "detect": Detect, "plot": Plot,
    "convergence": Convergence, "search": Search, "train": Train, "evaluate": Evaluate,
    "export": Export, "play": Play,
}  # fmt: skip
_GROUPS = {
    "ros": (
        "The ROS 2 graph, without `launch` and ros2cli.",
        {"sim": RosSim, "robot": RosRobot, "tell": RosTell, "set": RosSet},
    ),
    "bench": ("Benchmarks.", BENCHES),
}
_RUN = {
    Experiment: _experiment, Sweep: _sweep, Detect: _detect, Plot: _plot,
    Convergence: _convergence, Search: _search, Train: _train, Evaluate: _evaluate,
    Export: _export, Play: _play,
    **dict.fromkeys(BENCHES.values(), run_bench),
    RosSim: run_ros, RosRobot: run_ros, RosTell: tell_ros, RosSet: tell_ros,
}  # fmt: skip


def _parse(argv: list[str]) -> object:
    """The command with its settings; exits as argparse does on `--help` and unknown options."""
    if argv and argv[0] == "train":
        return Train(tuple(argv[1:]))
    if argv and argv[0] in _GROUPS:
        text, commands = _GROUPS[argv[0]]
        return tyro.extras.subcommand_cli_from_dict(
            commands, prog=f"op3-fall {argv[0]}", args=argv[1:], description=text
        )
    groups = {name: _group(text, commands) for name, (text, commands) in _GROUPS.items()}
    return tyro.extras.subcommand_cli_from_dict(
        _COMMANDS | groups, prog="op3-fall", args=argv,
        description="Let a ROBOTIS OP3 fall without breaking.",
    )  # fmt: skip


def _group(text: str, commands: dict[str, type]) -> Callable[[], None]:
    """What stands for a group in the list of commands."""

    def show() -> None:
        raise AssertionError("groups are parsed before")

    show.__doc__ = f"{text} {' | '.join(commands)}"
    return show


def main(argv: list[str] | None = None) -> int:
    """Run a command; exit status 0 done, 1 a check failed, 2 bad input, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = _parse(argv)
        return _RUN[type(args)](args)
    except Op3FallError as error:
        print(f"op3-fall: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInputError) else 1
    except KeyboardInterrupt:
        print("op3-fall: interrupted before the first fall was finished", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
