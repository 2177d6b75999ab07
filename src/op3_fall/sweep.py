# SPDX-License-Identifier: Apache-2.0
"""Stiffness scale x damping scale x restore time: what each setting costs, in one batch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall.compliance import DAMPING_RANGE, STIFFNESS_RANGE
from op3_fall.errors import BadInputError, check_range
from op3_fall.experiments import Reflex, run_falls
from op3_fall.metrics import METRICS, score
from op3_fall.model import Op3Model
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.simulation import Simulation

__all__ = ["Grid", "SweepResult", "run_sweep"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The settings to try; falls a cell share their pushes with every other cell."""

    stiffness: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
    """Stiffness scales, 0.05 to 1."""
    damping: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0)
    """Damping scales, 1 to 4."""
    restore_s: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    """Durations of the ramp back, s."""
    falls: int = 20
    """Falls in each cell."""

    def __post_init__(self) -> None:
        """Refuse empty axes and scales out of range.

        Raises:
            BadInputError: with the value, the range and the remedy.
        """
        for name, values, low, high in (
            ("stiffness scale", self.stiffness, *STIFFNESS_RANGE),
            ("damping scale", self.damping, *DAMPING_RANGE),
            ("restore time", self.restore_s, 0.0, 60.0),
        ):
            if not values:
                raise BadInputError(f"no {name} given; allowed is one or more; name some")
            for value in values:
                check_range(name, value, low, high)
        check_range("number of falls a cell", self.falls, 1, np.inf)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along stiffness, damping and restore time."""
        return len(self.stiffness), len(self.damping), len(self.restore_s)

    @property
    def cells(self) -> Array:
        """Stiffness, damping and restore time of each cell, (cells, 3)."""
        axes = np.meshgrid(self.stiffness, self.damping, self.restore_s, indexing="ij")
        return np.stack([a.ravel() for a in axes], axis=-1)


@dataclass(frozen=True)
class SweepResult:
    """Mean scores of each cell."""

    grid: Grid
    """The settings."""
    means: dict[str, Array]
    """Mean of each metric over a cell's usable falls, (cells,)."""
    stiff: dict[str, float]
    """The same for falls that stay stiff, with the same pushes."""
    diverged: int
    """Falls left out because the physics broke down."""

    @property
    def best(self) -> int | None:
        """The cell with the least peak torque load among those no worse than stiff for the head.

        None if in every cell the head touches the floor more often.
        """
        allowed = self.means["head_contact_share"] <= self.stiff["head_contact_share"]
        if not allowed.any():
            return None
        peak = np.where(allowed, self.means["peak_torque_load_n_m"], np.inf)
        # How fast the gains come back changes no peak before that: the impulse decides.
        return int(np.lexsort((self.means["torque_impulse_n_m_s"], peak))[0])

    def pareto(self, x: str, y: str) -> NDArray[np.intp]:
        """Cells that no other beats in both metrics (less is better), by rising `x`."""
        order = np.lexsort((self.means[y], self.means[x]))
        lowest = np.minimum.accumulate(self.means[y][order])
        first = np.concatenate([[True], lowest[1:] < lowest[:-1]])
        return order[first]


def run_sweep(
    model: Op3Model,
    grid: Grid,
    push: PushSpec,
    reflex: Reflex,
    *,
    seed: int = 0,
    duration_s: float = 3.6,
    threads: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> SweepResult:
    """Let `grid.falls` robots fall in every cell, and as many stiff ones, in one batch."""
    cells = grid.cells
    settings = np.repeat(np.concatenate([cells, [[1.0, 1.0, grid.restore_s[0]]]]), grid.falls, 0)
    n = len(settings)
    scenario = pushed_stand(push, np.tile(np.arange(grid.falls), n // grid.falls), seed=seed)
    run = run_falls(
        Simulation(n, model=model, threads=threads), scenario, reflex, np.ones(n, dtype=bool),
        duration_s=duration_s, log=False, progress=progress, stiffness_scale=settings[:, 0],
        damping_scale=settings[:, 1], restore_s=settings[:, 2],
    )  # fmt: skip
    means = {}
    for name, values in score(run.truth).items():
        by_cell = values.reshape(-1, grid.falls)
        count = np.isfinite(by_cell).sum(axis=1)
        # No head contact at all: the speed at contact is nothing, not unknown.
        means[name] = np.nansum(by_cell, axis=1) / np.maximum(count, 1)
    return SweepResult(
        grid=grid,
        means={name: means[name][:-1] for name in METRICS},
        stiff={name: float(means[name][-1]) for name in METRICS},
        diverged=int(run.truth.diverged.sum()),
    )
