# SPDX-License-Identifier: Apache-2.0
"""Seeded episodes for the detectors: falls of all kinds, and what must not be taken for one.

Each episode is drawn from its own seed, so that one can be simulated again alone.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.hand import Hand
from op3_fall.kinematics import soles_flat
from op3_fall.motions import Motion
from op3_fall.recipes import FALLS, NON_FALLS, any_robot
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand

__all__ = ["KINDS", "Episodes", "draw", "seeds_of"]

Array = NDArray[np.float64]

_INDEX = robot.JOINT_INDEX
_LEG = {s: np.array([_INDEX[j] for j in robot.LEGS if j[0] == s]) for s in "lr"}


@dataclass(frozen=True)
class Episodes:
    """N episodes: how they begin and what happens to them."""

    kind: NDArray[np.str_]
    """Which recipe they come from, of `KINDS`, (n,)."""
    seed: NDArray[np.int64]
    """What each was drawn from, (n,)."""
    scenario: Scenario
    """Robot, floor, IMU and push."""
    motion: Motion
    """What it does meanwhile."""
    hand: Hand
    """Who lifts or tips it."""
    limp_leg: NDArray[np.int64]
    """0 left, 1 right, -1 none, (n,)."""
    limp_s: Array
    """When that leg loses its power, s, (n,)."""
    event_s: Array
    """When the disturbance begins, s, (n,)."""

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.seed)

    def take(self, index: ArrayLike) -> Self:
        """The episodes at `index`, in that order."""
        rows = np.asarray(index, dtype=np.intp)
        return replace(self, **{
            name: value[rows] if isinstance(value, np.ndarray) else value.take(rows)
            for name, value in vars(self).items()
        })  # fmt: skip

    def command(self, time_s: Array) -> JointCommand:
        """What the robots are told at `time_s` (n,); a limp leg has no drive left."""
        command = JointCommand.hold(self.motion.at(time_s))
        for leg, side in enumerate("lr"):
            limp = np.nonzero((self.limp_leg == leg) & (time_s >= self.limp_s))[0]
            command.goal_pwm[np.ix_(limp, _LEG[side])] = 0
        return command


_SCENARIO = ("push_force", "push_start_s", "push_duration_s", "push_part", "mass_scale",
             "friction", "strength", "gyro_bias", "accelerometer_bias", "gyro_noise",
             "accelerometer_noise", "imu_mounting", "noise_seed", "latency_s")  # fmt: skip
_MOTION = ("move", "move_start_s", "move_s", "returns", "swing", "swing_s", "step_height",
           "step_sway", "step_s")  # fmt: skip


KINDS = (*FALLS, *NON_FALLS)
"""An episode's seed modulo their number says which of them it is."""


def seeds_of(kind: str, count: int, first: int = 0) -> NDArray[np.int64]:
    """Seeds of `count` episodes of a kind, from the `first` on."""
    return (first + np.arange(count)) * len(KINDS) + KINDS.index(kind)


def draw(seeds: ArrayLike) -> Episodes:
    """One episode a seed, (n,); the seed alone says all of it."""
    numbers = np.asarray(seeds, dtype=np.int64)
    drawn, kinds = [], [KINDS[int(seed) % len(KINDS)] for seed in numbers]
    for kind, seed in zip(kinds, numbers, strict=True):
        rng = np.random.default_rng(int(seed))
        event_s = rng.uniform(0.6, 1.4)
        start = {"push_start_s": event_s, "move_start_s": event_s, "event_s": event_s}
        drawn.append(start | any_robot(rng) | (FALLS | NON_FALLS)[kind](rng))
    base = np.clip(np.array([d["base"] for d in drawn]), robot.LOWER_LIMIT_RAD,
                   robot.UPPER_LIMIT_RAD)  # fmt: skip
    motion = Motion.hold(base)
    scenario = Scenario.standing(len(drawn), motion.at(np.zeros(len(drawn))))
    scenario = replace(
        _filled(scenario, _SCENARIO, drawn), orientation=soles_flat(scenario.position)
    )
    event_s = np.array([d["event_s"] for d in drawn])
    return Episodes(
        kind=np.array(kinds), seed=numbers, scenario=scenario,
        motion=_filled(motion, _MOTION, drawn), hand=_hands(drawn, event_s),
        limp_leg=np.array([d.get("limp_leg", -1) for d in drawn]),
        limp_s=event_s, event_s=event_s,
    )  # fmt: skip


def _filled(neutral: Any, names: tuple[str, ...], drawn: list[dict[str, Any]]) -> Any:
    """`neutral` (n entries a field) with what was drawn."""
    values = {name: getattr(neutral, name).copy() for name in names}
    for k, d in enumerate(drawn):
        for name in values.keys() & d.keys():
            values[name][k] = d[name]
    return replace(neutral, **values)


def _hands(drawn: list[dict[str, Any]], event_s: Array) -> Hand:
    hand = Hand.none(len(drawn))
    for k, d in enumerate(drawn):
        if "hand_s" in d:
            hand.start_s[k], hand.stop_s[k] = event_s[k], event_s[k] + d["hand_s"]
            hand.lift_m[k] = d.get("lift_m", 0.0)
            hand.speed[k] = d.get("hand_speed", 0.0)
            hand.lean[k] = d.get("lean", hand.lean[k])
    return hand
