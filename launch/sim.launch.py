# SPDX-License-Identifier: Apache-2.0
"""The OP3 in MuJoCo: it stands, is pushed, falls, and detector, scheduler and policy act."""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("op3_fall")
DOMAIN = "ROS_AUTOMATIC_DISCOVERY_RANGE"
NUMBERS = {
    "push": "push_force_n", "push_direction": "push_direction_deg", "push_after": "push_after_s",
    "real_time_factor": "real_time_factor", "stop_after": "stop_after_s",
}  # fmt: skip
"""Arguments that are numbers, and the simulator's parameters that they set."""


def check_numbers(context: LaunchContext) -> None:
    """Refuse before anything runs: on an error, launch leaves behind what it has started."""
    for name in NUMBERS:
        given = context.launch_configurations[name]
        try:
            float(given)
        except ValueError:
            raise ValueError(f"{name} '{given}' is no number; correct it") from None


def generate_launch_description() -> LaunchDescription:
    """The simulator in the driver's place, and the nodes that also run on the robot."""
    config, profile = LaunchConfiguration("config"), LaunchConfiguration("profile")
    nodes = PathJoinSubstitution([SHARE, "launch", "fall_control.launch.py"])
    simulator = {
        parameter: ParameterValue(LaunchConfiguration(name), value_type=float)
        for name, parameter in NUMBERS.items()
    } | {
        "profile": profile,
        "start_pose": LaunchConfiguration("start_pose"),
        "viewer": ParameterValue(LaunchConfiguration("viewer"), value_type=bool),
        "model": ParameterValue(LaunchConfiguration("model"), value_type=str),
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument("push", default_value="15.0",
                                  description="push at the head in N; 0: none; 8 topple nothing"),
            DeclareLaunchArgument("push_direction", default_value="0.0",
                                  description="degrees: 0 front, 90 right, -90 left, 180 back"),
            DeclareLaunchArgument("push_after", default_value="5.0",
                                  description="seconds after the start"),
            DeclareLaunchArgument("real_time_factor", default_value="1.0",
                                  description="1: real time, 0: as fast as it can"),
            DeclareLaunchArgument("stop_after", default_value="0.0",
                                  description="simulated seconds after which all ends; 0: never"),
            DeclareLaunchArgument("profile", default_value="extended",
                                  choices=["stock", "extended", "ideal"],
                                  description="stock: ROBOTIS' OP3.robot, no velocity and effort"),
            DeclareLaunchArgument("start_pose", default_value="stand",
                                  choices=["stand", "ini_pose"],
                                  description="ini_pose: the driver's own start into a crouch"),
            DeclareLaunchArgument("viewer", default_value="false", choices=["true", "false"],
                                  description="show MuJoCo's viewer"),
            DeclareLaunchArgument("model", default_value="",
                                  description="MJCF file of an OP3; empty: this package's own"),
            DeclareLaunchArgument("config",
                                  default_value=PathJoinSubstitution(
                                      [SHARE, "config", "sim.yaml"]),
                                  description="parameter file of simulator and nodes"),
            # A simulated driver must not drive a robot on the same network.
            SetEnvironmentVariable(DOMAIN, EnvironmentVariable(DOMAIN, default_value="LOCALHOST")),
            OpaqueFunction(function=check_numbers),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(nodes),
                launch_arguments={
                    "config": config, "profile": profile, "simulated": "true",
                }.items(),
            ),
            Node(
                package="op3_fall", executable="sim", parameters=[config, simulator],
                output="screen", on_exit=Shutdown(reason="the simulator has ended"),
            ),
        ]
    )  # fmt: skip
