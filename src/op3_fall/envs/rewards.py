# SPDX-License-Identifier: Apache-2.0
"""What a control step of a fall costs: one pure function a term, from ground truth.

Each takes an `Outcome` of n robots and returns (n,), zero or below. Minus 1 is as bad as it
should ever get in one step, or in the one event that the term is about; what is worse costs more,
down to minus `WORST`. Before the fall is noticed the actions take no effect, so nothing counts,
and a robot whose physics broke down costs nothing more: its environment ends it.

Blows (floor force, head acceleration, gear load, loss of speed) are squared. So lying on the floor
costs next to nothing, one hard blow costs more than two of half its size, and the sum over an
episode is close to that of its worst blow.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.blocks import check_joints
from op3_fall.envs.outcome import Outcome
from op3_fall.errors import check_choice
from op3_fall.sensors import GRAVITY
from op3_fall.settings import Settings, setting

__all__ = [
    "PART_TOLERANCE_N", "TOLERANCE_N", "RewardConfig", "RewardWeights", "action_rate",
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
TORQUE_LOAD_N_M = robot.NUM_JOINTS * robot.Servo().stall_torque_n_m
"""Every servo stalls: 82 N m. Stiff falls peak at 13 N m."""
LIMIT_MARGIN_RAD = math.radians(5)
"""How near its limit an angle or goal begins to cost."""
HEAD_ACCELERATION = 100 * GRAVITY
"""m/s^2, what a stiff fall onto the arms gives the head; onto torso or back it is 150 g."""
GEAR_LOAD_N_M = 10 * robot.Servo().stall_torque_n_m
"""No source says what the XM430's metal gears take; stiff falls to the front load them with 31 to
35 N m, to the side with 60."""
FALL_ENERGY_J_KG = GRAVITY * 0.25
"""What the centre of mass of a standing OP3 has to lose, for each kg."""

_STRUCTURE_N, _SERVOS_N = 1500.0, 1000.0
_PART_MASS_KG = {"head": 0.148, "torso": 1.349}
PART_TOLERANCE_N = {
    part: _PART_MASS_KG[part] * HEAD_ACCELERATION if part in _PART_MASS_KG
    else _STRUCTURE_N if part.endswith(("forearm", "shank", "foot"))
    else _SERVOS_N
    for part in robot.PARTS
}  # fmt: skip
"""Floor force on a part that costs 1, N. No source gives what an OP3 takes: these are judgements.

Hands, shins and feet are frames with nothing in them, and what a blow does to the gears behind is
another term: half again the 1 kN that each hand takes in a stiff fall onto both. Upper arms, hips
and thighs land on the servos' cases: 1 kN. Head and torso carry camera, computer and battery:
100 g on the part's own mass, 145 N and 1.3 kN.
"""
TOLERANCE_N = np.array([PART_TOLERANCE_N[part] for part in robot.PARTS])


def head_impact(outcome: Outcome) -> Array:
    """Speed of the head when it first touches the floor: one event a fall."""
    return _penalty(outcome, outcome.head_hit_speed / HEAD_SPEED_M_S)


def pose(outcome: Outcome, goal: Array, joints: NDArray[np.intp]) -> Array:
    """Mean distance of `joints` (k,) to `goal` (20,), rad, from the alarm to the first contact."""
    off = np.abs(outcome.position - goal)[:, joints]
    return _penalty(outcome, _mean(off) / POSE_ERROR_RAD, ~outcome.hit)


def torque_load(outcome: Outcome) -> Array:
    """Largest torque load of the step, from the first contact on."""
    return _penalty(outcome, outcome.peak.torque_load / TORQUE_LOAD_N_M, outcome.hit)


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
    """Largest floor force, compared with what that part takes, from the first contact on."""
    worst = (outcome.peak.floor_force / TOLERANCE_N).max(axis=-1)
    return _penalty(outcome, worst**2, outcome.hit)


def head_acceleration(outcome: Outcome) -> Array:
    """Largest specific force at the head, from the first contact on."""
    return _penalty(
        outcome, (outcome.peak.head_acceleration / HEAD_ACCELERATION) ** 2, outcome.hit
    )


def gear_load(outcome: Outcome) -> Array:
    """Largest torque through any gear train, from the first contact on."""
    worst = outcome.peak.gear_load.max(axis=-1)
    return _penalty(outcome, (worst / GEAR_LOAD_N_M) ** 2, outcome.hit)


def impact_power(outcome: Outcome) -> Array:
    """Kinetic energy that the centre of mass loses in the step, from the first contact on.

    The same energy costs least if it is lost evenly over many steps: in a longer contact.
    """
    lost_j_kg = (outcome.last_com_speed**2 - outcome.com_speed**2) / 2
    return _penalty(outcome, (np.maximum(lost_j_kg, 0) / FALL_ENERGY_J_KG) ** 2, outcome.hit)


def _penalty(outcome: Outcome, badness: Array, when: NDArray[np.bool_] | bool = True) -> Array:
    counts = outcome.acting & ~outcome.diverged & when
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
    torque_load: float = setting(0.3, 0.0, 100.0)
    """Torque load after it."""
    saturation: float = setting(0.02, 0.0, 100.0)
    """Time that a drive is at its cap after it."""
    action_rate: float = setting(0.1, 0.0, 100.0)
    """Change of the action from step to step."""
    joint_limits: float = setting(0.1, 0.0, 100.0)
    """Joints or goals near their limits."""
    part_impact: float = setting(1.0, 0.0, 100.0)
    """Blow of the floor on a part, compared with what it takes."""
    head_acceleration: float = setting(1.0, 0.0, 100.0)
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
