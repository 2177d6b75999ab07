# SPDX-License-Identifier: Apache-2.0
"""`op3-fall search`: find a better protective motion for falls to one side."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from op3_fall.damage import Tolerances
from op3_fall.errors import BadInputError
from op3_fall.protective_file import load_motions, motions_yaml
from op3_fall.settings import Settings, setting
from op3_fall.whole_file import whole_file

__all__ = ["Search", "SearchConfig", "run_search"]


@dataclass(frozen=True)
class SearchConfig(Settings):
    """How long and how widely to search."""

    generations: int = setting(40, 1, 10_000)
    """Rounds of trying candidates."""
    candidates: int = setting(40, 4, 10_000)
    """In each round; the best quarter says where to go on."""
    falls: int = setting(7, 1, 10_000)
    """Of each candidate; other ones in each round."""
    spread: float = setting(0.4, 0.01, 2.0)
    """Of the first candidates: 1 is 0.6 rad in each joint."""
    arms_only: bool = False
    """Legs and head stay as they stand, in falls to all sides: for policies that move the arms."""
    seed: int = setting(0, 0, 99)
    """Of candidates and falls; more would meet the falls of the evaluation."""


@dataclass(frozen=True)
class Search:
    """Better protective motions for falls to one side, for `op3-fall train` to imitate."""

    direction: tyro.conf.Positional[Literal["front", "front_left", "left", "back_left", "back"]]
    """Of the falls; those to the right are mirror images."""
    start: Path | None = None
    """YAML file of the motions to start from; without one config/motions.yaml."""
    out: Path = Path("motions.yaml")
    """File for all motions, that of this direction improved."""
    config: tyro.conf.OmitArgPrefixes[SearchConfig] = field(default_factory=SearchConfig)
    """How long and how widely."""


def run_search(
    args: Search, progress: Callable[[float], None] = lambda share: None
) -> tuple[float, float]:
    """Search, and write the motions after each generation; returns first and last cost.

    Raises:
        BadInputError: a motion file that cannot be used, or a place that cannot be written.
    """
    # Gymnasium comes with it, which other commands do without.
    from op3_fall.motion_search import search

    motions = load_motions(args.start)
    _write(args.out, motions_yaml(motions))  # before hours of search, not after them
    costs: list[float] = []
    for generation in search(motions, args.direction, args.config, Tolerances()):
        costs.append(generation.mean)
        _write(args.out, motions_yaml(generation.motions))
        progress(len(costs) / args.config.generations)
    return costs[0], costs[-1]


def _write(path: Path, text: str) -> None:
    try:
        with whole_file(path) as file:
            file.write_text(text)
    except OSError as error:
        raise BadInputError(
            f"out is '{path}', which cannot be written ({error.strerror}); allowed is a file in "
            "a folder that exists; choose another --out"
        ) from error
