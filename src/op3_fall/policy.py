# SPDX-License-Identifier: Apache-2.0
"""The contract that a policy file carries: what it sees, what it does, what it was trained for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from op3_fall import records
from op3_fall.action import deployable
from op3_fall.errors import BadInputError, check_choice
from op3_fall.policy_spec import PolicySpec
from op3_fall.signals import FallEstimate, JointCommand, SensorReading

__all__ = ["PRECISIONS", "Contract", "GoldenSample"]

VERSION = 1
PRECISIONS = ("float32", "int8")
_WIDTHS = {
    "position": (20,), "velocity": (20,), "effort": (20,), "p_gain": (20,), "d_gain": (20,),
    "goal_pwm": (20,), "angular_velocity": (3,), "linear_acceleration": (3,), "gravity": (3,),
    "specific_force": (3,),
    "orientation": (4,),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class GoldenSample:
    """What one robot must command after these readings; shows that a file means what it meant."""

    readings: tuple[SensorReading, ...]
    """The first one resets the policy; one step a further one."""
    falls: tuple[FallEstimate, ...]
    """One a step."""
    command: JointCommand
    """After the last step."""

    def __post_init__(self) -> None:
        """Refuse what cannot be replayed.

        Raises:
            BadInputError: not one reading more than estimates, or an array of another shape.
        """
        if len(self.readings) != len(self.falls) + 1 or not self.falls:
            raise BadInputError(
                f"golden sample has {len(self.readings)} readings and {len(self.falls)} fall "
                "estimates; allowed is one reading more than estimates, of which there is at "
                "least one; export it again"
            )
        for record in (*self.readings, *self.falls, self.command):
            for f in fields(record):
                given, allowed = np.shape(getattr(record, f.name)), _WIDTHS.get(f.name, ())
                if given != allowed:
                    raise BadInputError(
                        f"{f.name} of the golden sample has the shape {given}; allowed is "
                        f"{allowed}; export it again"
                    )


@dataclass(frozen=True, kw_only=True)
class Contract(PolicySpec):
    """All that is needed to run a network on a robot as it ran in training."""

    golden: GoldenSample
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: commit, seed, config hash, evaluation; any JSON values."""
    precision: str = PRECISIONS[0]
    """What the network computes with, in `PRECISIONS`."""
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse what no installation could run.

        Raises:
            BadInputError: with the field, what is allowed and what to do.
        """
        _check_version(self.version)
        super().__post_init__()
        check_choice("precision", self.precision, PRECISIONS, remedy="export it again")
        if not deployable(self.action):
            raise BadInputError(
                "act_joint gives velocities or torques; allowed are goal angles, all that the "
                "OP3's driver takes; train with control position"
            )

    def to_json(self) -> str:
        """As JSON, every digit kept.

        Raises:
            BadInputError: the provenance holds something that JSON lacks.
        """
        return records.to_json(self, "policy contract")

    @staticmethod
    def from_json(text: str) -> "Contract":
        """What `to_json` wrote.

        Raises:
            BadInputError: not that, or of another version.
        """
        data = records.parse(text, "policy contract")
        _check_version(data.get("version"))
        return records.typed(Contract, data, "policy contract")


def _check_version(given: Any) -> None:
    if given != VERSION:
        raise BadInputError(
            f"contract version is {given!r:.60}; allowed is {VERSION}; export the policy again "
            "with this version of op3_fall"
        )
