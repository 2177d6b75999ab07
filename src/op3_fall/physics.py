# SPDX-License-Identifier: Apache-2.0
"""The physics of n robots on mjbatch: start states, servos, one physics step."""

import mjbatch
import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.forces import OutsideForces
from op3_fall.model import Op3Model
from op3_fall.scenarios import Scenario
from op3_fall.signals import JointCommand
from op3_fall.truth import PhysicsFrame

__all__ = ["Physics"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
_CORNERS = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8)
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
        self._data = mujoco.MjData(model.mj)  # scratch for start heights
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
        self._varied: set[str] = set()

    def reset(self, scenario: Scenario, rows: Rows, command: JointCommand) -> None:
        """Start `rows` (k,) as `scenario` says, at rest, with `command` (k, 20) written."""
        self._vary_model(rows, scenario)
        self.batch.reset(rows)
        self.qpos[rows, :2] = 0.0
        self.qpos[rows, 2] = self._start_heights(scenario)
        self.qpos[rows, 3:7] = scenario.orientation
        self.qpos[np.ix_(rows, self.model.qpos_index)] = scenario.position
        self._strength[rows] = scenario.strength
        self.write_servos(rows, command)
        self.forces.reset(scenario, rows)
        self.batch.forward(rows)
        self.torque[rows] = self._force[np.ix_(rows, self.model.actuator_index)]

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
        # Velocity after the step: implicitfast damps with it, so torques and momenta agree.
        self.torque = drive - self._back_emf_damping * self._velocity
        rotor = self.servo.ARMATURE_KG_M2 * (self._velocity - before) / self.dt_s
        length = self._lengths()
        return PhysicsFrame(
            torque=self.torque,
            gear_load=self.torque - rotor,
            saturated=np.abs(drive) >= self._saturation,
            floor_force=length[:, :-2],
            head_speed=length[:, -2],
            head_acceleration=length[:, -1],
        )

    def _lengths(self) -> Array:
        """Size of the floor force on each part, then head speed and acceleration, (n, 16)."""
        vectors = self._sensordata[:, self._vectors]
        for parts, columns in self._added:
            vectors[:, :, parts] += self._sensordata[:, columns]
        vectors *= vectors
        # Term by term: no BLAS, whose result may depend on the batch.
        return np.sqrt(vectors[:, 0] + vectors[:, 1] + vectors[:, 2])

    def write_servos(self, rows: Rows | slice, written: JointCommand) -> None:
        """Registers (k, 20) to MuJoCo: kp and kv of the actuator, duty cap as its force range."""
        servos = self.model.actuator_index
        at = (rows, servos) if isinstance(rows, slice) else np.ix_(rows, servos)
        strength = self._strength[rows, None]
        kp = strength * self.servo.stiffness_per_p * written.p_gain
        kv = strength * self.servo.damping_per_d * written.d_gain
        cap = strength * self.servo.stall_torque_n_m * written.goal_pwm / self.servo.MAX_PWM
        self._ctrl[at] = written.position
        self._gain[(*at, 0)] = kp
        self._bias[(*at, 1)] = -kp
        self._bias[(*at, 2)] = -kv
        self._cap[(*at, 0)], self._cap[(*at, 1)] = -cap, cap
        self._saturation[rows] = 0.999 * cap

    @property
    def inertial(self) -> Array:
        """Specific force and angular velocity at the torso, (n, 6)."""
        return self._sensordata[:, self._imu]

    @property
    def joints(self) -> tuple[Array, Array]:
        """Angles in rad and velocities in rad/s, (n, 20) each."""
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
