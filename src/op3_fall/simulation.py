# SPDX-License-Identifier: Apache-2.0
"""MuJoCo, batched: n OP3s behind n drivers; one robot is n = 1.

Physics steps of 2 ms carry driver cycles of 8 ms (readings out, commands in) and control steps of
20 ms. A reading is one driver cycle old; a command takes effect at the next driver cycle.
"""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot, sensors
from op3_fall.driver_events import CYCLE_S
from op3_fall.errors import BadInputError, check_choice, check_range
from op3_fall.model import Op3Model, load_model
from op3_fall.physics import Physics
from op3_fall.rotations import gravity_in_body
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.truth import Measurement, Peaks

T = TypeVar("T", SensorReading, JointCommand)

__all__ = ["CONTROL_PERIOD_S", "CYCLE_S", "Cycle", "Simulation"]

CONTROL_PERIOD_S = 0.020

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Cycle:
    """One driver cycle of the simulations in `rows`: what it published and what came before."""

    rows: Rows
    """Simulations whose driver ticked, (k,)."""
    reading: SensorReading
    """What the driver published, (k, ...)."""
    peak: Peaks
    """Peaks at physics rate since the previous driver cycle, (k, ...)."""
    command: JointCommand
    """What the driver wrote to the servos in this cycle, (k, ...)."""
    qpos: Array
    """Configuration of the model, for pictures, (k, nq)."""


def _steps(period_s: float, dt_s: float, name: str) -> int:
    steps = round(period_s / dt_s)
    if steps < 1 or abs(steps * dt_s - period_s) > 1e-9:
        raise BadInputError(
            f"physics step is {dt_s * 1e3:g} ms; allowed are steps that divide the {name} of "
            f"{period_s * 1e3:g} ms; choose for example 0.5, 1, 2 or 4 ms"
        )
    return steps


class Simulation:
    """N robots, each with its own state, gains, masses, friction and strength."""

    def __init__(
        self,
        n: int = 1,
        *,
        model: Op3Model | None = None,
        profile: str = "extended",
        threads: int = 0,
    ) -> None:
        """Make the batch; call `reset` before the first `step`.

        Args:
            n: number of simulations.
            model: from `load_model`, this package's own if None.
            profile: `stock`, `extended` or `ideal` sensing.
            threads: worker threads, 0 for every core.

        Raises:
            BadInputError: n < 1, an unknown profile, or a physics step that divides neither
                the driver cycle nor the control period.
        """
        if n < 1:
            raise BadInputError(f"number of simulations is {n}; allowed is 1 or more; raise it")
        self.model = model or load_model()
        self.profile = sensors.find_profile(profile)
        self.servo = self.model.servo
        self.dt_s = float(self.model.mj.opt.timestep)
        self._steps_per_cycle = _steps(CYCLE_S, self.dt_s, "driver cycle")
        self._steps_per_control = _steps(CONTROL_PERIOD_S, self.dt_s, "control period")
        self.physics = Physics(self.model, n, threads)
        self.batch = self.physics.batch
        self._substep = np.zeros(n, dtype=np.int64)
        self._measured = Measurement.start(n)
        self._cycle_peak = Peaks.zeros(n)
        self._chip = np.zeros((n, 6))
        self._filtered = np.zeros((n, 6))
        joints = (n, robot.NUM_JOINTS)
        self._command = JointCommand.hold(np.zeros(joints))
        self._written = JointCommand.hold(np.zeros(joints))
        shapes = (joints, joints, joints, (n, 6), (n, 4))
        self._sample = sensors.Sample(*(np.zeros(s) for s in shapes))
        self._reading = self._publish(np.arange(n))
        self.cycles: list[Cycle] = []
        """Driver cycles of the last `step`, in time order."""

    def __len__(self) -> int:
        """Number of simulations."""
        return self.batch.num_sims

    def reset(self, scenario: Scenario, rows: Rows | None = None) -> SensorReading:
        """Start the simulations in `rows` (all if None) as `scenario` says, at rest.

        Args:
            scenario: one entry for each of `rows`.
            rows: sorted indices (k,).

        Returns:
            The latest reading of every simulation, (n, ...).

        Raises:
            BadInputError: the scenario's length is not that of `rows`.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.intp)
        if len(scenario) != len(rows):
            raise BadInputError(
                f"scenario has {len(scenario)} simulations; allowed is {len(rows)}, one for each "
                "that is reset; give Scenario.take(...) of as many"
            )
        hold = JointCommand.hold(scenario.position)
        for command in (self._command, self._written):
            _assign(command, rows, hold)
        self.physics.reset(scenario, rows, hold)
        self._substep[rows] = 0
        self._measured.clear(rows)
        self._cycle_peak.clear(rows)
        # The sensors have been watching a robot at rest for long.
        self._chip[rows, :3] = -sensors.GRAVITY * gravity_in_body(scenario.orientation)
        self._chip[rows, 3:] = 0.0
        self._filtered[rows] = self._chip[rows]
        self._store_sample(rows)
        _assign(self._reading, rows, self._publish(rows))
        return self._snapshot()

    def push(
        self, body: str, force_n: ArrayLike, duration_s: float, rows: Rows | None = None
    ) -> None:
        """Push a body at its centre of mass from now on, on top of all other pushes.

        Args:
            body: a link of the robot, such as `head_tilt_link`.
            force_n: in the world frame, N, (3,).
            duration_s: how long; less than a physics step counts as one.
            rows: simulations (k,), all if None.

        Raises:
            BadInputError: an unknown body, or a force or duration that is not finite and usable.
        """
        links = {self.model.mj.body(int(b)).name: int(b)
                 for b in np.sort(np.concatenate(self.model.part_bodies))}  # fmt: skip
        check_choice("body", body, links, remedy="push one of them")
        force = np.asarray(force_n, dtype=float)
        for axis, component in zip("xyz", force, strict=True):
            check_range(f"force {axis}", float(component), -1000, 1000, unit="N")
        check_range("push duration", duration_s, 0, 60, unit="s")
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.intp)
        now_s: Array = self._substep[rows].astype(float) * self.dt_s
        until_s: Array = now_s + max(duration_s, self.dt_s)
        self.physics.push(rows, links[body], force, until_s)

    def step(self, command: JointCommand) -> SensorReading:
        """One control period of 20 ms.

        Args:
            command: (n, 20) each; takes effect at each simulation's next driver cycle.

        Returns:
            The latest reading of every simulation, (n, ...).
        """
        return self.advance(command, self._steps_per_control)

    def advance(self, command: JointCommand, steps: int) -> SensorReading:
        """`steps` physics steps; `step` is this for one control period."""
        _assign(self._command, slice(None), command)
        self.cycles = []
        self.physics.begin()
        for _ in range(steps):
            time_s: Array = self._substep.astype(float) * self.dt_s
            frame = self.physics.step(time_s, self._measured.diverged)
            self._measured.add(frame, self._cycle_peak.add(frame), time_s, self.dt_s)
            self._substep += 1
            self._chip = sensors.chip_filter(self._chip, self.physics.inertial, self.dt_s)
            due = np.nonzero(self._substep % self._steps_per_cycle == 0)[0]
            if due.size:
                self._driver_cycle(due)
        self._measured.diverged |= self.physics.diverged
        return self._snapshot()

    def measure(self) -> Measurement:
        """Ground truth of every simulation since its last reset, as copies."""
        self._measured.fold(self._cycle_peak, np.arange(len(self)))
        self._measured.com[:] = self.physics.com
        return self._measured.copy()

    def _driver_cycle(self, due: Rows) -> None:
        """Publish the sample asked for a cycle ago, write the commands, ask for a new sample."""
        rows = slice(None) if len(due) == len(self) else due  # slices are faster
        if not self.profile.defects:
            self._store_sample(rows)
        _assign(self._reading, rows, self._publish(rows))
        _assign(self._written, rows, _rows(self._command, rows))
        self.physics.write_servos(rows, _rows(self._written, rows))
        self._store_sample(rows)
        peak = self._cycle_peak.rows(rows)
        self.cycles.append(
            Cycle(due, _rows(self._reading, rows), peak, _rows(self._written, rows),
                  self.physics.qpos[rows].copy())
        )  # fmt: skip
        self._measured.fold(self._cycle_peak, due)
        self._cycle_peak.clear(rows)

    def _store_sample(self, rows: Rows | slice) -> None:
        physics = self.physics
        position, velocity = physics.joints
        fresh = sensors.Sample(
            position=position[rows],
            velocity=velocity[rows],
            torque=physics.torque[rows],
            imu=(self._chip if self.profile.defects else physics.inertial)[rows],
            orientation=physics.qpos[rows, 3:7],
        )
        for mine, new in zip(self._sample, fresh, strict=True):
            mine[rows] = new

    def _publish(self, rows: Rows | slice) -> SensorReading:
        time_s: Array = self._substep[rows].astype(float) * self.dt_s
        sample = sensors.Sample(*(value[rows] for value in self._sample))
        reading, self._filtered[rows] = sensors.publish(
            self.profile, self.servo, time_s, sample, self._filtered[rows]
        )
        return reading

    def _snapshot(self) -> SensorReading:
        return _rows(self._reading, slice(None))


def _rows(batch: T, rows: Rows | slice) -> T:
    """A copy of those simulations."""
    return replace(batch, **{f.name: getattr(batch, f.name)[rows].copy() for f in fields(batch)})


def _assign(batch: T, rows: Rows | slice, new: T) -> None:
    """Overwrite those simulations in place."""
    for f in fields(batch):
        getattr(batch, f.name)[rows] = getattr(new, f.name)
