# SPDX-License-Identifier: Apache-2.0
"""The labelled set: how many episodes of which kind, which seeds, simulated batch by batch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.detection_runs import observe
from op3_fall.detection_watch import Label, Observed, merge_observed
from op3_fall.detectors import DetectorConfig
from op3_fall.episodes import draw, seeds_of
from op3_fall.recipes import FALLS, NON_FALLS

__all__ = ["SIZES", "Observations", "SetSize", "hours", "simulate_set",
           "simulate_training", "training_falls"]  # fmt: skip

FALL_S, NON_FALL_S = 4.5, 10.0
"""Simulated time of an episode, s: tipped slowly a robot needs 4 s to fall."""
_BATCH = 480
_TRAINING_FIRST = 1_000_000
"""Seeds of the training split begin here, those of the test split at 0."""


@dataclass(frozen=True)
class SetSize:
    """Episodes of each kind."""

    falls: int
    """Of each of the eight kinds of falls."""
    non_falls: int
    """Of each of the ten kinds of non-falls, 10 s each."""


SIZES = {"default": SetSize(20, 15), "full": SetSize(250, 380)}


@dataclass
class Observations:
    """The set, watched."""

    held: Observed
    """Falls of robots that go on with what they did."""
    braced: Observed
    """The same falls, met with the protective pose."""
    quiet: Observed
    """Non-falls."""


def simulate_set(
    size: SetSize,
    config: DetectorConfig,
    *,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Observations:
    """Simulate the test split and watch it.

    Args:
        size: how many.
        config: of our detectors.
        seed: another set, of the same size.
        progress: called with the share done.
    """
    falls = _seeds(FALLS, size.falls, seed)
    quiet = _seeds(NON_FALLS, size.non_falls, seed)
    # Held falls are simulated seven more times in part, for the point of no return.
    work = [len(falls) * FALL_S * 3.5, len(falls) * FALL_S, len(quiet) * NON_FALL_S]
    done = np.concatenate([[0.0], np.cumsum(work)]) / sum(work)

    def watch(part: int, seeds: NDArray[np.int64], duration_s: float, **how: bool) -> Observed:
        return _watch(
            seeds, duration_s, config, how,
            lambda share: progress(done[part] + share * (done[part + 1] - done[part])),
        )  # fmt: skip

    return Observations(
        held=watch(0, falls, FALL_S, no_return=True),
        braced=watch(1, falls, FALL_S, brace=True),
        quiet=watch(2, quiet, NON_FALL_S),
    )


def simulate_training(
    size: SetSize,
    config: DetectorConfig,
    *,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Observed, Observed]:
    """Falls that are left alone and non-falls of the training split, none of the test split."""
    falls = training_falls(size, seed)
    quiet = _seeds(NON_FALLS, size.non_falls, seed, training=True)
    return (
        _watch(falls, FALL_S, config, {}, lambda share: progress(share / 3)),
        _watch(quiet, NON_FALL_S, config, {}, lambda share: progress((1 + 2 * share) / 3)),
    )


def _watch(
    seeds: NDArray[np.int64], duration_s: float, config: DetectorConfig, how: dict[str, Any],
    progress: Callable[[float], None],
) -> Observed:  # fmt: skip
    batches = np.array_split(seeds, int(np.ceil(len(seeds) / _BATCH)))
    return merge_observed([
        observe(
            draw(batch), duration_s, config, **how,
            progress=lambda share, k=k: progress((k + share) / len(batches)),
        )
        for k, batch in enumerate(batches)
    ])  # fmt: skip


def _seeds(
    kinds: Iterable[str], count: int, seed: int, *, training: bool = False
) -> NDArray[np.int64]:
    """Kind after kind in turn, so that every batch has all of them."""
    first = seed * 10_000 + (_TRAINING_FIRST if training else 0)
    return np.array([seeds_of(kind, count, first) for kind in kinds]).T.ravel()


def training_falls(size: SetSize, seed: int = 0) -> NDArray[np.int64]:
    """Seeds of the training split's falls."""
    return _seeds(FALLS, size.falls, seed, training=True)


def hours(observed: Observed) -> float:
    """Simulated time of the non-falls, h."""
    return float((observed.label == Label.NON_FALL).sum() * observed.duration_s / 3600)
