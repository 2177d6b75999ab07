# SPDX-License-Identifier: Apache-2.0
"""What users give an environment: settings, blocks and rewards, checked where they come in."""

from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.blocks import Block
from op3_fall.detector_file import load_detector
from op3_fall.detectors import DetectorConfig
from op3_fall.envs.curriculum import CurriculumManager
from op3_fall.envs.phase import check_flag
from op3_fall.errors import BadInputError, check_kind
from op3_fall.resources import resource

__all__ = [
    "DIVERGENCE_COST", "blocks", "check_residual", "curriculum", "detectors", "reward_terms"
]  # fmt: skip

DIVERGENCE_COST = 150.0
"""More than any fall costs with the default weights, so that breaking the physics never pays."""


def blocks(method: str, given: Any) -> tuple[Block, ...]:
    """What a task's method returns, if it is blocks.

    Raises:
        BadInputError: it is not.
    """
    good = isinstance(given, list | tuple) and all(isinstance(item, Block) for item in given)
    if not good:
        raise BadInputError(
            f"{method} returns {given!r:.60}; allowed is a tuple of blocks such as obs_joint(); "
            "return one"
        )
    return tuple(given)


def check_residual(residual: Any, control: str) -> None:
    """Corrections are goal angles.

    Raises:
        BadInputError: no flag, or together with another control.
    """
    check_flag("residual", residual)
    if residual and control != "position":
        raise BadInputError(
            f"control is '{control}' with residual; allowed is position, since corrections are "
            "goal angles; leave one of the two out"
        )


def detectors(given: DetectorConfig | str | Path | None) -> DetectorConfig:
    """The detectors' settings, or those in a parameter file; the defaults for None.

    Raises:
        BadInputError: neither, or a file that cannot be used.
    """
    if isinstance(given, str | Path):
        return load_detector(Path(given))
    check_kind("detectors", given, (DetectorConfig, NoneType), "a DetectorConfig or a file's path")
    return given or DetectorConfig()


def curriculum(given: CurriculumManager | str | Path | None, shipped: str) -> CurriculumManager:
    """The curriculum, or that of a file, or for None the one that is shipped under that name.

    Raises:
        BadInputError: neither, or a file that cannot be used.
    """
    if isinstance(given, CurriculumManager):
        return given
    check_kind("curriculum", given, (str, Path, NoneType), "a CurriculumManager or a file's path")
    if given:
        return CurriculumManager.from_yaml(given)
    if shipped:
        return CurriculumManager.from_yaml(resource(f"config/curriculum/{shipped}"))
    return CurriculumManager()


def reward_terms(terms: Any, diverged: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """A task's terms, zero where `diverged` (n,), and what a breakdown of the physics costs.

    Raises:
        BadInputError: no mapping of names to finite numbers (n,).
    """
    check_kind("compute_reward's result", terms, Mapping, "a mapping of names to arrays (n,)")
    shape = diverged.shape
    for name, value in terms.items():
        good = np.shape(value) == shape
        if not (good and np.isfinite(np.where(diverged, 0.0, value)).all()):
            raise BadInputError(
                f"reward term '{name}' has shape {np.shape(value)}"
                f"{' and values that are not finite' if good else ''}; allowed are finite "
                f"numbers of shape {shape}, one for each robot; correct compute_reward"
            )
    checked = {name: np.where(diverged, 0.0, value) for name, value in terms.items()}
    # Ending at no cost would make it pay to break the physics.
    return checked | {"divergence": np.where(diverged, -DIVERGENCE_COST, 0.0)}
