# SPDX-License-Identifier: Apache-2.0
"""Observation blocks: from readings and estimates to the vector that a policy sees.

Only what the real robot has goes in. Every function takes any leading shape (...).
"""

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.blocks import Block, Quantity, Scaling, check_blocks, check_joints
from op3_fall.compliance import DAMPING_RANGE, STIFFNESS_RANGE
from op3_fall.errors import BadInputError, check_kind
from op3_fall.fall_detection import FallPhase
from op3_fall.signals import FallEstimate, SensorReading

__all__ = [
    "QUANTITIES",
    "FallAngle",
    "ObservationBuilder",
    "Observed",
    "angular_velocity",
    "gravity",
    "last_action",
    "needs_effort",
    "obs_fall_angle",
    "obs_fall_angle_discrete",
    "obs_fall_vel",
    "obs_fall_vel_discrete",
    "obs_joint",
    "obs_kd",
    "obs_kp",
    "phase",
]

Array = NDArray[np.float64]

ANGULAR_RANGE_RAD_S = 10.0
"""The torso of a falling OP3 turns at up to about 8 rad/s: sqrt(3 g / 0.45 m)."""
PHASES = tuple(phase.name.lower() for phase in FallPhase)
AXES = ("x", "y", "z")


class FallAngle(Enum):
    """Sectors of the fall direction, clockwise from the front as in FallState.msg."""

    FOUR = ("F", "R", "B", "L")
    EIGHT = ("F", "FR", "R", "BR", "B", "BL", "L", "FL")


def _joints(unit: str, low: float, high: float, block: str) -> Quantity:
    return Quantity.uniform(block, unit, low, high, robot.JOINTS)


_STALL_N_M = robot.Servo().stall_torque_n_m

QUANTITIES = {
    "angle": Quantity(
        "obs_joint", "rad", robot.JOINTS,
        tuple(robot.LOWER_LIMIT_RAD.tolist()), tuple(robot.UPPER_LIMIT_RAD.tolist()),
    ),
    "torque_load": _joints("N m", -_STALL_N_M, _STALL_N_M, "obs_joint"),
    "fall_velocity": Quantity.uniform(
        "obs_fall_vel", "rad/s", -ANGULAR_RANGE_RAD_S, ANGULAR_RANGE_RAD_S
    ),
    "fast": Quantity.uniform("obs_fall_vel_discrete", "1", 0, 1),
    "fall_angle": Quantity.uniform("obs_fall_angle", "rad", -math.pi, math.pi),
    "direction_four": Quantity.uniform(
        "obs_fall_angle_discrete", "1", 0, 1, FallAngle.FOUR.value
    ),
    "direction_eight": Quantity.uniform(
        "obs_fall_angle_discrete", "1", 0, 1, FallAngle.EIGHT.value
    ),
    "stiffness_scale": _joints("1", *STIFFNESS_RANGE, "obs_kp"),
    "damping_scale": _joints("1", *DAMPING_RANGE, "obs_kd"),
    "gravity": Quantity.uniform("gravity", "1", -1, 1, AXES),
    "angular_velocity": Quantity.uniform(
        "angular_velocity", "rad/s", -ANGULAR_RANGE_RAD_S, ANGULAR_RANGE_RAD_S, AXES
    ),
    "phase": Quantity.uniform("phase", "1", 0, 1, PHASES),
    "last_action": Quantity.uniform("last_action", "1", -1, 1, ()),
}  # fmt: skip


def obs_joint(joint_names: Sequence[str], angle: bool = True, torque_load: bool = True) -> Block:
    """Angles, and torques that the motor currents make, of these joints.

    Raises:
        BadInputError: unknown, repeated or no joints, or neither quantity asked for.
    """
    joints = check_joints("obs_joint", joint_names)
    asked = [q for q, wanted in (("angle", angle), ("torque_load", torque_load)) if wanted]
    if not asked:
        raise BadInputError(
            "obs_joint has neither angle nor torque_load; allowed is one or both; "
            "ask for what the policy shall see"
        )
    return Block("obs_joint", tuple(QUANTITIES[q].term(q, joints) for q in asked))


def _whole(quantity: str) -> Block:
    return Block(QUANTITIES[quantity].block, (QUANTITIES[quantity].term(quantity),))


def obs_fall_vel() -> Block:
    """Rate at which the tilt grows."""
    return _whole("fall_velocity")


def obs_fall_vel_discrete() -> Block:
    """NORMAL (-1) or FAST (1)."""
    return _whole("fast")


def obs_fall_angle() -> Block:
    """Direction of the fall: 0 front, right positive, left negative."""
    return _whole("fall_angle")


def obs_fall_angle_discrete(dirs: FallAngle = FallAngle.FOUR) -> Block:
    """Direction of the fall by sectors: 1 for the one it falls to, -1 for others and in NORMAL.

    Raises:
        BadInputError: sectors that there are not.
    """
    check_kind("dirs", dirs, FallAngle, "FallAngle.FOUR or FallAngle.EIGHT")
    return _whole(f"direction_{dirs.name.lower()}")


def _of_joints(quantity: str, joint_names: Sequence[str]) -> Block:
    block = QUANTITIES[quantity].block
    joints = check_joints(block, joint_names)
    return Block(block, (QUANTITIES[quantity].term(quantity, joints),))


def obs_kp(joint_names: Sequence[str] = robot.JOINTS) -> Block:
    """Stiffness scales last commanded.

    Raises:
        BadInputError: unknown, repeated or no joints.
    """
    return _of_joints("stiffness_scale", joint_names)


def obs_kd(joint_names: Sequence[str] = robot.JOINTS) -> Block:
    """Damping scales last commanded.

    Raises:
        BadInputError: unknown, repeated or no joints.
    """
    return _of_joints("damping_scale", joint_names)


def gravity() -> Block:
    """Unit vector pointing down, in the body frame."""
    return _whole("gravity")


def angular_velocity() -> Block:
    """The gyro, in the body frame."""
    return _whole("angular_velocity")


def phase() -> Block:
    """Phase of the fall: 1 for the one it is in, -1 for the others."""
    return _whole("phase")


def last_action(actions: Sequence[Block]) -> Block:
    """The action before this one, as the network gave it, limited to [-1, 1]."""
    names = [name for block in actions for name in block.names]
    return Block(
        "last_action",
        (Quantity.uniform("last_action", "1", -1, 1, names).term("last_action"),),
    )


def needs_effort(blocks: Sequence[Block]) -> bool:
    """Whether the observation is made of effort readings, which the stock driver lacks."""
    return any(term.quantity == "torque_load" for block in blocks for term in block.terms)


class Observed(NamedTuple):
    """All that an observation can be made of."""

    reading: SensorReading
    fall: FallEstimate
    effort_per_n_m: float
    """`robot.Servo.effort_per_n_m`."""
    stiffness_scale: Array
    """Last commanded, (..., 20)."""
    damping_scale: Array
    """Last commanded, (..., 20)."""
    last_action: Array
    """(..., actions)."""


def _direction(seen: Observed, sectors: int) -> Array:
    sector = np.rint(seen.fall.fall_angle * (sectors / (2 * math.pi))) % sectors
    return _one_hot(np.where(seen.fall.falling, sector, -1.0), sectors)


def _one_hot(number: NDArray[np.number], n: int) -> Array:
    return (np.asarray(number)[..., None] == np.arange(n)).astype(float)


_READ: dict[str, Callable[[Observed], Array]] = {
    "angle": lambda seen: seen.reading.position,
    "torque_load": lambda seen: seen.reading.effort / seen.effort_per_n_m,
    "fall_velocity": lambda seen: np.asarray(seen.fall.fall_velocity)[..., None],
    "fast": lambda seen: np.asarray(seen.fall.fast, dtype=float)[..., None],
    "fall_angle": lambda seen: np.asarray(seen.fall.fall_angle)[..., None],
    "direction_four": lambda seen: _direction(seen, 4),
    "direction_eight": lambda seen: _direction(seen, 8),
    "stiffness_scale": lambda seen: seen.stiffness_scale,
    "damping_scale": lambda seen: seen.damping_scale,
    "gravity": lambda seen: seen.fall.gravity,
    "angular_velocity": lambda seen: seen.reading.angular_velocity,
    "phase": lambda seen: _one_hot(seen.fall.phase, len(PHASES)),
    "last_action": lambda seen: seen.last_action,
}


class ObservationBuilder:
    """Makes the vector of a list of blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Work out where each value comes from.

        Raises:
            BadInputError: a block, quantity or label that this installation does not know.
        """
        check_blocks("observation", blocks, QUANTITIES)
        terms = [term for block in blocks for term in block.terms]
        self._read = [_READ[term.quantity] for term in terms]
        columns, start = [], 0
        for term in terms:
            labels = QUANTITIES[term.quantity].labels or term.labels
            columns += [start + labels.index(label) for label in term.labels]
            start += len(labels)
        self._columns = np.array(columns)
        self._scaling = Scaling(blocks)

    def build(self, seen: Observed) -> Array:
        """The observation (..., n), each value in [-1, 1]."""
        values = np.concatenate([read(seen) for read in self._read], axis=-1)
        return self._scaling.normalise(values.take(self._columns, axis=-1))
