# SPDX-License-Identifier: Apache-2.0
"""MuJoCo, batched: n OP3s behind n drivers; one robot is n = 1.

Physics steps of 2 ms carry driver cycles of 8 ms (readings out, commands in) and control steps of
20 ms. A reading is one driver cycle old; a command takes effect at the next driver cycle.
"""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import mjbatch
import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall import robot, sensors
from op3_fall.errors import BadInputError
from op3_fall.model import Op3Model, load_model
from op3_fall.rotations import gravity_in_body
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.truth import Measurement, Peaks, PhysicsFrame

T = TypeVar("T", SensorReading, JointCommand)

__all__ = ["CONTROL_PERIOD_S", "CYCLE_S", "Cycle", "Simulation"]

CYCLE_S = 0.008
"""Driver cycle of the OP3, control_cycle in OP3.robot."""
CONTROL_PERIOD_S = 0.020

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
_CORNERS = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8)
_BAD = [int(w) for w in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL,
                         mujoco.mjtWarning.mjWARN_BADQACC)]  # fmt: skip


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
        mj = self.model.mj
        self.dt_s = float(mj.opt.timestep)
        self._steps_per_cycle = _steps(CYCLE_S, self.dt_s, "driver cycle")
        self._steps_per_control = _steps(CONTROL_PERIOD_S, self.dt_s, "control period")
        self.batch = mjbatch.Batch(mj, n, threads)
        self._bind(mj)
        self._data = mujoco.MjData(mj)  # scratch for start heights
        self._substep = np.zeros(n, dtype=np.int64)
        self._pushing = np.zeros(n, dtype=bool)
        self._push_from_s, self._push_until_s = np.zeros(n), np.zeros(n)
        self._scenario = Scenario.standing(n)
        self._measured = Measurement.start(n)
        self._cycle_peak = Peaks.zeros(n)
        self._chip = np.zeros((n, 6))
        self._filtered = np.zeros((n, 6))
        self._torque = np.zeros((n, robot.NUM_JOINTS))
        self._command = JointCommand.hold(self._scenario.position)
        self._written = JointCommand.hold(self._scenario.position)
        joints = (n, robot.NUM_JOINTS)
        shapes = (joints, joints, joints, (n, 6), (n, 4))
        self._sample = sensors.Sample(*(np.zeros(s) for s in shapes))
        self._reading = self._publish(np.arange(n))
        self.cycles: list[Cycle] = []
        """Driver cycles of the last `step`, in time order."""

    def _bind(self, mj: mujoco.MjModel) -> None:
        model, batch = self.model, self.batch
        self._qpos, self._qvel = batch.bind("qpos"), batch.bind("qvel")
        self._ctrl, self._push = batch.bind("ctrl"), batch.bind("xfrc_applied")
        self._force, self._sensordata = batch.bind("actuator_force"), batch.bind("sensordata")
        self._warning_counts = batch.bind("warning")
        self._gain, self._bias = batch.expand("actuator_gainprm"), batch.expand("actuator_biasprm")
        self._cap = batch.expand("actuator_forcerange")
        imu = model.sensor("accelerometer"), model.sensor("gyro")
        self._imu = np.concatenate([np.arange(s.start, s.stop) for s in imu])
        self._com = model.sensor("com")
        self._vectors, self._added = _vector_columns(model)
        self._back_emf_damping = self.servo.back_emf_damping
        self._saturation = np.zeros((len(self), robot.NUM_JOINTS))
        self._varied: set[str] = set()

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
        for f in fields(Scenario):
            getattr(self._scenario, f.name)[rows] = getattr(scenario, f.name)
        self._vary_model(rows, scenario)
        self.batch.reset(rows)
        self._qpos[rows, :7] = np.concatenate(
            [np.zeros((len(rows), 2)), self._start_heights(scenario)[:, None],
             scenario.orientation], axis=-1,
        )  # fmt: skip
        self._qpos[np.ix_(rows, self.model.qpos_index)] = scenario.position
        hold = JointCommand.hold(scenario.position)
        for command in (self._command, self._written):
            _assign(command, rows, hold)
        self._write_servos(rows)
        self._push[rows] = 0.0
        self.batch.forward(rows)
        self._substep[rows], self._pushing[rows] = 0, False
        # Half a step of tolerance: a push of 0.1 s must not last 51 steps by rounding.
        self._push_from_s[rows] = scenario.push_start_s - self.dt_s / 2
        self._push_until_s[rows] = scenario.push_start_s + scenario.push_duration_s - self.dt_s / 2
        self._measured.clear(rows)
        self._cycle_peak.clear(rows)
        self._torque[rows] = self._force[np.ix_(rows, self.model.actuator_index)]
        # The sensors have been watching a robot at rest for long.
        self._chip[rows, :3] = -sensors.GRAVITY * gravity_in_body(scenario.orientation)
        self._chip[rows, 3:] = 0.0
        self._filtered[rows] = self._chip[rows]
        self._store_sample(rows)
        _assign(self._reading, rows, self._publish(rows))
        return self._snapshot()

    def _vary_model(self, rows: Rows, scenario: Scenario) -> None:
        """Masses and friction; a field becomes per simulation once a scenario varies it."""
        if self._varies("geom_friction", bool(np.isfinite(scenario.friction).any())):
            # In a contact the larger friction counts, so all geoms take the floor's.
            given = np.isfinite(scenario.friction)[:, None]
            nominal = self.model.mj.geom_friction[:, 0]
            friction = np.where(given, scenario.friction[:, None], nominal)
            self.batch.expand("geom_friction")[rows, :, 0] = friction
        if self._varies("body_mass", bool((scenario.mass_scale != 1).any())):
            scale = np.ones((len(rows), self.model.mj.nbody))
            for part, bodies in enumerate(self.model.part_bodies):
                scale[:, bodies] = scenario.mass_scale[:, part, None]
            self.batch.expand("body_mass")[rows] = scale * self.model.mj.body_mass
            self.batch.expand("body_inertia")[rows] = scale[..., None] * self.model.mj.body_inertia
            self.batch.set_const(rows)

    def _varies(self, model_field: str, now: bool) -> bool:
        if now:
            self._varied.add(model_field)
        return model_field in self._varied

    def _start_heights(self, scenario: Scenario) -> Array:
        """Height of the torso's origin that puts the lowest corner on the floor, m, (n,)."""
        mj, data = self.model.mj, self._data
        solid = (mj.geom_contype | mj.geom_conaffinity).astype(bool)
        solid[self.model.floor_id] = False
        corners = mj.geom_aabb[solid, :3, None] + mj.geom_aabb[solid, 3:, None] * _CORNERS
        heights = np.zeros(len(scenario))
        for k in range(len(scenario)):
            data.qpos[:3] = 0.0
            data.qpos[3:7] = scenario.orientation[k]
            data.qpos[self.model.qpos_index] = scenario.position[k]
            mujoco.mj_kinematics(mj, data)
            up = data.geom_xmat[solid, 6:, None]  # third row of each rotation
            low = data.geom_xpos[solid, 2, None] + (up * corners).sum(axis=1)
            heights[k] = -low.min()
        return heights

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
        self._velocity = self._qvel[:, self.model.dof_index]
        for _ in range(steps):
            self._physics_step()
            due = np.nonzero(self._substep % self._steps_per_cycle == 0)[0]
            if due.size:
                self._driver_cycle(due)
        self._find_diverged()
        return self._snapshot()

    def measure(self) -> Measurement:
        """Ground truth of every simulation since its last reset, as copies."""
        self._measured.fold(self._cycle_peak, np.arange(len(self)))
        self._measured.com[:] = self._sensordata[:, self._com]
        return self._measured.copy()

    def _physics_step(self) -> None:
        time_s: Array = self._substep.astype(float) * self.dt_s
        pushing = (time_s >= self._push_from_s) & (time_s < self._push_until_s)
        if (pushing != self._pushing).any():
            force = np.where(pushing[:, None], self._scenario.push_force, 0.0)
            self._push[:, self.model.head_id, :3] = force
            self._pushing = pushing
        diverged = self._measured.diverged
        self.batch.step(np.nonzero(~diverged)[0] if diverged.any() else None)
        frame = self._observe()
        self._measured.add(frame, self._cycle_peak.add(frame), time_s, self.dt_s)
        self._substep += 1
        self._chip = sensors.chip_filter(self._chip, self._inertial(), self.dt_s)

    def _observe(self) -> PhysicsFrame:
        """What happened in the physics step that has just been made."""
        before, self._velocity = self._velocity, self._qvel[:, self.model.dof_index]
        drive = self._force[:, self.model.actuator_index]
        # Velocity after the step: implicitfast damps with it, so torques and momenta agree.
        self._torque = drive - self._back_emf_damping * self._velocity
        rotor = self.servo.ARMATURE_KG_M2 * (self._velocity - before) / self.dt_s
        vectors = self._sensordata[:, self._vectors]
        for parts, columns in self._added:
            vectors[:, :, parts] += self._sensordata[:, columns]
        vectors *= vectors
        # Term by term: no BLAS, whose result may depend on the batch.
        length = np.sqrt(vectors[:, 0] + vectors[:, 1] + vectors[:, 2])
        return PhysicsFrame(
            torque=self._torque,
            gear_load=self._torque - rotor,
            saturated=np.abs(drive) >= self._saturation,
            floor_force=length[:, :-2],
            head_speed=length[:, -2],
            head_acceleration=length[:, -1],
        )

    def _driver_cycle(self, due: Rows) -> None:
        """Publish the sample asked for a cycle ago, write the commands, ask for a new sample."""
        rows = slice(None) if len(due) == len(self) else due  # slices are faster
        if not self.profile.defects:
            self._store_sample(rows)
        _assign(self._reading, rows, self._publish(rows))
        _assign(self._written, rows, _rows(self._command, rows))
        self._write_servos(rows)
        self._store_sample(rows)
        peak = self._cycle_peak.rows(rows)
        self.cycles.append(
            Cycle(due, _rows(self._reading, rows), peak, _rows(self._written, rows),
                  self._qpos[rows].copy())
        )  # fmt: skip
        self._measured.fold(self._cycle_peak, due)
        self._cycle_peak.clear(rows)

    def _write_servos(self, rows: Rows | slice) -> None:
        """Registers to MuJoCo: kp and kv of the actuator, duty cap as its force range."""
        servos = self.model.actuator_index
        at = (rows, servos) if isinstance(rows, slice) else np.ix_(rows, servos)
        strength = self._scenario.strength[rows, None]
        written = _rows(self._written, rows)
        kp = strength * self.servo.stiffness_per_p * written.p_gain
        kv = strength * self.servo.damping_per_d * written.d_gain
        cap = strength * self.servo.stall_torque_n_m * written.goal_pwm / self.servo.MAX_PWM
        self._ctrl[at] = written.position
        self._gain[(*at, 0)] = kp
        self._bias[(*at, 1)] = -kp
        self._bias[(*at, 2)] = -kv
        self._cap[(*at, 0)], self._cap[(*at, 1)] = -cap, cap
        self._saturation[rows] = 0.999 * cap

    def _inertial(self) -> Array:
        """Specific force and angular velocity at the torso, (n, 6)."""
        return self._sensordata[:, self._imu]

    def _store_sample(self, rows: Rows | slice) -> None:
        fresh = sensors.Sample(
            position=self._qpos[rows][:, self.model.qpos_index],
            velocity=self._qvel[rows][:, self.model.dof_index],
            torque=self._torque[rows],
            imu=(self._chip if self.profile.defects else self._inertial())[rows],
            orientation=self._qpos[rows, 3:7],
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

    def _find_diverged(self) -> None:
        bad = (self._warning_counts[:, _BAD, 1] > 0).any(axis=-1)
        self._measured.diverged |= bad | ~np.isfinite(self._qpos).all(axis=-1)

    def _snapshot(self) -> SensorReading:
        return _rows(self._reading, slice(None))


def _vector_columns(model: Op3Model) -> tuple[Rows, list[tuple[Rows, Rows]]]:
    """Columns (3, 16) of sensordata: floor force on each part, then the head's two vectors.

    Of a part with several links that is its first link's force. To be added, one link at a time:
    the parts with a further link (k,), and its columns (3, k).
    """
    axes = np.arange(3)[:, None]
    first = model.sensor(f"floor_force_{model.mj.body(model.torso_id).name}").start
    links = [first + 3 * sensors for sensors in model.part_sensors]
    head = [model.sensor(f"head_{name}").start for name in ("velocity", "acceleration")]
    added = []
    for k in range(1, max(map(len, links))):
        parts = np.array([p for p, columns in enumerate(links) if len(columns) > k])
        added.append((parts, np.array([links[p][k] for p in parts]) + axes))
    return np.array([columns[0] for columns in links] + head) + axes, added


def _rows(batch: T, rows: Rows | slice) -> T:
    """A copy of those simulations."""
    return replace(batch, **{f.name: getattr(batch, f.name)[rows].copy() for f in fields(batch)})


def _assign(batch: T, rows: Rows | slice, new: T) -> None:
    """Overwrite those simulations in place."""
    for f in fields(batch):
        getattr(batch, f.name)[rows] = getattr(new, f.name)
