# SPDX-License-Identifier: Apache-2.0
"""The situations in which controllers are compared, and the falls of each.

A fall is drawn from its number alone, so it is the same for every controller, and as far as a
situation allows the same in every situation: `slippery` is `all` on another floor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.envs.draws import draw_scenario
from op3_fall.envs.phase import Phase
from op3_fall.scenarios import Scenario

__all__ = ["MAIN", "SCENARIOS", "Situation", "draw_falls", "fall_seeds"]

Array = NDArray[np.float64]

MAX_FALLS = 2**20
MAX_SEED = 2**18
_FIRST_SEED = 2**42
"""Training draws from seeds below 2**40, evaluation during training from 2**41 on."""
_DIAGONAL_RAD = np.pi / 4


@dataclass(frozen=True)
class Situation:
    """What is drawn, and what is fixed after that."""

    text: str
    """What it is, for tables."""
    phase: Phase
    """What is drawn, and from which ranges."""
    diagonal: bool = False
    """Pushes are turned onto the diagonals."""
    torso_mass: float = 1.0
    """Factor on mass and inertia of the torso."""
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Fields (n,) of `Scenario` that are the same in every fall; `strength` is a factor."""


_NOISE = {"imu_errors": 1.0, "joint_noise_rad": 0.0015}
_START = {"push_start_low_s": 0.4, "push_start_high_s": 0.4}


def _pushed(*directions: str, strengths: tuple[str, ...] = ("normal",), **more: Any) -> Phase:
    """Standing robots pushed at the head, with the sensor errors of training."""
    flags = {f"push_{name}": name in directions for name in ("front", "back", "sides")}
    flags |= {f"push_{name}": name in strengths for name in ("weak", "normal", "strong")}
    return Phase(**(_START | _NOISE | more), **flags)


_AROUND = ("front", "back", "sides")
_THRICE: dict[str, Any] = {name: 3 * size for name, size in _NOISE.items()}
_SLIPPERY, _WEAK, _LATE, _HEAVY = {"friction": 0.3}, {"strength": 0.8}, {"latency_s": 0.05}, 1.3

MAIN = "all"
"""The situation that the goals are about."""
SCENARIOS: dict[str, Situation] = {
    MAIN: Situation("all directions", _pushed(*_AROUND)),
    "front_weak": Situation("to the front, weak push", _pushed("front", strengths=("weak",))),
    "front": Situation("to the front", _pushed("front")),
    "front_strong": Situation("to the front, strong push",
                              _pushed("front", strengths=("strong",))),
    "back": Situation("to the back", _pushed("back")),
    "sides": Situation("to the sides", _pushed("sides")),
    "diagonals": Situation("on the diagonals", _pushed(*_AROUND), diagonal=True),
    "slippery": Situation("friction 0.3", _pushed(*_AROUND), fixed=_SLIPPERY),
    "heavy": Situation("torso 30 % heavier", _pushed(*_AROUND), torso_mass=_HEAVY),
    "weak_servos": Situation("servos 20 % weaker", _pushed(*_AROUND), fixed=_WEAK),
    "noisy": Situation("three times the sensor noise", _pushed(*_AROUND, **_THRICE)),
    "late": Situation("commands 50 ms later", _pushed(*_AROUND), fixed=_LATE),
    "bumps": Situation("ridges of 2 cm", _pushed(*_AROUND, bumps=True)),
    "worst": Situation(
        "all of these at once, strong pushes too",
        _pushed(*_AROUND, strengths=("normal", "strong"), bumps=True, **_THRICE),
        torso_mass=_HEAVY, fixed=_SLIPPERY | _WEAK | _LATE,
    ),
}  # fmt: skip
"""By name. Pushes are of normal strength and go all around unless said otherwise."""


def fall_seeds(seed: int, falls: int) -> NDArray[np.int64]:
    """Seeds of the falls of a run, (falls,): no other run has them, and no training."""
    return _FIRST_SEED + seed * MAX_FALLS + np.arange(falls)


def draw_falls(situation: Situation, seeds: NDArray[np.int64]) -> Scenario:
    """The falls with these seeds (n,)."""
    scenario = draw_scenario(situation.phase, seeds, np.zeros_like(seeds))
    mass = scenario.mass_scale.copy()
    mass[:, robot.PARTS.index("torso")] *= situation.torso_mass
    fixed = {name: np.full(len(seeds), value) for name, value in situation.fixed.items()}
    if "strength" in fixed:
        fixed["strength"] = fixed["strength"] * scenario.strength
    force = scenario.push_force
    return replace(
        scenario, mass_scale=mass, push_force=_turned(force) if situation.diagonal else force,
        **fixed,
    )  # fmt: skip


def _turned(force: Array) -> Array:
    """Forces (n, 3) onto the diagonals: those nearer to an axis turn by an eighth."""
    angle = np.arctan2(force[:, 1], force[:, 0])
    on_axis = np.rint(angle / _DIAGONAL_RAD).astype(int) % 2 == 0
    angle = angle + np.where(on_axis, _DIAGONAL_RAD, 0.0)
    size = np.hypot(force[:, 0], force[:, 1])
    return np.stack([size * np.cos(angle), size * np.sin(angle), force[:, 2]], axis=-1)
