# SPDX-License-Identifier: Apache-2.0
"""Load an MJCF with the OP3's joint names and put our servos and sensors on it."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.end_effectors import EndEffectors, find_end_effectors
from op3_fall.errors import BadInputError
from op3_fall.ground import FLOOR, add_bumps, find_bumps, name_floor
from op3_fall.model_file import read_spec

__all__ = ["Op3Model", "load_model"]

_IMU_SITE = "op3_fall_imu"


@dataclass(frozen=True)
class Op3Model:
    """A compiled model and where the OP3's things are in it; joints in driver order."""

    mj: mujoco.MjModel
    servo: robot.Servo
    qpos_index: NDArray[np.intp]
    """Position of each joint in qpos, (20,)."""
    dof_index: NDArray[np.intp]
    """Position of each joint in qvel, (20,)."""
    actuator_index: NDArray[np.intp]
    """Actuator that drives each joint, (20,)."""
    torso_id: int
    """Body that carries the free joint."""
    head_id: int
    """Body that head_tilt moves."""
    floor_id: int
    """The floor's geom."""
    bump_ids: NDArray[np.intp]
    """The bumps' geoms, (BUMPS,); (0,) if the model was loaded without."""
    end_effectors: EndEffectors
    """Points of hands, feet and head."""
    part_bodies: tuple[NDArray[np.intp], ...]
    """Bodies of each part of `robot.PARTS`."""
    part_sensors: tuple[NDArray[np.intp], ...]
    """The same as positions among the floor force sensors."""

    def sensor(self, name: str) -> slice:
        """Where the sensor `op3_fall_<name>` lies in sensordata."""
        s = self.mj.sensor(f"op3_fall_{name}")
        return slice(int(s.adr[0]), int(s.adr[0] + s.dim[0]))


def _find_joints(spec: mujoco.MjSpec, source: str) -> dict[str, mujoco.MjsJoint]:
    joints = {joint.name: joint for joint in spec.joints}
    missing = [name for name in robot.JOINTS if name not in joints]
    if missing:
        raise BadInputError(
            f"model {source} lacks {len(missing)} of the OP3's 20 joints ({', '.join(missing)}); "
            "allowed is an MJCF with all of them; rename its joints or give another model"
        )
    for name in robot.JOINTS:
        if joints[name].ref:
            raise BadInputError(
                f"model {source} gives joint '{name}' a ref of {joints[name].ref:g}, which shifts "
                "its angles; allowed is 0; remove the attribute"
            )
    return joints


def _add_servos(
    spec: mujoco.MjSpec, joints: dict[str, mujoco.MjsJoint], servo: robot.Servo
) -> None:
    """Replace every actuator by the XM430: a position actuator, capped, with back-EMF damping.

    P and D act within the duty cap, back-EMF outside of it, as in the motor; hence the D term is
    the actuator's and back-EMF the joint's. The registers are set per simulation at run time.
    """
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for i, name in enumerate(robot.JOINTS):
        joint = joints[name]
        joint.damping = [servo.back_emf_damping, 0, 0]
        joint.stiffness = [0, 0, 0]
        joint.actfrclimited = mujoco.mjtLimited.mjLIMITED_FALSE
        joint.armature = servo.ARMATURE_KG_M2
        joint.frictionloss = servo.FRICTION_N_M
        joint.range = [robot.LOWER_LIMIT_RAD[i], robot.UPPER_LIMIT_RAD[i]]
        joint.limited = mujoco.mjtLimited.mjLIMITED_TRUE
        actuator = spec.add_actuator(
            name=f"{name}_servo",
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            target=name,
            # The file's <default> for actuators must not reach our servos.
            gear=[1, 0, 0, 0, 0, 0],
            dyntype=mujoco.mjtDyn.mjDYN_NONE,
            ctrllimited=mujoco.mjtLimited.mjLIMITED_FALSE,
            actlimited=mujoco.mjtLimited.mjLIMITED_FALSE,
            forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
            forcerange=[-servo.stall_torque_n_m, servo.stall_torque_n_m],
        )
        actuator.set_to_position(kp=servo.stiffness_per_p * servo.NOMINAL_P)


def _add_sensors(spec: mujoco.MjSpec, torso: mujoco.MjsBody, head: mujoco.MjsBody) -> None:
    """IMU and ground truth. The IMU sits at the torso's origin: its place is in no source."""
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    torso.add_site(name=_IMU_SITE)
    sensor, obj = mujoco.mjtSensor, mujoco.mjtObj
    for name, kind, objtype, objname in (
        ("accelerometer", sensor.mjSENS_ACCELEROMETER, obj.mjOBJ_SITE, _IMU_SITE),
        ("gyro", sensor.mjSENS_GYRO, obj.mjOBJ_SITE, _IMU_SITE),
        ("head_velocity", sensor.mjSENS_FRAMELINVEL, obj.mjOBJ_BODY, head.name),
        ("head_acceleration", sensor.mjSENS_FRAMELINACC, obj.mjOBJ_BODY, head.name),
        ("com", sensor.mjSENS_SUBTREECOM, obj.mjOBJ_BODY, torso.name),
    ):
        spec.add_sensor(name=f"op3_fall_{name}", type=kind, objtype=objtype, objname=objname)


def _add_floor_sensors(spec: mujoco.MjSpec, torso: mujoco.MjsBody, *, whole_world: bool) -> None:
    """Force of the floor on each link, or of all that is fixed to the world."""
    obj = mujoco.mjtObj
    floor = (obj.mjOBJ_BODY, "world") if whole_world else (obj.mjOBJ_GEOM, FLOOR)
    for body in _links(torso):
        spec.add_sensor(
            name=f"op3_fall_floor_force_{body.name}",
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=floor[0],
            objname=floor[1],
            reftype=obj.mjOBJ_BODY,
            refname=body.name,
            # Data: the force alone; reduction 3: the net force in the world frame; one slot.
            intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), 3, 1],
        )


def _links(torso: mujoco.MjsBody) -> list[mujoco.MjsBody]:
    return [torso, *torso.find_all(mujoco.mjtObj.mjOBJ_BODY)]


def load_model(
    path: str = "",
    *,
    servo: robot.Servo | None = None,
    timestep_s: float = 0.002,
    bumps: bool = False,
) -> Op3Model:
    """Load an OP3 model and fit it with servos, joint limits, sensors and a floor.

    Args:
        path: MJCF file; empty for this package's own, `menagerie` for MuJoCo Menagerie's.
        servo: the servo on every joint, nominal if None.
        timestep_s: physics step in s.
        bumps: whether a scenario may put bumps on the floor; all that stands on the file's ground
            then counts as floor.

    Raises:
        BadInputError: the file is missing or broken, or lacks OP3 joints or a free base.
    """
    servo = servo or robot.Servo()
    source = f"'{path}'" if path else "models/scene.xml"
    spec = read_spec(path)
    joints = _find_joints(spec, source)
    torso, head = joints["head_pan"].parent.parent, joints["head_tilt"].parent
    if not any(j.type == mujoco.mjtJoint.mjJNT_FREE for j in torso.joints):
        raise BadInputError(
            f"model {source} has no free joint on '{torso.name}', the body that carries "
            "head_pan; allowed is a floating base; add <freejoint/> to it"
        )
    for i, body in enumerate(_links(torso)):
        body.name = body.name or f"link_{i}"
    for key in list(spec.keys):  # sized for the actuators that are about to go
        spec.delete(key)
    name_floor(spec)
    if bumps:
        add_bumps(spec)
    _add_servos(spec, joints, servo)
    _add_sensors(spec, torso, head)
    _add_floor_sensors(spec, torso, whole_world=bumps)
    spec.option.timestep = timestep_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # A simulation that blows up must be seen, not silently restarted.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    try:
        mj = spec.compile()
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise BadInputError(
            f"model {source} does not compile ({reason}); allowed is a valid MJCF; repair it"
        ) from error
    return _index(mj, servo, torso.name, head.name)


def _index(mj: mujoco.MjModel, servo: robot.Servo, torso: str, head: str) -> Op3Model:
    joint_ids = [mj.joint(name).id for name in robot.JOINTS]
    part_of_body = {int(mj.jnt_bodyid[i]): robot.PART_OF_JOINT[n] for n, i in
                    zip(robot.JOINTS, joint_ids, strict=True)}  # fmt: skip
    torso_id = mj.body(torso).id
    links = [b for b in range(mj.nbody) if mj.body_rootid[b] == mj.body_rootid[torso_id]]
    parts: dict[str, list[int]] = {part: [] for part in robot.PARTS}
    for body in links:
        owner = body  # a link without an OP3 joint belongs to the part that carries it
        while owner not in part_of_body and owner != torso_id:
            owner = int(mj.body_parentid[owner])
        parts[part_of_body.get(owner, "torso")].append(body)
    bodies = tuple(np.array(parts[p], dtype=np.intp) for p in robot.PARTS)
    force = {b: int(mj.sensor(f"op3_fall_floor_force_{mj.body(b).name}").adr[0]) for b in links}
    return Op3Model(
        mj=mj,
        servo=servo,
        qpos_index=mj.jnt_qposadr[joint_ids].astype(np.intp),
        dof_index=mj.jnt_dofadr[joint_ids].astype(np.intp),
        actuator_index=np.array([mj.actuator(f"{n}_servo").id for n in robot.JOINTS]),
        torso_id=torso_id,
        head_id=mj.body(head).id,
        floor_id=mj.geom(FLOOR).id,
        bump_ids=find_bumps(mj),
        end_effectors=find_end_effectors(mj, torso_id),
        part_bodies=bodies,
        part_sensors=tuple(
            np.array([(force[b] - min(force.values())) // 3 for b in part]) for part in bodies
        ),
    )
