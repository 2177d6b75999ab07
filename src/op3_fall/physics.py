# SPDX-License-Identifier: Apache-2.0
"""The physics of n robots on mjbatch: start states, servos, one physics step."""

import mjbatch
import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.forces import OutsideForces
from op3_fall.geometry import Geometry
from op3_fall.joint_errors import JointErrors
from op3_fall.model import Op3Model
from op3_fall.operating_modes import DriveLaw, Modes, OperatingMode, drive_law
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand
from op3_fall.truth import PhysicsFrame
from op3_fall.variation import Variation

__all__ = ["Physics"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
_BAD = [int(w) for w in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL,
                         mujoco.mjtWarning.mjWARN_BADQACC)]  # fmt: skip


class Physics:
    """N robots without sensors or driver: state in, one physics step at a time."""

    def __init__(self, model: Op3Model, n: int, threads: int) -> None:
        """Make the batch of `n` on `threads` threads, 0 for every core."""
        self.model = model
        self.servo = model.servo
        self.dt_s = float(model.mj.opt.timestep)
        self.batch = batch = mjbatch.Batch(model.mj, n, threads)
        self.geometry = Geometry(model, n, threads)
        self.joint_errors = JointErrors(n)
        self.variation = Variation(model, batch)
        self._strength = np.ones(n)
        self.torque = np.zeros((n, robot.NUM_JOINTS))
        """Torque that the motor currents made in the last step, N m, (n, 20)."""
        self.qpos, self.qvel = batch.bind("qpos"), batch.bind("qvel")
        self._ctrl = batch.bind("ctrl")
        self.forces = OutsideForces(model, batch.bind("xfrc_applied"), self.dt_s)
        self._force, self._sensordata = batch.bind("actuator_force"), batch.bind("sensordata")
        self._warning_counts = batch.bind("warning")
        self._gain, self._bias = batch.expand("actuator_gainprm"), batch.expand("actuator_biasprm")
        self._cap = batch.expand("actuator_forcerange")
        imu = model.sensor("accelerometer"), model.sensor("gyro")
        self._imu = np.concatenate([np.arange(s.start, s.stop) for s in imu])
        self._com = model.sensor("com")
        self._vectors, self._added = _vector_columns(model)
        self._back_emf_damping = self.servo.back_emf_damping
        self._saturation = np.zeros((n, robot.NUM_JOINTS))
        self._other_modes: NDArray[np.bool_] | None = None  # joints not in POSITION, (n, 20)

    def reset(self, scenario: Scenario, rows: Rows, command: JointCommand) -> None:
        """Start `rows` (k,) as `scenario` says, at rest, with `command` (k, 20) written.

        Raises:
            BadInputError: the scenario has bumps and the model none.
        """
        self.variation.reset(scenario, rows)
        self.joint_errors.reset(scenario, rows)
        true = self.joint_errors.true(scenario.position, rows)
        self.batch.reset(rows)
        self.qpos[rows, :2] = 0.0
        self.qpos[rows, 2] = self.geometry.start_heights(scenario.orientation, true)
        self.qpos[rows, 3:7] = scenario.orientation
        self.qpos[np.ix_(rows, self.model.qpos_index)] = true
        self._strength[rows] = scenario.strength
        self.write_servos(rows, command)
        self.forces.reset(scenario, rows)
        self.batch.forward(rows)
        self.torque[rows] = self._force[np.ix_(rows, self.model.actuator_index)]

    def begin(self) -> None:
        """Call before a run of steps, as the state may have been written from outside."""
        self._velocity = self.qvel[:, self.model.dof_index]

    def step(self, time_s: Array, asleep: NDArray[np.bool_]) -> PhysicsFrame:
        """One physics step of all but those `asleep` (n,), from `time_s` (n,) on."""
        self.forces.update(time_s)
        self.batch.step(np.nonzero(~asleep)[0] if asleep.any() else None)
        return self._observe()

    def _observe(self) -> PhysicsFrame:
        """What happened in the physics step that has just been made."""
        before, self._velocity = self._velocity, self.qvel[:, self.model.dof_index]
        drive = self._force[:, self.model.actuator_index]
        if self._other_modes is not None:
            drive = self._at_end(self._other_modes, before, drive)
        # Velocity after the step: implicitfast damps with it, so torques and momenta agree.
        self.torque = drive - self._back_emf_damping * self._velocity
        rotor = self.servo.ARMATURE_KG_M2 * (self._velocity - before) / self.dt_s
        length = self._lengths()
        return PhysicsFrame(
            torque=self.torque,
            gear_load=self.torque - rotor,
            velocity=self._velocity,
            saturated=np.abs(drive) >= self._saturation,
            floor_force=length[:, :-2],
            head_speed=length[:, -2],
            head_acceleration=length[:, -1],
        )

    def _at_end(self, joints: NDArray[np.bool_], before: Array, drive: Array) -> Array:
        """The drive (n, 20), of `joints` (n, 20) with the velocity after the step."""
        per_velocity = self._bias[:, self.model.actuator_index, 2]
        free = joints & (np.abs(drive) < self._saturation)
        # Implicitfast's own: its forces take the velocity after the step.
        return np.where(free, drive + per_velocity * (self._velocity - before), drive)

    def _lengths(self) -> Array:
        """Size of the floor force on each part, then head speed and acceleration, (n, 16)."""
        vectors = self._sensordata[:, self._vectors]
        for parts, columns in self._added:
            vectors[:, :, parts] += self._sensordata[:, columns]
        vectors *= vectors
        # Term by term: no BLAS, whose result may depend on the batch.
        return np.sqrt(vectors[:, 0] + vectors[:, 1] + vectors[:, 2])

    def write_servos(
        self, rows: Rows | slice, written: JointCommand, modes: Modes | None = None
    ) -> None:
        """Registers (k, 20) to MuJoCo: the law of the drive, and the duty cap as its force range.

        `modes` (k, 20) are the joints' `OperatingMode`; None is POSITION for all.
        """
        servos = self.model.actuator_index
        at = (rows, servos) if isinstance(rows, slice) else np.ix_(rows, servos)
        strength = self._strength[rows, None]
        kp = strength * self.servo.stiffness_per_p * written.p_gain
        kv = strength * self.servo.damping_per_d * written.d_gain
        cap = strength * self.servo.stall_torque_n_m * written.goal_pwm / self.servo.MAX_PWM
        law = DriveLaw(self.joint_errors.true(written.position, rows), kp, kp, kv)
        if modes is not None:
            law = drive_law(modes, law, written.position, strength, self.servo)
        self._note_modes(rows, modes)
        self._ctrl[at] = law.goal
        self._gain[(*at, 0)] = law.gain
        self._bias[(*at, 1)] = -law.pull
        self._bias[(*at, 2)] = -law.brake
        self._cap[(*at, 0)], self._cap[(*at, 1)] = -cap, cap
        self._saturation[rows] = 0.999 * cap

    def _note_modes(self, rows: Rows | slice, modes: Modes | None) -> None:
        if modes is None and self._other_modes is None:
            return
        if self._other_modes is None:
            self._other_modes = np.zeros_like(self._saturation, dtype=bool)
        self._other_modes[rows] = modes != OperatingMode.POSITION if modes is not None else False
        if not self._other_modes.any():
            self._other_modes = None

    @property
    def inertial(self) -> Array:
        """Specific force and angular velocity at the torso, (n, 6)."""
        return self._sensordata[:, self._imu]

    @property
    def joints(self) -> tuple[Array, Array]:
        """True angles in rad and velocities in rad/s, (n, 20) each."""
        return self.qpos[:, self.model.qpos_index], self.qvel[:, self.model.dof_index]

    @property
    def floor_force(self) -> Array:
        """Size of the floor's force on each part, N, (n, 14)."""
        return self._lengths()[:, :-2]

    @property
    def torso_velocity(self) -> Array:
        """Velocity of the torso's origin in the world, m/s, (n, 3)."""
        return self.qvel[:, :3].copy()

    @property
    def com(self) -> Array:
        """Centre of mass in the world, m, (n, 3)."""
        return self._sensordata[:, self._com]

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """MuJoCo warned of bad numbers or the state is not finite, (n,)."""
        bad = (self._warning_counts[:, _BAD, 1] > 0).any(axis=-1)
        return np.asarray(bad | ~np.isfinite(self.qpos).all(axis=-1))


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
