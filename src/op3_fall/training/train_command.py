# SPDX-License-Identifier: Apache-2.0
"""`op3-fall train TASK | --config FILE | --resume RUN`, then any field of the configuration."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import tyro

from op3_fall.errors import BadInputError
from op3_fall.training.config import TASKS, TrainConfig
from op3_fall.training.config_file import load_config, shipped
from op3_fall.training.run_folder import Run
from op3_fall.training.trainer import Trained, find_device, train

__all__ = ["Train", "parse_train", "run_train"]

_MAY_CHANGE = ("iterations", "time_limit_minutes", "evaluation")
"""Between the parts of a run: what does not change how it learns."""


@dataclass(frozen=True)
class Train:
    """What the command line asks for."""

    config: TrainConfig
    """Resolved."""
    resume: Path | None
    """Folder of the run to go on with."""
    command: tuple[str, ...]
    """As typed."""


def parse_train(argv: Sequence[str]) -> Train:
    """The arguments after `op3-fall train`; exits as argparse does on `--help` and unknown ones.

    The first one says where the defaults come from: a task, `--config FILE` or `--resume RUN`.

    Raises:
        BadInputError: another first one, or a file or value that cannot be used.
    """
    command = ("op3-fall", "train", *argv)
    first, *rest = argv or ("",)
    if first in ("-h", "--help"):
        return Train(_cli(shipped("arms"), ["--help"], "TASK"), None, command)
    if first in TASKS:
        return Train(_cli(shipped(first), rest, first), None, command)
    first, _, value = first.partition("=")
    if first not in ("--config", "--resume"):
        raise BadInputError(
            f"train is given {first or 'nothing'!r}; allowed are {', '.join(TASKS)}, --config "
            "FILE and --resume RUN; begin with one of them"
        )
    if not value:
        if not rest:
            raise BadInputError(
                f"{first} names nothing; allowed is {_WANTED[first]}; give one after it"
            )
        value, *rest = rest
    if first == "--config":
        return Train(_cli(load_config(Path(value)), rest, f"{first} FILE"), None, command)
    run = Run.load(Path(value))
    config = _cli(run.config, rest, f"{first} RUN")
    _check_resumable(run.config, config)
    return Train(config, run.path, command)


_WANTED = {"--config": "a file such as config/train/arms.yaml", "--resume": "a folder in runs/"}


def _cli(default: TrainConfig, argv: Sequence[str], what: str) -> TrainConfig:
    return tyro.cli(TrainConfig, default=default, args=list(argv), prog=f"op3-fall train {what}")


def _check_resumable(old: TrainConfig, new: TrainConfig) -> None:
    for f in fields(TrainConfig):
        if f.name not in _MAY_CHANGE and getattr(old, f.name) != getattr(new, f.name):
            raise BadInputError(
                f"{f.name} differs from that of the run; allowed to change are "
                f"{', '.join(_MAY_CHANGE)}; train anew with another --name"
            )


def run_train(args: Train) -> int:
    """Train; exit status 0, or 130 after an interruption.

    Raises:
        BadInputError: the run exists, or something it needs cannot be used.
        Op3FallError: training diverged.
    """
    find_device(args.config.device)
    if args.resume is None:
        run = Run.create(args.config, args.command)
    else:
        run = replace(Run.load(args.resume), config=args.config)
    trained = train(run)
    print(_summary(run, trained))
    if trained.interrupted:
        print(f"interrupted; go on with: op3-fall train --resume {run.path}", file=sys.stderr)
        return 130
    return 0


def _summary(run: Run, trained: Trained) -> str:
    best = (
        f"best damage index {trained.best:.3f} after iteration {trained.best_iteration}"
        if trained.best_iteration else "no evaluation"
    )  # fmt: skip
    text = f"{run.path}: {trained.iteration} iterations ({trained.reason}), {best}"
    return text if trained.interrupted else f"{text}; next: op3-fall export {run.path}"
