# SPDX-License-Identifier: Apache-2.0
"""What the vectors of a policy consist of: named values with their unit and range.

A block such as `obs_joint` has one or more terms, a term is one quantity such as the angles of
some joints. The range (low, high) of a value in SI becomes (-1, 1) in the vector.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.errors import BadInputError, check_choice

__all__ = ["Block", "Quantity", "Scaling", "Term", "check_blocks", "check_joints"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """The values of one quantity, in their order."""

    quantity: str
    """Such as `angle`."""
    unit: str
    """SI unit; "1" for none."""
    labels: tuple[str, ...]
    """What tells the values apart, such as the joint; "" if there is one value only."""
    low: tuple[float, ...]
    """Value in SI that becomes -1, one a label."""
    high: tuple[float, ...]
    """Value in SI that becomes 1, one a label."""

    def __post_init__(self) -> None:
        """Refuse what cannot be scaled.

        Raises:
            BadInputError: no label, a range missing, empty or not finite.
        """
        n = len(self.labels)
        ranges = list(zip(self.low, self.high, strict=False))
        if not n == len(self.low) == len(self.high) > 0:
            raise BadInputError(
                f"{self.quantity} has {n} labels, {len(self.low)} lower and {len(self.high)} "
                "upper ends; allowed is one of each a value, at least one; give them all"
            )
        if not all(math.isfinite(a) and math.isfinite(b) and a < b for a, b in ranges):
            raise BadInputError(
                f"{self.quantity} has ranges {ranges}; allowed are finite ones with low below "
                "high; correct them"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each value, such as `angle/l_el`."""
        return tuple(f"{self.quantity}/{label}" if label else self.quantity
                     for label in self.labels)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """Terms that a person asks for together."""

    name: str
    """Such as `obs_joint`."""
    terms: tuple[Term, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each value, in order."""
        return tuple(name for term in self.terms for name in term.names)

    @property
    def joints(self) -> tuple[str, ...]:
        """The joints that it is about, in order of first appearance."""
        labels = (label for term in self.terms for label in term.labels)
        return tuple(dict.fromkeys(label for label in labels if label in robot.JOINT_INDEX))


@dataclass(frozen=True)
class Quantity:
    """What this installation knows of a quantity."""

    block: str
    unit: str
    labels: tuple[str, ...]
    """All that can be asked for, in the order in which they are computed; none: the contract's."""
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def uniform(
        cls, block: str, unit: str, low: float, high: float, labels: Sequence[str] = ("",)
    ) -> "Quantity":
        """The same range for each label."""
        n = len(labels)
        return cls(block, unit, tuple(labels), (float(low),) * n, (float(high),) * n)

    def term(self, name: str, labels: Iterable[str] | None = None) -> Term:
        """The term `name` over these labels, all of them if None."""
        chosen = self.labels if labels is None else tuple(labels)
        index = [self.labels.index(label) for label in chosen]
        low, high = (tuple(ends[i] for i in index) for ends in (self.low, self.high))
        return Term(name, self.unit, chosen, low, high)


class Scaling:
    """Between SI and the values in [-1, 1] of a list of blocks."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        """Take the ranges from the blocks."""
        terms = [term for block in blocks for term in block.terms]
        low = np.array([end for term in terms for end in term.low])
        high = np.array([end for term in terms for end in term.high])
        self._middle, self._half = (high + low) / 2, (high - low) / 2

    def normalise(self, values: Array) -> Array:
        """Values (..., n) in SI to [-1, 1]; what is out of range ends at the end of it."""
        return np.minimum(np.maximum((values - self._middle) / self._half, -1.0), 1.0)

    def restore(self, values: Array) -> Array:
        """Values (..., n) to SI; what is out of [-1, 1] ends at the end of it."""
        return self._middle + np.minimum(np.maximum(values, -1.0), 1.0) * self._half


def check_joints(block: str, joint_names: Sequence[str]) -> tuple[str, ...]:
    """The names, if they are joints of the robot and each is given once.

    Raises:
        BadInputError: there is none, or one is unknown or given twice.
    """
    if isinstance(joint_names, str):
        raise BadInputError(
            f"{block} has the joint '{joint_names}' by itself; allowed is a list of names; put it "
            "in brackets"
        )
    for name in joint_names:
        check_choice(f"joint of {block}", name, robot.JOINTS, remedy="correct the name")
    if not len(joint_names) or len(set(joint_names)) < len(joint_names):
        raise BadInputError(
            f"{block} has the joints {list(joint_names)}; allowed is each joint once, at least "
            "one; correct the list"
        )
    return tuple(str(name) for name in joint_names)


def check_blocks(kind: str, blocks: Sequence[Block], known: Mapping[str, Quantity]) -> None:
    """See that this installation can compute each value of the blocks.

    Args:
        kind: "observation" or "action", for the error text.
        blocks: what is asked for.
        known: quantities by name.

    Raises:
        BadInputError: no block at all, or an unknown or repeated block, quantity, unit or label.
    """
    if not blocks or not all(block.terms for block in blocks):
        raise BadInputError(f"the {kind} has no values; allowed is one or more; add blocks to it")
    for block in blocks:
        names = dict.fromkeys(quantity.block for quantity in known.values())
        check_choice(f"{kind} block", block.name, names, remedy="choose one of them")
        for term in block.terms:
            allowed = [name for name, quantity in known.items() if quantity.block == block.name]
            check_choice(
                f"quantity of {block.name}", term.quantity, allowed, remedy="choose one of them"
            )
            quantity = known[term.quantity]
            check_choice(
                f"unit of {term.quantity}", term.unit, [quantity.unit], remedy="convert it"
            )
            for label in term.labels if quantity.labels else ():
                check_choice(
                    f"label of {term.quantity}", label, quantity.labels, remedy="choose one"
                )
    counts = Counter(name for block in blocks for name in block.names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise BadInputError(
            f"the {kind} has {twice[0]} {counts[twice[0]]} times; allowed is once; "
            "leave the others out"
        )
