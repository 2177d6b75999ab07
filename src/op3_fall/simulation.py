# SPDX-License-Identifier: Apache-2.0
"""MuJoCo, batched: n OP3s behind n drivers; one robot is n = 1.

Physics steps of 2 ms carry driver cycles of 8 ms (readings out, commands in) and control steps of
20 ms. A reading is one driver cycle old; a command takes effect at the next driver cycle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from op3_fall import robot, sensors
from op3_fall.driver_events import CYCLE_S
from op3_fall.errors import BadInputError
from op3_fall.ground_truth import GroundTruth
from op3_fall.latency import CommandDelay
from op3_fall.model import Op3Model, load_model
from op3_fall.operating_modes import OperatingModes
from op3_fall.physics import Physics
from op3_fall.rows import Rows, assign, faster, take
from op3_fall.scenarios import Scenario
from op3_fall.sensing import Sensing
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.truth import Measurement, Peaks

__all__ = ["CONTROL_PERIOD_S", "CYCLE_S", "Cycle", "Simulation"]

CONTROL_PERIOD_S = 0.020

Array = NDArray[np.float64]


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


class Simulation(GroundTruth):
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
        self._ahead = np.zeros(n, dtype=np.int64)  # physics steps that its driver is ahead of it
        self._total = 0  # physics steps since all were reset
        self._measured = Measurement.start(n)
        self._cycle_peak = Peaks.zeros(n)
        self._sensing = Sensing(self.physics, self.profile, n)
        self._delay = CommandDelay(n)
        self._modes = OperatingModes(n, self.servo)
        joints = (n, robot.NUM_JOINTS)
        self._command = JointCommand.hold(np.zeros(joints))
        self._written = JointCommand.hold(np.zeros(joints))
        self._reading = self._sensing.publish(np.arange(n), np.zeros(n))
        self.cycles: list[Cycle] = []
        """Driver cycles of the last `step`, in time order."""

    def __len__(self) -> int:
        """Number of simulations."""
        return self.batch.num_sims

    def reset(
        self, scenario: Scenario, rows: Rows | None = None, *, in_rhythm: bool = False
    ) -> SensorReading:
        """Start the simulations in `rows` (all if None) as `scenario` says, at rest.

        Args:
            scenario: one entry for each of `rows`.
            rows: sorted indices (k,).
            in_rhythm: their drivers go on in the rhythm of the batch, so that the first cycle may
                come sooner than after 8 ms. Then all drivers have their cycles together, which is
                faster; else what a simulation does depends on no other.

        Returns:
            The latest reading of every simulation, (n, ...).

        Raises:
            BadInputError: the scenario's length is not that of `rows`, or it has bumps and the
                model none.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.intp)
        scenario.check_length(len(rows))
        hold = JointCommand.hold(scenario.position)
        for command in (self._command, self._written):
            assign(command, rows, hold)
        self.physics.reset(scenario, rows, hold)
        self._total *= len(rows) < len(self)
        self._substep[rows] = 0
        self._ahead[rows] = self._total % self._steps_per_cycle if in_rhythm else 0
        self._measured.clear(rows)
        self._cycle_peak.clear(rows)
        self._delay.reset(rows, scenario.latency_s, hold)
        self._modes.reset(rows, self._delay.cycles[rows])
        self._sensing.reset(scenario, rows)
        assign(self._reading, rows, self._sensing.publish(rows, np.zeros(len(rows))))
        return self._snapshot()

    @property
    def state(self) -> tuple[Array, Array]:
        """Positions (n, nq) and velocities (n, nv) of the model, as `place` takes them."""
        return self.physics.qpos.copy(), self.physics.qvel.copy()

    def place(self, qpos: Array, qvel: Array, command: JointCommand) -> None:
        """Go on from a `state`, with `command` (n, 20) written, instead of from `reset`."""
        self.physics.qpos[:], self.physics.qvel[:] = qpos, qvel
        for given in (self._command, self._written):
            assign(given, slice(None), command)
        self._write(np.arange(len(self)), command)
        self.batch.forward()

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
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.intp)
        now_s: Array = self._substep[rows].astype(float) * self.dt_s
        self.physics.forces.push(rows, body, force_n, now_s, duration_s)

    def hold(self, wrench: ArrayLike | None) -> None:
        """A hand at the torso: force and torque at its centre of mass until the next call.

        It adds to all pushes; a reset takes it off the simulations that are reset.

        Args:
            wrench: force in N, then torque in N m, in the world frame, (n, 6); None for no hand.

        Raises:
            BadInputError: another shape, or a component that is not finite or beyond 1000.
        """
        self.physics.forces.hold(wrench)

    def operate(self, modes: ArrayLike) -> None:
        """Change what the joints' goals mean, from the next driver cycle on until a reset.

        `JointCommand.position` then holds N m for joints in CURRENT and rad/s for those in
        VELOCITY. The change is as late as the scenario's commands are, so that it comes with the
        first goal after it. For research in simulation: the OP3's driver has POSITION alone.

        Args:
            modes: `OperatingMode` of each joint, (n, 20).

        Raises:
            BadInputError: another shape, or a number that is no `OperatingMode`.
        """
        self._modes.ask(modes, self._cycle + 1)

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
        assign(self._command, slice(None), command)
        self.cycles = []
        self.physics.begin()
        for _ in range(steps):
            time_s: Array = self._substep.astype(float) * self.dt_s
            frame = self.physics.step(time_s, self._measured.diverged)
            self._cycle_peak.add(frame)
            self._measured.add(frame, time_s, self.dt_s)
            self._substep += 1
            self._total += 1
            self._sensing.step()
            due = np.nonzero((self._substep + self._ahead) % self._steps_per_cycle == 0)[0]
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
        rows = faster(due, len(self))
        cycle = self._cycle[due]
        if not self.profile.defects:
            self._sensing.sample(due, cycle)
        time_s: Array = self._substep[due].astype(float) * self.dt_s
        assign(self._reading, rows, self._sensing.publish(due, time_s))
        assign(self._written, rows, self._delay.pass_on(due, take(self._command, rows)))
        self._write(due, take(self._written, rows))
        if self.profile.defects:
            self._sensing.sample(due, cycle)
        peak = self._cycle_peak.rows(rows)
        self.cycles.append(
            Cycle(due, take(self._reading, rows), peak, take(self._written, rows),
                  self.physics.qpos[rows].copy())
        )  # fmt: skip
        self._measured.fold(self._cycle_peak, due)
        self._cycle_peak.clear(rows)

    def _write(self, due: Rows, command: JointCommand) -> None:
        """Write `command` (k, 20) to the servos of `due` (k,), in their modes of this cycle."""
        modes = None
        if self._modes.active:
            modes = self._modes.at(due, self._cycle[due])
        self.physics.write_servos(faster(due, len(self)), command, modes)

    @property
    def _cycle(self) -> NDArray[np.int64]:
        """Driver cycles of each simulation so far, (n,)."""
        return (self._substep + self._ahead) // self._steps_per_cycle

    def _snapshot(self) -> SensorReading:
        return take(self._reading, slice(None))
