# SPDX-License-Identifier: Apache-2.0
"""What a control step of a fall costs: one pure function a term, from ground truth.

Each takes an `Outcome` of n robots and returns (n,), zero or below. Minus 1 is as bad as it
should ever get in one step, or in the one event that the term is about; what is worse costs more,
down to minus `WORST`. Before the fall is noticed the actions take no effect, so nothing counts,
and a robot whose physics broke down costs nothing more: its environment ends it.

Loads count by the rise of their largest value: nothing while they stay below it. So the sum over
an episode is what its worst blow costs, however long it lasts and whatever follows. Blows (floor
force, head acceleration, gear load) are squared, and so is the loss of speed: one hard one costs
more than two of half its size.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.blocks import check_joints
from op3_fall.damage import Tolerances
from op3_fall.envs.outcome import Outcome
from op3_fall.errors import check_choice
from op3_fall.sensors import GRAVITY
from op3_fall.settings import Settings, setting
from op3_fall.truth import Peaks

__all__ = [
    "TOLERANCE_N", "RewardConfig", "RewardWeights", "action_rate",
    "fall_terms", "gear_load", "head_acceleration", "head_impact", "impact_power", "joint_limits",
    "part_impact", "pose", "roll_terms", "saturation", "torque_load", "weighted",
]  # fmt: skip

Array = NDArray[np.float64]

WORST = 10.0
"""Where a term ends: contact forces have no bound, and one robot must not swamp a batch."""
HEAD_SPEED_M_S = math.sqrt(2 * GRAVITY * 0.47)
"""A free fall from the height of a standing OP3's head: 3.0 m/s. Robots that fall stiff reach
2.8 to 3.1 m/s in simulation."""
POSE_ERROR_RAD = 1.0
"""Hanging arms are at 0.69 rad from the protective pose on the mean."""
TORQUE_LOAD_N_M = 14.0
"""Where falls into a stiff scripted pose peak on the mean (`op3-fall evaluate`)."""
LIMIT_MARGIN_RAD = math.radians(5)
"""How near its limit an angle or goal begins to cost."""
_TOLERANCES = Tolerances()
HEAD_ACCELERATION = _TOLERANCES.head_acceleration_g * GRAVITY
"""Specific force at the head that costs 1, m/s^2."""
GEAR_LOAD_N_M = _TOLERANCES.gear_load_n_m
"""Torque through a gear train that costs 1, N m."""
TOLERANCE_N = _TOLERANCES.floor_force_n
"""Floor force on each part of `robot.PARTS` that costs 1, N, (14,)."""
FALL_ENERGY_J_KG = GRAVITY * 0.25
"""What the centre of mass of a standing OP3 has to lose, for each kg."""


def head_impact(outcome: Outcome) -> Array:
    """Speed of the head when it first touches the floor: one event a fall."""
    return _penalty(outcome, outcome.head_hit_speed / HEAD_SPEED_M_S)


def pose(outcome: Outcome, goal: Array, joints: NDArray[np.intp]) -> Array:
    """Mean distance of `joints` (k,) to `goal` (20,), rad, from the alarm to the first contact."""
    off = np.abs(outcome.position - goal)[:, joints]
    return _penalty(outcome, _mean(off) / POSE_ERROR_RAD, ~outcome.hit)


def torque_load(outcome: Outcome) -> Array:
    """Rise of the largest torque load since the first contact.

    Not squared: who explores loads the servos fourfold, which would drown everything else.
    """
    return _penalty(outcome, _rise(outcome, lambda of: of.torque_load / TORQUE_LOAD_N_M, 1))


def saturation(outcome: Outcome) -> Array:
    """Share of the step in which a drive was at its cap, from the first contact on."""
    return _penalty(outcome, outcome.saturated_share)


def action_rate(outcome: Outcome) -> Array:
    """Mean squared change of the action; all values going from one end to the other cost 1."""
    return _penalty(outcome, _mean((outcome.action - outcome.last_action) ** 2) / 4)


def joint_limits(outcome: Outcome) -> Array:
    """How far joints or their goals press into the last 5 degrees; all of them at limits cost 1.

    The shoulders of hanging arms stand at theirs, which costs 0.1.
    """
    depth = np.maximum(_beyond(outcome.position), _beyond(outcome.goal)) / LIMIT_MARGIN_RAD
    return _penalty(outcome, _mean(depth))


def part_impact(outcome: Outcome) -> Array:
    """Floor force since the first contact, compared with what that part takes."""
    worst = _rise(outcome, lambda of: (of.floor_force / TOLERANCE_N).max(axis=-1), 2)
    return _penalty(outcome, worst)


def head_acceleration(outcome: Outcome) -> Array:
    """Specific force at the head since the first contact."""
    return _penalty(
        outcome, _rise(outcome, lambda of: of.head_acceleration / HEAD_ACCELERATION, 2)
    )


def gear_load(outcome: Outcome) -> Array:
    """Torque through any gear train since the first contact."""
    worst = _rise(outcome, lambda of: of.gear_load.max(axis=-1) / GEAR_LOAD_N_M, 2)
    return _penalty(outcome, worst)


def impact_power(outcome: Outcome) -> Array:
    """Kinetic energy that the centre of mass loses in the step, from the first contact on.

    The same energy costs least if it is lost evenly over many steps: in a longer contact.
    """
    lost_j_kg = (outcome.last_com_speed**2 - outcome.com_speed**2) / 2
    return _penalty(outcome, (np.maximum(lost_j_kg, 0) / FALL_ENERGY_J_KG) ** 2, outcome.hit)


def _rise(outcome: Outcome, share: Callable[[Peaks], Array], power: int) -> Array:
    """By how much the step raised the power of a share."""
    rise: Array = share(outcome.worst) ** power - share(outcome.last_worst) ** power
    return rise


def _penalty(outcome: Outcome, badness: Array, when: NDArray[np.bool_] | bool = True) -> Array:
    counts = outcome.fell & ~outcome.diverged & when
    return np.where(counts, -np.minimum(badness, WORST), 0.0)


def _mean(values: Array) -> Array:
    # Not ndarray.mean, which adds in another order for one robot than for many.
    return np.cumsum(values, axis=-1)[..., -1] / values.shape[-1]


def _beyond(angle: Array) -> Array:
    over = angle - (robot.UPPER_LIMIT_RAD - LIMIT_MARGIN_RAD)
    under = (robot.LOWER_LIMIT_RAD + LIMIT_MARGIN_RAD) - angle
    return np.maximum(np.maximum(over, under), 0.0)


# Terms of every step are small, since a fall has about a hundred of them and a blow is one: what a
# hard blow costs must outweigh the way to a pose that avoids it (test/test_env_laws.py: arms that
# brace cost less than arms that do nothing).
@dataclass(frozen=True)
class RewardWeights(Settings):
    """What each term counts for; 0 takes it out of the reward."""

    head_impact: float = setting(10.0, 0.0, 100.0)
    """Speed of the head at its first contact."""
    pose: float = setting(0.1, 0.0, 100.0)
    """Distance to the protective pose before the first contact."""
    torque_load: float = setting(1.0, 0.0, 100.0)
    """Largest torque load after it."""
    saturation: float = setting(0.02, 0.0, 100.0)
    """Time that a drive is at its cap after it."""
    action_rate: float = setting(0.1, 0.0, 100.0)
    """Change of the action from step to step."""
    joint_limits: float = setting(0.1, 0.0, 100.0)
    """Joints or goals near their limits."""
    part_impact: float = setting(1.0, 0.0, 100.0)
    """Blow of the floor on a part, compared with what it takes."""
    head_acceleration: float = setting(2.0, 0.0, 100.0)
    """Jerk on the head."""
    gear_load: float = setting(1.0, 0.0, 100.0)
    """Torque through the gears."""
    impact_power: float = setting(20.0, 0.0, 100.0)
    """Energy lost all at once; of rolling falls only."""


@dataclass(frozen=True)
class RewardConfig:
    """What the reward of an environment depends on."""

    pose: str | Mapping[str, float] = "brace_front"
    """The protective pose, whatever side the fall goes to: a name in `robot.POSES`, or angles in
    rad by joint in place of those of `brace_front`."""
    joints: tuple[str, ...] = robot.ARMS
    """Those whose distance to it counts."""
    weights: RewardWeights = field(default_factory=RewardWeights)
    """What each term counts for."""

    def __post_init__(self) -> None:
        """Refuse a pose that there is not.

        Raises:
            BadInputError: an unknown pose or joint, or an angle outside its limits.
        """
        check_joints("the pose's reward", self.joints)
        _ = self.goal

    @cached_property
    def goal(self) -> Array:
        """Angles of the pose, rad, (20,)."""
        if isinstance(self.pose, str):
            check_choice("protective pose", self.pose, robot.POSES, remedy="choose one of them")
            return robot.POSES[self.pose]
        return robot.joint_vector(self.pose, robot.POSES["brace_front"], source="protective pose")

    @cached_property
    def joint_index(self) -> NDArray[np.intp]:
        """Places of `joints` in arrays over all joints, (k,)."""
        return np.array([robot.JOINT_INDEX[joint] for joint in self.joints])


_OF_EVERY_FALL = (
    head_impact, part_impact, head_acceleration, gear_load, torque_load, action_rate, joint_limits
)  # fmt: skip


def fall_terms(outcome: Outcome, config: RewardConfig) -> dict[str, Array]:
    """Terms of a fall into a protective pose by name, (n,) each, not weighted."""
    terms = {term.__name__: term(outcome) for term in (*_OF_EVERY_FALL, saturation)}
    return {"pose": pose(outcome, config.goal, config.joint_index)} | terms


def roll_terms(outcome: Outcome) -> dict[str, Array]:
    """Terms of a fall that ends in a roll by name, (n,) each, not weighted."""
    return {term.__name__: term(outcome) for term in (*_OF_EVERY_FALL, impact_power)}


def weighted(terms: Mapping[str, Array], weights: RewardWeights) -> dict[str, Array]:
    """The terms by name, (n,) each, times their weights; the reward is their sum.

    A term of weight 0 is reported as 0.
    """
    return {name: getattr(weights, name) * term + 0.0 for name, term in terms.items()}
