# SPDX-License-Identifier: Apache-2.0
"""Fall detector, gain scheduler, policy and recorder: the same on robot and simulator."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import (
    LaunchConfiguration,
    NotEqualsSubstitution,
    NotSubstitution,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

NUMBERS: dict[str, type] = {"voltage": float, "nominal_p_gain": int, "nominal_d_gain": int}


def check_numbers(context: LaunchContext) -> None:
    """Refuse before anything runs: on an error, launch leaves behind what it has started."""
    for name, kind in NUMBERS.items():
        given = context.launch_configurations[name]
        try:
            kind(given)
        except ValueError:
            raise ValueError(f"{name} '{given}' is no {kind.__name__}; correct it") from None


def typed(name: str) -> ParameterValue:
    """A launch argument as a parameter: a string, even if it looks like a number, or a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=NUMBERS.get(name, str))


def end_on_bad_input(event: ProcessExited, _: LaunchContext) -> Shutdown | None:
    """Exit status 2 is bad input, which stays bad however often the node is started."""
    return Shutdown(reason="bad input; see above") if event.returncode == 2 else None


def fall_node(executable: str, parameters: dict[str, ParameterValue], *files: str) -> Node:
    """A node that is started again when it dies.

    Of its parameters the arguments win over the file `config`, and that over those named here.
    """
    simulated = LaunchConfiguration("simulated")
    world = {
        "use_sim_time": ParameterValue(simulated, value_type=bool),
        "noisy_imu": ParameterValue(NotSubstitution(simulated), value_type=bool),
    }
    return Node(
        package="op3_fall", executable=executable, output="screen",
        parameters=[*map(LaunchConfiguration, (*files, "config")), world | parameters],
        respawn=True, respawn_delay=0.5, on_exit=end_on_bad_input,
    )  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """The nodes; the three that act are started again when they die."""
    profile, supply = {"profile": typed("profile")}, {"voltage_v": typed("voltage")}
    nominal = {name: typed(name) for name in ("nominal_p_gain", "nominal_d_gain")}
    return LaunchDescription(
        [
            DeclareLaunchArgument("config", description="parameter file of the nodes"),
            DeclareLaunchArgument(
                "detector_file", default_value=PathJoinSubstitution(
                    [FindPackageShare("op3_fall"), "config", "detector.yaml"]),
                description="parameter file of the detectors; `config` wins over it",
            ),
            DeclareLaunchArgument(
                "simulated", choices=["true", "false"],
                description="true: the driver is the simulator: its clock, an IMU without noise",
            ),
            DeclareLaunchArgument(
                "mode", default_value="compliant", choices=["compliant", "stiff", "soft"],
                description="compliant: soft for the impact; stiff: nominal gains; soft: at once",
            ),
            DeclareLaunchArgument(
                "policy", default_value="arms_legs",
                description="shipped policy by name, or an ONNX file; empty: the scripted pose",
            ),
            DeclareLaunchArgument(
                "record", default_value="",
                description="folder of the torque log (rosbag2, MCAP) to write; empty: none",
            ),
            DeclareLaunchArgument(
                "profile", default_value="extended",
                description="what OP3.robot reads; stock: no velocity, effort",
            ),
            DeclareLaunchArgument(
                "voltage", default_value="12.0",
                description="supply under load that the nodes count on, V",
            ),
            DeclareLaunchArgument(
                "nominal_p_gain", default_value="800",
                description="P register to restore (dxl_init_OP3.yaml)",
            ),
            DeclareLaunchArgument(
                "nominal_d_gain", default_value="0", description="D register to restore",
            ),
            OpaqueFunction(function=check_numbers),
            fall_node("fall_detector", profile | supply, "detector_file"),
            fall_node("gain_scheduler", supply | nominal | {"mode": typed("mode")}),
            fall_node("policy", profile | supply | {"policy_file": typed("policy")}),
            Node(
                package="op3_fall", executable="recorder", output="screen",
                parameters=[LaunchConfiguration("config"), {"path": typed("record")}],
                condition=IfCondition(NotEqualsSubstitution(LaunchConfiguration("record"), "")),
                on_exit=end_on_bad_input,
            ),
        ]
    )  # fmt: skip
