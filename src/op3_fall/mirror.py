# SPDX-License-Identifier: Apache-2.0
"""Left-right mirror of the vectors that a policy sees and gives.

The robot is symmetric, so a fall to the left is a fall to the right seen in a mirror. A mirrored
vector is the same values in another order, some with the other sign. Any leading shape (...).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.blocks import Block, Term
from op3_fall.errors import BadInputError, check_choice, check_range

__all__ = ["RULES", "Mirror", "Source"]

Array = NDArray[np.float64]


class Source(NamedTuple):
    """Where a value of the mirrored vector comes from."""

    label: str
    """Of the value in the same term that takes its place."""
    sign: float


def _unchanged(label: str) -> Source:
    return Source(label, 1.0)


def _negated(label: str) -> Source:
    return Source(label, -1.0)


def _joint(label: str) -> Source:
    i = robot.JOINT_INDEX[label]
    return Source(robot.JOINTS[robot.MIRROR_INDEX[i]], float(robot.MIRROR_SIGN[i]))


def _gain(label: str) -> Source:
    return Source(_joint(label).label, 1.0)


def _sector(label: str) -> Source:
    return Source(label.translate(str.maketrans("LR", "RL")), 1.0)


def _vector(label: str) -> Source:
    return Source(label, -1.0 if label == "y" else 1.0)


def _pseudovector(label: str) -> Source:
    return Source(label, 1.0 if label == "y" else -1.0)


def _action(label: str) -> Source:
    quantity, _, of = label.partition("/")
    source = _rule(quantity)(of)
    return Source(f"{quantity}/{source.label}", source.sign)


RULES: dict[str, Callable[[str], Source]] = {
    "angle": _joint,
    "torque_load": _joint,
    "delta": _joint,
    "correction": _joint,
    "velocity": _joint,
    "torque": _joint,
    "stiffness_scale": _gain,
    "damping_scale": _gain,
    "stiffness_change": _gain,
    "damping_change": _gain,
    "fall_velocity": _unchanged,
    "fast": _unchanged,
    "phase": _unchanged,
    "fall_angle": _negated,
    "direction_four": _sector,
    "direction_eight": _sector,
    "gravity": _vector,
    "angular_velocity": _pseudovector,
    "last_action": _action,
}
"""By quantity of `observation.QUANTITIES` and `action.QUANTITIES`: what takes a label's place."""


def _rule(quantity: str) -> Callable[[str], Source]:
    check_choice("quantity to mirror", quantity, RULES, remedy="add its rule to mirror.RULES")
    return RULES[quantity]


class Mirror:
    """Mirrors the normalised vectors of a list of blocks; twice is the identity."""

    def __init__(self, blocks: Sequence[Block], history: int = 1) -> None:
        """Work out where each value comes from.

        Args:
            blocks: of an observation or an action.
            history: the vectors are that many observations, one after the other.

        Raises:
            BadInputError: a quantity without a rule, or a value whose twin is missing or has a
                range that is not the mirror image of its own.
        """
        check_range("history", history, 1, np.inf)
        index, sign, start = [], [], 0
        for term in (term for block in blocks for term in block.terms):
            places, signs = _of_term(term)
            index += [start + place for place in places]
            sign += signs
            start += len(places)
        offsets = start * np.arange(history)[:, None]
        self.index: NDArray[np.intp] = (offsets + np.array(index, dtype=np.intp)).ravel()
        """Place from which each value comes, (n,)."""
        self.sign: Array = np.tile(np.array(sign), history)
        """What it is multiplied by, 1 or -1, (n,)."""

    def apply(self, values: Array) -> Array:
        """The mirrored values (..., n).

        Raises:
            BadInputError: another length.
        """
        if values.shape[-1] != len(self.index):
            raise BadInputError(
                f"the values to mirror have the length {values.shape[-1]}; allowed is "
                f"{len(self.index)}; give the whole vector of the blocks"
            )
        return self.sign * values.take(self.index, axis=-1)


def _of_term(term: Term) -> tuple[list[int], list[float]]:
    """Places within the term that the values come from, and their signs."""
    places, signs = [], []
    for i, label in enumerate(term.labels):
        source = _rule(term.quantity)(label)
        if source.label not in term.labels:
            raise BadInputError(
                f"{term.quantity} of {label} has no {source.label} beside it; allowed are left "
                "and right together; add it to the block"
            )
        k = term.labels.index(source.label)
        ends = (term.low[k], term.high[k]) if source.sign > 0 else (-term.high[k], -term.low[k])
        if not np.allclose((term.low[i], term.high[i]), ends, rtol=1e-9, atol=0.0):
            raise BadInputError(
                f"{term.quantity} of {label} ranges from {term.low[i]:g} to {term.high[i]:g}; "
                f"allowed is the mirror image of {source.label}, {ends[0]:g} to {ends[1]:g}; "
                "give both sides the same range"
            )
        places.append(k)
        signs.append(source.sign)
    return places, signs
