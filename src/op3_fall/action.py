# SPDX-License-Identifier: Apache-2.0
"""Action blocks: from the vector that a policy gives to goal angles and gain scales.

Every function takes any leading shape (...).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.blocks import Block, Quantity, Scaling, Term, check_blocks, check_joints
from op3_fall.compliance import DAMPING_RANGE, STIFFNESS_RANGE
from op3_fall.errors import BadInputError, check_choice, check_range

__all__ = [
    "CONTROLS",
    "QUANTITIES",
    "ActionDecoder",
    "Targets",
    "act_joint",
    "act_joint_residual",
    "act_kd",
    "act_kd_rel",
    "act_kp",
    "act_kp_rel",
    "as_residual",
    "deployable",
    "in_control",
]

Array = NDArray[np.float64]

DELTA_RAD = 0.3
"""Default reach of `act_joint`: from 0.22 rad on the nominal P gain drives at full duty."""
CORRECTION_RAD = 2.0
"""Default reach of `act_joint_residual`: the motions in config/motions.yaml are up to 1.9 rad from
`brace_front`."""
CORRECTION_STEP_RAD = 0.5
"""A corrected goal moves this far in a control step at most: 25 rad/s, which the safety gate lets
through (`SafetyConfig.max_target_speed_rad_s`): on the robot the same comes out."""
CONTROLS = ("position", "velocity", "torque")
"""What `act_joint` may act on; the OP3's driver takes positions only."""
STEPS_THROUGH_RANGE = 10
"""A relative gain action at its end crosses the gain's range in so many control steps."""


def _joints(block: str, unit: str, low: float, high: float) -> Quantity:
    return Quantity.uniform(block, unit, low, high, robot.JOINTS)


def _change(block: str, ends: tuple[float, float]) -> Quantity:
    step = (ends[1] - ends[0]) / STEPS_THROUGH_RANGE
    return _joints(block, "1", -step, step)


_SERVO = robot.Servo()
QUANTITIES = {
    "delta": _joints("act_joint", "rad", -DELTA_RAD, DELTA_RAD),
    "correction": _joints("act_joint_residual", "rad", -CORRECTION_RAD, CORRECTION_RAD),
    "velocity": _joints(
        "act_joint", "rad/s", -_SERVO.no_load_speed_rad_s, _SERVO.no_load_speed_rad_s
    ),
    "torque": _joints("act_joint", "N m", -_SERVO.stall_torque_n_m, _SERVO.stall_torque_n_m),
    "stiffness_scale": _joints("act_kp", "1", *STIFFNESS_RANGE),
    "damping_scale": _joints("act_kd", "1", *DAMPING_RANGE),
    "stiffness_change": _change("act_kp_rel", STIFFNESS_RANGE),
    "damping_change": _change("act_kd_rel", DAMPING_RANGE),
}


def _block(quantity: str, joint_names: Sequence[str]) -> Block:
    name = QUANTITIES[quantity].block
    return Block(name, (QUANTITIES[quantity].term(quantity, check_joints(name, joint_names)),))


def act_joint(joint_names: Sequence[str], delta_rad: float = DELTA_RAD) -> Block:
    """Goal angle = measured angle + up to `delta_rad` either way, within the joint's limits.

    Raises:
        BadInputError: unknown, repeated or no joints, or a reach that is none.
    """
    joints = check_joints("act_joint", joint_names)
    check_range("delta", delta_rad, 1e-3, np.pi, unit="rad")
    quantity = Quantity.uniform("act_joint", "rad", -delta_rad, delta_rad, joints)
    return Block("act_joint", (quantity.term("delta"),))


def act_joint_residual(
    joint_names: Sequence[str], pose: ArrayLike, delta_rad: float = CORRECTION_RAD
) -> Block:
    """Goal angle = angle of a scripted pose + up to `delta_rad` either way, within the limits.

    The goal moves there from the last one by up to `CORRECTION_STEP_RAD` in a control step.

    Args:
        joint_names: the joints.
        pose: (20,), rad; where an action of 0 drives to.
        delta_rad: reach.

    Raises:
        BadInputError: unknown, repeated or no joints, or a reach that is none.
    """
    joints = check_joints("act_joint_residual", joint_names)
    check_range("delta", delta_rad, 1e-3, np.pi, unit="rad")
    middle = np.asarray(pose, dtype=float)[[robot.JOINT_INDEX[joint] for joint in joints]]
    low, high = tuple((middle - delta_rad).tolist()), tuple((middle + delta_rad).tolist())
    return Block("act_joint_residual", (Term("correction", "rad", joints, low, high),))


def as_residual(blocks: Iterable[Block], pose: ArrayLike) -> tuple[Block, ...]:
    """The blocks, with corrections on `pose` (20,) in place of `act_joint`."""
    return tuple(
        act_joint_residual(block.joints, pose) if block.name == "act_joint" else block
        for block in blocks
    )


def in_control(blocks: Iterable[Block], control: str) -> tuple[Block, ...]:
    """The blocks, with `act_joint` giving velocities or torques instead of angles.

    For studies in simulation: the OP3's driver knows goal angles only.

    Args:
        blocks: of an action.
        control: `position` (as they are), `velocity` (up to the servos' no-load speed, rad/s) or
            `torque` (up to their stall torque, N m).

    Raises:
        BadInputError: another control.
    """
    check_choice("control", control, CONTROLS, remedy="choose one of them")
    if control == "position":
        return tuple(blocks)
    return tuple(
        Block(block.name, (QUANTITIES[control].term(control, block.joints),))
        if block.name == "act_joint" else block
        for block in blocks
    )  # fmt: skip


def deployable(blocks: Iterable[Block]) -> bool:
    """Whether the OP3's driver can do what the action says: it takes no velocities or torques."""
    return not any(term.quantity in CONTROLS for block in blocks for term in block.terms)


def act_kp(joint_names: Sequence[str] = robot.JOINTS) -> Block:
    """Stiffness scale over `compliance.STIFFNESS_RANGE`.

    Raises:
        BadInputError: unknown, repeated or no joints.
    """
    return _block("stiffness_scale", joint_names)


def act_kd(joint_names: Sequence[str] = robot.JOINTS) -> Block:
    """Damping scale over `compliance.DAMPING_RANGE`.

    Raises:
        BadInputError: unknown, repeated or no joints.
    """
    return _block("damping_scale", joint_names)


def act_kp_rel(joint_names: Sequence[str] = robot.JOINTS) -> Block:
    """Change of the stiffness scale in this control step; the scale stays in its range.

    Raises:
        BadInputError: unknown, repeated or no joints.
    """
    return _block("stiffness_change", joint_names)


def act_kd_rel(joint_names: Sequence[str] = robot.JOINTS) -> Block:
    """Change of the damping scale in this control step; the scale stays in its range.

    Raises:
        BadInputError: unknown, repeated or no joints.
    """
    return _block("damping_change", joint_names)


class Targets(NamedTuple):
    """What an action acts on."""

    position: Array
    """Goal angles, rad; of joints whose action gives them, rad/s or N m, (..., 20)."""
    stiffness_scale: Array
    """(..., 20)."""
    damping_scale: Array
    """(..., 20)."""


_NO_LIMITS = (-np.inf, np.inf)
_LARGEST_STEP = {"correction": CORRECTION_STEP_RAD}
"""By quantity: how far a target may move in a control step; others as far as they like."""
# Field of `Targets`, whether the value is added to what is there, and the limits of the result.
_EFFECTS = {
    "delta": (0, True, (robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)),
    "correction": (0, False, (robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD)),
    "velocity": (0, False, _NO_LIMITS),
    "torque": (0, False, _NO_LIMITS),
    "stiffness_scale": (1, False, STIFFNESS_RANGE),
    "damping_scale": (2, False, DAMPING_RANGE),
    "stiffness_change": (1, True, STIFFNESS_RANGE),
    "damping_change": (2, True, DAMPING_RANGE),
}


class _Part(NamedTuple):
    """One term, ready to apply."""

    target: int
    """Field of `Targets`."""
    relative: bool
    values: slice
    joints: NDArray[np.intp]
    low: Array
    high: Array
    step: float
    """Largest change of the target."""


def _part(term: Term, start: int) -> _Part:
    joints = np.array([robot.JOINT_INDEX[label] for label in term.labels])
    target, relative, limits = _EFFECTS[term.quantity]
    low, high = (np.broadcast_to(end, robot.NUM_JOINTS)[joints] for end in limits)
    step = _LARGEST_STEP.get(term.quantity, np.inf)
    return _Part(target, relative, slice(start, start + len(joints)), joints, low, high, step)


class ActionDecoder:
    """Applies actions of a list of blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Work out what each value acts on.

        Raises:
            BadInputError: a block, quantity or label that this installation does not know, or
                two that act on the same goal of a joint.
        """
        check_blocks("action", blocks, QUANTITIES)
        parts, start = [], 0
        for term in (term for block in blocks for term in block.terms):
            parts.append(_part(term, start))
            start += len(term.labels)
        self._parts, self._scaling = tuple(parts), Scaling(blocks)
        counts = Counter((part.target, int(j)) for part in parts for j in part.joints)
        (target, joint), count = counts.most_common(1)[0]
        if count > 1:
            raise BadInputError(
                f"{count} actions set the {Targets._fields[target]} of {robot.JOINTS[joint]}; "
                "allowed is one; choose between the absolute and the relative block"
            )
        self.sets_gains = any(part.target > 0 for part in parts)

    def decode(self, action: Array, measured: Array, last: Targets) -> Targets:
        """The targets after an action.

        Args:
            action: (..., n); beyond [-1, 1] it ends there.
            measured: joint angles, rad, (..., 20).
            last: targets (..., 20) that stay where no action sets them, and from which relative
                gain actions start.
        """
        values = self._scaling.restore(action)
        targets = Targets(*(np.array(target) for target in last))
        bases = (measured, last.stiffness_scale, last.damping_scale)
        for part in self._parts:
            value = values[..., part.values]
            if part.relative:
                value = bases[part.target].take(part.joints, axis=-1) + value
            if part.step < np.inf:
                before = last[part.target].take(part.joints, axis=-1)
                value = np.minimum(np.maximum(value, before - part.step), before + part.step)
            # Not np.clip: it costs three times as much on 20 numbers.
            targets[part.target][..., part.joints] = np.minimum(
                np.maximum(value, part.low), part.high
            )
        return targets
