# SPDX-License-Identifier: Apache-2.0
"""Falls in bulk: one batch, one loop, for ten logged falls or thousands of scored ones."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot
from op3_fall.compliance import ComplianceConfig, ComplianceSchedule
from op3_fall.controller import ReflexController
from op3_fall.detectors import DetectorConfig, Detectors, suited
from op3_fall.scenarios import Scenario
from op3_fall.signals import FallEstimate, ImpactEstimate
from op3_fall.simulation import CONTROL_PERIOD_S, Cycle, Simulation
from op3_fall.truth import Measurement

__all__ = ["Events", "FallLog", "FallRun", "Reflex", "merge_runs", "run_falls"]

Array = NDArray[np.float64]
T = TypeVar("T")

LOGGED = {
    "time_s": "stamp of the driver cycle",
    "tilt_rad": "estimated tilt",
    "margin_m": "how far the capture point is outside of the soles",
    "torque_load_n_m": "sum of |torque| from the effort readings",
    "torque_load_peak_n_m": "largest true sum of |torque| at physics rate within the cycle",
    "stiffness_scale": "scale on the nominal stiffness",
    "damping_scale": "scale on the nominal damping",
    "head_acceleration_m_s2": "largest specific force at the head within the cycle",
    "torque_n_m": "torque of each joint from its effort reading",
    "torque_peak_n_m": "largest true |torque| of each joint within the cycle",
    "gear_load_n_m": "largest |torque| through each gear train within the cycle",
    "position_rad": "angle of each joint",
    "velocity_rad_s": "velocity of each joint",
    "goal_rad": "goal written to each joint",
    "floor_force_n": "largest floor force on each part within the cycle",
    "fall_phase": "phase of the fall (FallPhase)",
    "fall_angle_rad": "direction of the fall, 0 front, right positive",
    "fall_direction": "the same in 8 sectors, 0 while upright",
    "fall_velocity_rad_s": "rate at which the tilt grows",
    "clearance_m": "of the lowest part other than the feet above the floor, NaN while normal",
    "fall_fast": "1 while the fall is of class FAST",
    "time_to_impact_s": "predicted time to the first contact",
    "spike_n_m": "change of the torque through the gears of arms and head since the last cycle",
    "impact_onset": "1 in the cycle in which an impact is first felt",
    "impact_count": "impacts felt so far",
    "impact_sense": "what felt the latest impact (ImpactSense)",
    "impact_peak_n_m": "largest torque load since the latest impact, NaN before any",
    "impact_subsided": "1 once the load of the latest impact has subsided",
    "gains_phase": "phase of the compliance schedule, whether the fall follows it or not",
    "gravity": "estimated unit vector pointing down, in the body frame",
    "orientation": "the driver's quaternion wxyz",
    "angular_velocity_rad_s": "gyro",
    "linear_acceleration_m_s2": "specific force",
    "qpos": "configuration of the model",
}


@dataclass
class Events:
    """When things happened, s, NaN if they did not, (n,)."""

    alarm_s: Array
    """The detector noticed the fall."""
    reached_s: Array
    """The pose was nearly reached."""
    softened_s: Array
    """The stiffness left its nominal value."""
    restored_s: Array
    """It is back."""
    felt_s: Array
    """The first impact felt."""

    @classmethod
    def none(cls, n: int) -> "Events":
        """Nothing happened yet."""
        return cls(*(np.full(n, np.nan) for _ in range(5)))

    @staticmethod
    def mark(times: Array, happened: NDArray[np.bool_], now_s: Array) -> None:
        """Note the first time that something happened."""
        times[happened & np.isnan(times)] = now_s[happened & np.isnan(times)]


@dataclass
class FallLog:
    """Driver cycles of every fall: `data[name]` is (cycles, n, ...), `LOGGED` says what."""

    data: dict[str, list[Array]] = field(default_factory=lambda: {k: [] for k in LOGGED})

    def add(
        self,
        cycle: Cycle,
        fall: FallEstimate,
        impact: ImpactEstimate,
        controller: ReflexController,
        servo: robot.Servo,
    ) -> None:
        """Append one driver cycle."""
        peak, reading = cycle.peak, cycle.reading
        row = (
            reading.time_s, fall.tilt, fall.margin, impact.torque_load, peak.torque_load,
            controller.stiffness_scale, controller.damping_scale, peak.head_acceleration,
            reading.effort / servo.effort_per_n_m, peak.torque, peak.gear_load, reading.position,
            reading.velocity, cycle.command.position, peak.floor_force,
            fall.phase, fall.fall_angle, fall.direction, fall.fall_velocity, fall.clearance,
            fall.fast, fall.time_to_impact, impact.spike, impact.onset, impact.count,
            impact.sense, impact.peak, impact.subsided, controller.schedule.phase, fall.gravity,
            reading.orientation, reading.angular_velocity, reading.linear_acceleration, cycle.qpos,
        )  # fmt: skip
        for name, value in zip(LOGGED, row, strict=True):
            self.data[name].append(np.array(value, dtype=float))

    def arrays(self) -> dict[str, Array]:
        """Stacked in time, (cycles, n, ...)."""
        return {name: np.stack(values) for name, values in self.data.items()}


@dataclass
class FallRun:
    """What n falls gave."""

    events: Events
    """When what happened."""
    truth: Measurement
    """Ground truth at the end."""
    log: dict[str, Array]
    """`FallLog.arrays()`; empty if logging was off."""
    impacts: list[tuple[int, float, float]]
    """Each impact felt: (fall, time in s, size of the spike in N m)."""


def merge_runs(runs: list[FallRun]) -> FallRun:
    """Runs of the same length one after the other, as if they had been one batch."""
    offsets = np.cumsum([0] + [len(run.truth.time_s) for run in runs])
    return FallRun(
        events=_concatenate([run.events for run in runs]),
        truth=_concatenate([run.truth for run in runs]),
        log={name: np.concatenate([r.log[name] for r in runs], axis=1) for name in runs[0].log},
        impacts=[
            (k + int(offset), time_s, spike)
            for offset, run in zip(offsets, runs, strict=False)
            for k, time_s, spike in run.impacts
        ],
    )


def _concatenate(parts: list[T]) -> T:
    """Dataclasses of arrays (n, ...), nested ones too, joined along n."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)  # type: ignore[return-value]
    kind = type(parts[0])
    return kind(**{
        f.name: _concatenate([getattr(p, f.name) for p in parts]) for f in fields(kind)  # type: ignore[arg-type]
    })  # fmt: skip


@dataclass(frozen=True)
class Reflex:
    """How every fall of a run is met."""

    goal: Array = field(default_factory=lambda: robot.POSES["protect_front"])
    """Protective pose, rad, (20,)."""
    compliance: ComplianceConfig = field(default_factory=ComplianceConfig)
    """The schedule of the compliant falls."""
    detectors: DetectorConfig = field(default_factory=DetectorConfig)
    """When a fall is noticed and an impact felt."""


def run_falls(
    simulation: Simulation,
    scenario: Scenario,
    reflex: Reflex,
    compliant: NDArray[np.bool_],
    *,
    duration_s: float = 3.6,
    log: bool = True,
    progress: Callable[[float], None] = lambda share: None,
    **scales: ArrayLike,
) -> FallRun:
    """Let every robot fall once.

    Args:
        simulation: as many robots as the scenario has.
        scenario: how each fall begins.
        reflex: how it is met.
        compliant: which falls (n,) follow the schedule; the others stay stiff.
        duration_s: simulated time, s.
        log: keep every driver cycle.
        progress: called with the share done, 0 to 1.
        scales: `stiffness_scale`, `damping_scale`, `restore_s`, (n,) each, where falls differ.
    """
    n, servo = len(simulation), simulation.servo
    reading = simulation.reset(scenario)
    config = suited(reflex.detectors, simulation.profile.name)
    detectors = Detectors(reading, servo, config)
    schedule = ComplianceSchedule(servo, (n,), reflex.compliance, **scales)
    controller = ReflexController(
        scenario.position, reflex.goal, schedule, servo, compliant=compliant
    )
    fall, impact = detectors.step(reading)
    events, cycles, felt = Events.none(n), FallLog(), []
    steps = round(duration_s / CONTROL_PERIOD_S)
    for k in range(steps):
        command = controller.step(reading, fall, impact)
        now = np.full(n, k * CONTROL_PERIOD_S)
        events.mark(events.reached_s, controller.reached, now)
        soft = controller.stiffness_scale < 1
        events.mark(events.restored_s, ~soft & np.isfinite(events.softened_s), now)
        events.mark(events.softened_s, soft, now)
        reading = simulation.step(command)
        for cycle in simulation.cycles:
            fall, impact = detectors.step(cycle.reading)
            events.mark(events.alarm_s, fall.falling, cycle.reading.time_s)
            events.mark(events.felt_s, impact.onset, cycle.reading.time_s)
            felt += [
                (int(i), float(cycle.reading.time_s[i]), float(impact.spike[i]))
                for i in np.nonzero(impact.onset)[0]
            ]
            if log:
                cycles.add(cycle, fall, impact, controller, servo)
        progress((k + 1) / steps)
    return FallRun(events, simulation.measure(), cycles.arrays() if log else {}, felt)
