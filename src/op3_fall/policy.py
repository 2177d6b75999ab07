# SPDX-License-Identifier: Apache-2.0
"""The contract that a policy file carries: what it sees, what it does, what it was trained for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from op3_fall import action, observation, records, robot
from op3_fall.blocks import Block, check_blocks
from op3_fall.errors import BadInputError, check_range
from op3_fall.sensors import PROFILES, find_profile
from op3_fall.signals import FallEstimate, JointCommand, SensorReading

__all__ = ["Contract", "Difference", "GoldenSample", "Installation", "NominalGains"]

VERSION = 1
VOLTAGE_TOLERANCE = 0.1
"""Share by which the supply may differ from that of training; a full 3S battery is 5 % above."""
_WIDTHS = {
    "position": (20,), "velocity": (20,), "effort": (20,), "p_gain": (20,), "d_gain": (20,),
    "goal_pwm": (20,), "angular_velocity": (3,), "linear_acceleration": (3,), "gravity": (3,),
    "specific_force": (3,),
    "orientation": (4,),
}  # fmt: skip


@dataclass(frozen=True)
class NominalGains:
    """Registers that the scales of the gains start from."""

    p_gain: int = robot.Servo.NOMINAL_P
    i_gain: int = 0
    d_gain: int = robot.Servo.NOMINAL_D
    goal_pwm: int = robot.Servo.MAX_PWM

    def __post_init__(self) -> None:
        """Refuse what the registers cannot hold.

        Raises:
            BadInputError: a value outside its register.
        """
        for name in ("p_gain", "i_gain", "d_gain"):
            check_range(name, getattr(self, name), 0, robot.Servo.MAX_GAIN)
        check_range("goal_pwm", self.goal_pwm, 0, robot.Servo.MAX_PWM)


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


class Difference(NamedTuple):
    """A field in which a contract and the place where it shall run do not agree."""

    field: str
    contract: Any
    here: Any

    def __str__(self) -> str:
        """The field and both values."""
        return f"{self.field} is {self.contract} in the policy and {self.here} here"


@dataclass(frozen=True)
class Installation:
    """What the place offers where a policy shall run."""

    sensor_profile: str
    """`stock` or `extended`: whether the driver reads effort and velocity."""
    voltage_v: float = 12.0
    control_period_s: float = 0.02
    joint_names: tuple[str, ...] = robot.JOINTS
    nominal_gains: NominalGains = field(default_factory=NominalGains)


@dataclass(frozen=True)
class Contract:
    """All that is needed to run a network on a robot as it ran in training."""

    observation: tuple[Block, ...]
    action: tuple[Block, ...]
    sensor_profile: str
    """Name in `sensors.PROFILES`."""
    golden: GoldenSample
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: commit, seed, config hash, evaluation; any JSON values."""
    version: int = VERSION
    history: int = 1
    """The network's input is this many observations, oldest first."""
    joint_names: tuple[str, ...] = robot.JOINTS
    """Of every array over joints."""
    control_period_s: float = 0.02
    nominal_gains: NominalGains = field(default_factory=NominalGains)
    voltage_v: float = 12.0
    nominal_pose: tuple[float, ...] = tuple(robot.POSES["stand"].tolist())
    """Where the falls of training begin, rad, by joint; on the robot the measured pose counts."""
    latency_s: tuple[float, float] = (0.0, 0.0)
    """Least and most latency in training on top of the driver's own."""

    def __post_init__(self) -> None:
        """Refuse what no installation could run.

        Raises:
            BadInputError: with the field, what is allowed and what to do.
        """
        _check_version(self.version)
        check_blocks("observation", self.observation, observation.QUANTITIES)
        action.ActionDecoder(self.action)
        self._check_last_action()
        self._check_profile()
        check_range("history", self.history, 1, 100)
        check_range("control period", self.control_period_s, 0.001, 1.0, unit="s")
        robot.Servo(self.voltage_v)
        if len(self.nominal_pose) != len(self.joint_names):
            raise BadInputError(
                f"nominal pose has {len(self.nominal_pose)} angles; allowed is one for each of "
                f"the {len(self.joint_names)} joints; give them all"
            )
        least, most = self.latency_s
        check_range("latency", least, 0.0, 1.0, unit="s")
        check_range("largest latency", most, least, 1.0, unit="s")

    def _check_last_action(self) -> None:
        ours = tuple(name for block in self.action for name in block.names)
        for block in self.observation:
            labels = block.terms[0].labels
            if block.name == "last_action" and labels != ours:
                raise BadInputError(
                    f"last_action is of {', '.join(labels)}; allowed is the whole action, "
                    f"{', '.join(ours)}; make it with last_action(action blocks)"
                )

    def _check_profile(self) -> None:
        profile = find_profile(self.sensor_profile)
        if observation.needs_effort(self.observation) and not profile.joint_load:
            raise BadInputError(
                f"sensor profile is '{profile.name}', but the observation has torque_load; "
                "allowed are extended, ideal; leave torque_load out or train with one of them"
            )

    @property
    def observation_length(self) -> int:
        """Inputs of the network."""
        return self.history * sum(len(block.names) for block in self.observation)

    @property
    def action_length(self) -> int:
        """Outputs of the network."""
        return sum(len(block.names) for block in self.action)

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

    def differences(self, here: Installation) -> list[Difference]:
        """The fields in which the place differs so that the policy must not run there."""
        pairs = {
            "joint_names": self.joint_names == here.joint_names,
            "control_period_s": math.isclose(self.control_period_s, here.control_period_s),
            "nominal_gains": self.nominal_gains == here.nominal_gains,
            "voltage_v": abs(here.voltage_v / self.voltage_v - 1) <= VOLTAGE_TOLERANCE,
            "sensor_profile": PROFILES[self.sensor_profile].joint_load
            <= find_profile(here.sensor_profile).joint_load,
        }
        return [
            Difference(name, getattr(self, name), getattr(here, name))
            for name, agrees in pairs.items()
            if not agrees
        ]

    def check_runs_on(self, here: Installation) -> None:
        """Refuse a place that differs.

        Raises:
            BadInputError: naming each differing field with both values.
        """
        found = self.differences(here)
        if found:
            raise BadInputError(
                f"the policy does not fit: {'; '.join(map(str, found))}; change the set-up, or "
                "train a policy for it"
            )


def _check_version(given: Any) -> None:
    if given != VERSION:
        raise BadInputError(
            f"contract version is {given!r:.60}; allowed is {VERSION}; export the policy again "
            "with this version of op3_fall"
        )
