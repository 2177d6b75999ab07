# SPDX-License-Identifier: Apache-2.0
"""`op3-fall ros …`: what `ros2 launch`, `lifecycle`, `param` and `service` do, without them."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import tyro

from op3_fall.bringup import Process, environment, parameter_file, supervise
from op3_fall.detector_file import SHIPPED, load_detector
from op3_fall.errors import BadInputError, check_range
from op3_fall.resources import policy_path, resource

__all__ = ["RosRobot", "RosSet", "RosSim", "RosTell", "check_ros", "run_ros", "tell_ros"]


@dataclass(frozen=True)
class _Common:
    """What the simulator and the robot have in common."""

    mode: Literal["compliant", "stiff", "soft"] = "compliant"
    """compliant: soft for the impact; stiff: nominal gains; soft: the scales at once, to try."""
    policy: str = "arms_legs"
    """Shipped policy by its name, or an ONNX file; empty: the scripted protective pose."""
    record: str = ""
    """Folder of the torque log (rosbag2, MCAP) to write; empty: none."""
    composed: bool = False
    """All nodes in one process instead of one each: less latency, but one crash ends all."""
    detector: Path | None = None
    """ROS parameter file of the detectors in place of config/detector.yaml."""
    params: Path | None = None
    """ROS parameter file, on top of the shipped one."""


@dataclass(frozen=True)
class RosSim(_Common):
    """The OP3 in MuJoCo stands, is pushed and falls; detector, scheduler and policy act."""

    push: float = 15.0
    """Push at the head, N; 0: none; 8 N topple nothing."""
    push_direction: float = 0.0
    """Degrees: 0 front, 90 right, -90 left, 180 back."""
    push_after: float = 5.0
    """Seconds after the start."""
    real_time_factor: float = 1.0
    """1: real time; 0: as fast as it can."""
    stop_after: float = 0.0
    """Simulated seconds after which all ends; 0: on Ctrl-C."""
    profile: Literal["stock", "extended", "ideal"] = "extended"
    """stock: ROBOTIS' own OP3.robot, which reads no velocity and no effort."""
    start_pose: Literal["stand", "ini_pose"] = "stand"
    """ini_pose: the driver's own start, a move into a deep crouch."""
    viewer: bool = False
    """Show MuJoCo's viewer."""
    model: str = ""
    """MJCF file of an OP3; empty: this package's own."""


@dataclass(frozen=True)
class RosRobot(_Common):
    """The nodes beside ROBOTIS' op3_manager on a real OP3, disarmed; see docs/robot.md."""

    voltage: float = 11.1
    """Supply under load, V: battery 11.1, power supply 12."""
    profile: Literal["stock", "extended"] = "extended"
    """What OP3.robot reads; stock: no velocity and no effort."""
    nominal_p_gain: int = 800
    """P register to restore (dxl_init_OP3.yaml)."""
    nominal_d_gain: int = 0
    """D register to restore."""
    simulated: bool = False
    """A rehearsal: `python -m op3_fall.nodes.sim` is the driver."""


@dataclass(frozen=True)
class RosTell:
    """Tell the running graph something, as `ros2 lifecycle set` and `service call` do."""

    what: tyro.conf.Positional[
        Literal["arm-gains", "arm", "disarm", "estop", "clear-estop", "reset"]
    ]
    """arm the scheduler alone, or policy too; disarm both; e-stop; reset the simulator."""
    local: bool = True
    """The graph is on this host; --no-local for a robot's on the network."""


@dataclass(frozen=True)
class RosSet:
    """Set parameters of a running node together or not at all, as `ros2 param set` does."""

    node: tyro.conf.Positional[str]
    """Name of the node, such as gain_scheduler."""
    settings: tyro.conf.Positional[tuple[str, ...]]
    """name=value, one or more."""
    local: bool = True
    """The graph is on this host; --no-local for a robot's on the network."""


def tell_ros(args: RosTell | RosSet) -> int:
    """Run the remote control in a process of its own; its exit status.

    Raises:
        BadInputError: ROS is not there.
    """
    check_ros()
    words = [args.what] if isinstance(args, RosTell) else ["set", args.node, *args.settings]
    command = [sys.executable, "-m", "op3_fall.nodes.remote", *words]
    return subprocess.run(command, env=environment(local=args.local), check=False).returncode


def run_ros(args: RosSim | RosRobot) -> int:
    """Bring the nodes up and wait for their end; the exit status of what ended them.

    Raises:
        BadInputError: ROS is not there, or a file or value cannot be used.
        Op3FallError: a node dies over and over.
    """
    _check(args)
    sim = isinstance(args, RosSim)
    files = [args.detector or resource(SHIPPED)]
    files += [resource(f"config/{'sim' if sim else 'robot'}.yaml")]
    files += [args.params] if args.params else []
    names = ["sim"] if sim else []
    names += ["fall_detector", "gain_scheduler", "policy"] + ["recorder"] * bool(args.record)
    with parameter_file(files, _overrides(args)) as ros_arguments:
        if args.composed:
            processes = [Process("composed", (",".join(names), *ros_arguments))]
        else:
            again = ("fall_detector", "gain_scheduler", "policy")
            processes = [Process(n, ros_arguments, respawn=n in again) for n in names]
        local = isinstance(args, RosSim) or args.simulated
        return supervise(processes, environment(local=local))


def _overrides(args: RosSim | RosRobot) -> dict[str, dict[str, object]]:
    """Parameters of each node that the command line sets."""
    policy: dict[str, object] = {"policy_file": args.policy, "profile": args.profile}
    nodes: dict[str, dict[str, object]] = {
        "gain_scheduler": {"mode": args.mode},
        "policy": policy,
        "fall_detector": {"profile": args.profile},
        "recorder": {"path": str(args.record)},
    }
    if isinstance(args, RosSim):
        nodes["sim"] = {
            "push_force_n": float(args.push), "push_direction_deg": float(args.push_direction),
            "push_after_s": float(args.push_after), "stop_after_s": float(args.stop_after),
            "real_time_factor": float(args.real_time_factor), "profile": args.profile,
            "start_pose": args.start_pose, "viewer": args.viewer, "model": args.model,
        }  # fmt: skip
    else:
        for node in ("gain_scheduler", "policy", "fall_detector"):
            nodes[node]["voltage_v"] = float(args.voltage)
            if args.simulated:  # its IMU has no noise, and stamps are its own
                nodes[node] |= {"use_sim_time": True, "noisy_imu": False}
        nodes["gain_scheduler"] |= {
            "nominal_p_gain": args.nominal_p_gain, "nominal_d_gain": args.nominal_d_gain,
        }  # fmt: skip
    return nodes


def check_ros() -> None:
    """See that ROS 2 and this package's messages are there.

    Raises:
        BadInputError: they are not.
    """
    if find_spec("rclpy") is None or find_spec("op3_fall.msg") is None:
        raise BadInputError(
            f"ROS 2 is not in this environment ({sys.prefix}); needed are rclpy and this "
            "package's messages; run `make ros`, or build with colcon and source its setup.bash"
        )


def _check(args: RosSim | RosRobot) -> None:
    """Refuse here what the nodes would refuse one by one."""
    check_ros()
    policy = policy_path(args.policy) if args.policy else None
    for path, what in ((policy, "policy"), (args.params, "parameter file")):
        if path and not Path(path).is_file():
            raise BadInputError(f"{what} '{path}' is no file; allowed is one; correct the path")
    load_detector(args.detector)
    if args.record and Path(args.record).exists():
        raise BadInputError(
            f"'{args.record}' exists already; allowed is a folder that does not; remove it or "
            "choose another"
        )
    if isinstance(args, RosSim):
        check_range("real time factor", args.real_time_factor, 0.0, 100.0)
        check_range("push", args.push, 0.0, 1000.0, unit="N")
