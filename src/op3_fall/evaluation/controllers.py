# SPDX-License-Identifier: Apache-2.0
"""What may meet a fall: what people do today, and a policy.

Each is made by a factory for the n robots of a simulation and called once a control step, with the
same readings, the same estimates and so the same alarm.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from op3_fall.compliance import ComplianceSchedule
from op3_fall.controller import ReflexController
from op3_fall.envs.takeover import Takeover
from op3_fall.experiments import Reflex
from op3_fall.policy_spec import PolicySpec
from op3_fall.scenarios import Scenario
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading
from op3_fall.simulation import Simulation

__all__ = ["BASELINES", "POLICY", "Controller", "Infer", "Make", "policy_controller"]

Controller = Callable[[SensorReading, FallEstimate, ImpactEstimate], JointCommand]
"""Commands (n, 20) for this control step."""
Make = Callable[[Scenario, Simulation], Controller]
"""Makes the controller of the n robots of a simulation that was just reset with the scenario."""
Infer = Callable[[NDArray[np.float32]], NDArray[Any]]
"""A network: observations (n, observations) to actions (n, actions)."""


def _freeze(scenario: Scenario, simulation: Simulation) -> Controller:
    """Hold the posture with the gains that the driver starts with."""
    posture = JointCommand.hold(scenario.position)
    return lambda reading, fall, impact: posture


def _limp(scenario: Scenario, simulation: Simulation) -> Controller:
    """From the alarm on no joint drives; the duty cap stays, so that 0 is not at the cap."""
    posture = JointCommand.hold(scenario.position)

    def step(reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate) -> JointCommand:
        up = ~fall.falling[:, None]
        return JointCommand(
            posture.position, posture.p_gain * up, posture.d_gain * up, posture.goal_pwm
        )

    return step


def _scripted(compliant: bool) -> Make:
    """Drive to the protective pose on the alarm, and soften at the impact or stay stiff."""

    def make(scenario: Scenario, simulation: Simulation) -> Controller:
        n, servo, reflex = len(simulation), simulation.servo, Reflex()
        schedule = ComplianceSchedule(servo, (n,), reflex.compliance)
        return ReflexController(
            scenario.position, reflex.goal, schedule, servo, compliant=np.full(n, compliant)
        ).step

    return make


BASELINES: dict[str, Make] = {
    "freeze": _freeze, "limp": _limp, "scripted": _scripted(False),
    "scripted_compliant": _scripted(True),
}  # fmt: skip
"""What people do today, by name."""
POLICY = "policy"
"""Name of the controller that a policy is."""


def policy_controller(spec: PolicySpec, infer: Infer) -> Make:
    """A policy acts from the alarm on, exactly as in the environments.

    Args:
        spec: what it sees and does.
        infer: its network.
    """

    def make(scenario: Scenario, simulation: Simulation) -> Controller:
        return _PolicyController(spec, infer, scenario, simulation).step

    return make


class _PolicyController:
    """The environments' order: who acts, what all see, what they do."""

    def __init__(
        self, spec: PolicySpec, infer: Infer, scenario: Scenario, simulation: Simulation
    ) -> None:
        self._spec, self._infer = spec, infer
        self._position, self._simulation = scenario.position, simulation
        self._takeover: Takeover | None = None

    def step(
        self, reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
    ) -> JointCommand:
        """The command (n, 20) for this control step."""
        takeover = self._takeover
        if takeover is None:
            takeover = self._takeover = Takeover(self._spec, reading)
            takeover.reset(reading, np.arange(len(self._position)), self._position)
        else:
            takeover.follow(reading, fall)
        seen = takeover.codec.observe(reading, fall, takeover.watches)
        # A robot whose physics broke down may have readings that are no numbers.
        action = self._infer(np.nan_to_num(seen, nan=0.0))
        command = takeover.decide(action, reading, fall)
        if takeover.modes is not None:
            self._simulation.operate(takeover.modes)
        return command
