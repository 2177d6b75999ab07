# SPDX-License-Identifier: Apache-2.0
"""How a policy is connected to a robot: what it sees, what it does, at which rate, on which gains.

The environments train on it, and the contract inside a policy file says the same.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from op3_fall import action, observation, robot
from op3_fall.blocks import Block, check_blocks
from op3_fall.errors import BadInputError, check_range
from op3_fall.sensors import PROFILES, find_profile

__all__ = ["Difference", "Installation", "NominalGains", "PolicySpec"]

VOLTAGE_TOLERANCE = 0.1
"""Share by which the supply may differ from that of training; a full 3S battery is 5 % above."""


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
class PolicySpec:
    """All of a policy but its network: what stands between signals and the network's numbers."""

    observation: tuple[Block, ...]
    action: tuple[Block, ...]
    sensor_profile: str
    """Name in `sensors.PROFILES`."""
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
