# SPDX-License-Identifier: Apache-2.0
"""What a policy sees in falls: observations to try a file on, and the fall that it carries."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from op3_fall.detectors import DetectorConfig
from op3_fall.errors import Op3FallError
from op3_fall.evaluation.controllers import Controller, Infer, policy_controller
from op3_fall.evaluation.runs import run_falls
from op3_fall.policy_spec import PolicySpec
from op3_fall.scenarios import Scenario
from op3_fall.signals import FallEstimate, ImpactEstimate, JointCommand, SensorReading
from op3_fall.simulation import Simulation

__all__ = ["GOLDEN_STEPS", "Recording", "record_falls"]

GOLDEN_STEPS = 10
"""Control steps of the golden sample, from the alarm on: 0.2 s, about half of a fall."""
T = TypeVar("T", SensorReading, FallEstimate)


@dataclass(frozen=True, eq=False)
class Recording:
    """Falls under a policy."""

    observations: NDArray[np.float32]
    """Of all robots and control steps, (k, observations)."""
    readings: tuple[SensorReading, ...]
    """Of one robot: at the alarm, then `GOLDEN_STEPS` more, shape ()."""
    falls: tuple[FallEstimate, ...]
    """Of the readings but the first one."""


def record_falls(
    spec: PolicySpec, infer: Infer, simulation: Simulation, scenario: Scenario
) -> Recording:
    """Let robots fall under a policy, with the shipped detectors.

    Raises:
        Op3FallError: no robot fell for `GOLDEN_STEPS`.
    """
    seen: list[NDArray[np.float32]] = []
    actions: list[NDArray[np.float32]] = []
    moments: list[tuple[SensorReading, FallEstimate]] = []

    def noted(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(observations)
        actions.append(infer(observations))
        return actions[-1]

    def make(scenario: Scenario, simulation: Simulation) -> Controller:
        control = policy_controller(spec, noted)(scenario, simulation)

        def step(
            reading: SensorReading, fall: FallEstimate, impact: ImpactEstimate
        ) -> JointCommand:
            moments.append((reading, fall))
            return control(reading, fall, impact)

        return step

    run_falls(simulation, scenario, make, DetectorConfig())
    robot, alarm = _telling_fall(
        np.array([fall.falling for _, fall in moments]), np.abs(actions) < 1
    )
    window = moments[alarm : alarm + GOLDEN_STEPS + 1]
    return Recording(
        observations=np.concatenate(seen),
        readings=tuple(_row(reading, robot) for reading, _ in window),
        falls=tuple(_row(fall, robot) for _, fall in window[1:]),
    )


def _telling_fall(falling: NDArray[np.bool_], within: NDArray[np.bool_]) -> tuple[int, int]:
    """The robot whose command shows most of its action, and the step of its alarm.

    Args:
        falling: (steps, n).
        within: the network's values that are not cut off, (steps, n, actions).
    """
    alarm = falling.argmax(axis=0)
    last = np.minimum(alarm + GOLDEN_STEPS, len(falling) - 1)
    robots = np.arange(falling.shape[1])
    steps = np.arange(len(falling))[:, None]
    during = (steps >= alarm) & (steps <= alarm + GOLDEN_STEPS)
    whole = (falling & during).sum(axis=0) > GOLDEN_STEPS
    if not whole.any():
        raise Op3FallError(
            f"no robot of the last phase of the curriculum falls for {GOLDEN_STEPS} control "
            "steps; allowed is a phase with pushes that topple it; train with such a curriculum"
        )
    shown = np.where(whole, within[last, robots].sum(axis=-1), -1)
    return int(shown.argmax()), int(alarm[shown.argmax()])


def _row(batch: T, robot: int) -> T:
    return type(batch)(**{name: np.array(value[robot]) for name, value in vars(batch).items()})
