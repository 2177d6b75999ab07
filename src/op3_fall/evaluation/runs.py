# SPDX-License-Identifier: Apache-2.0
"""Let robots fall under a controller and watch them until `WATCHED_S` after the first contact."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from op3_fall.detectors import DetectorConfig, Detectors, suited
from op3_fall.evaluation.controllers import Make
from op3_fall.scenarios import Scenario
from op3_fall.simulation import CONTROL_PERIOD_S, CYCLE_S, Simulation
from op3_fall.truth import Measurement

__all__ = ["LONGEST_S", "WATCHED_S", "Falls", "run_falls"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

WATCHED_S = 2.0
"""From the first contact on, s. Who ends up on hands and knees may topple again after 1.4 s; then
nothing hits the floor any more, and robots with stiff joints have come to rest."""
LONGEST_S = 4.0
"""Of a fall, s; only those who do not fall are watched for so long."""
STILL_RAD_S, STILL_M_S = 0.5, 0.1
"""A robot is at rest when no joint and not the torso turns faster, and the torso moves slower."""


@dataclass(frozen=True)
class Falls:
    """What n falls gave."""

    truth: Measurement
    """Ground truth `WATCHED_S` after the first contact, or at the end."""
    alarm_s: Array
    """When the fall was noticed, s, NaN if it was not, (n,)."""
    rest_s: Array
    """From the first contact until the robot was at rest for good, s, at most `WATCHED_S`; NaN if
    it did not fall, (n,)."""
    time_s: Array
    """End of each driver cycle, s, (cycles,)."""
    load_n_m: Array
    """Largest torque load within each driver cycle, N m, (cycles, n)."""
    qpos: Array
    """Configuration at each driver cycle, (cycles, n, nq); without any if it was not asked for."""


def run_falls(
    simulation: Simulation,
    scenario: Scenario,
    make: Make,
    detectors: DetectorConfig,
    *,
    pictures: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> Falls:
    """Let every robot fall once.

    Args:
        simulation: as many robots as the scenario has.
        scenario: how each fall begins.
        make: the controller.
        detectors: when a fall is noticed and an impact felt.
        pictures: keep the configurations too.
        progress: called with the share done, 0 to 1.
    """
    n = len(simulation)
    reading = simulation.reset(scenario)
    watch = Detectors(reading, simulation.servo, suited(detectors, simulation.profile.name))
    control = make(scenario, simulation)
    fall, impact = watch.step(reading)
    truth, open_ = simulation.measure(), np.ones(n, dtype=bool)
    alarm_s, moved_s = np.full(n, np.nan), np.zeros(n)
    loads: list[Array] = []
    qpos: list[Array] = []
    steps = round(LONGEST_S / CONTROL_PERIOD_S)
    for k in range(steps):
        reading = simulation.step(control(reading, fall, impact))
        for cycle in simulation.cycles:
            fall, impact = watch.step(cycle.reading)
            alarm_s = np.where(fall.falling & np.isnan(alarm_s), cycle.reading.time_s, alarm_s)
            loads.append(cycle.peak.torque_load)
            if pictures:
                qpos.append(cycle.qpos)
        now_s = (k + 1) * CONTROL_PERIOD_S
        moved_s[open_ & ~_still(simulation)] = now_s
        truth.assign(simulation.measure(), np.nonzero(open_)[0])
        open_ &= ~truth.diverged & ~(now_s >= truth.impact_s + WATCHED_S - 1e-9)
        if not open_.any():
            break
        progress((k + 1) / steps)
    time_s = np.cumsum(np.full(len(loads), CYCLE_S))
    return Falls(
        truth=truth, alarm_s=alarm_s,
        rest_s=np.clip(moved_s - truth.impact_s, 0.0, WATCHED_S),
        time_s=time_s, load_n_m=np.array(loads),
        qpos=np.array(qpos) if pictures else np.empty((0, n, simulation.model.mj.nq)),
    )  # fmt: skip


def _still(simulation: Simulation) -> Flags:
    """Who is at rest now, (n,)."""
    turning = np.abs(simulation.physics.joints[1]).max(axis=-1)
    turning = np.maximum(turning, np.abs(simulation.torso_angular_velocity).max(axis=-1))
    moving = np.abs(simulation.torso_velocity).max(axis=-1)
    return (turning < STILL_RAD_S) & (moving < STILL_M_S)
