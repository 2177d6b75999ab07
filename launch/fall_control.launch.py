# SPDX-License-Identifier: Apache-2.0
"""Fall detector, gain scheduler, policy and recorder: the same on robot and simulator."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def text(name: str) -> ParameterValue:
    """A launch argument as a string parameter, whatever it looks like."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description() -> LaunchDescription:
    """The nodes; the three that act are started again when they die."""
    shared = LaunchConfiguration("config")
    record = LaunchConfiguration("record")
    return LaunchDescription(
        [
            DeclareLaunchArgument("config", description="parameter file of the nodes"),
            DeclareLaunchArgument(
                "mode", default_value="compliant", choices=["compliant", "stiff", "soft"],
                description="compliant: soft for the impact; stiff: nominal gains; soft: at once",
            ),
            DeclareLaunchArgument(
                "policy", default_value="",
                description="ONNX policy file; empty: the scripted protective pose",
            ),
            DeclareLaunchArgument(
                "record", default_value="",
                description="folder of the torque log (rosbag2, MCAP) to write; empty: none",
            ),
            Node(
                package="op3_fall", executable="fall_detector", parameters=[shared],
                output="screen", respawn=True, respawn_delay=0.5,
            ),
            Node(
                package="op3_fall", executable="gain_scheduler", output="screen",
                parameters=[shared, {"mode": text("mode")}], respawn=True, respawn_delay=0.5,
            ),
            Node(
                package="op3_fall", executable="policy", output="screen",
                parameters=[shared, {"policy_file": text("policy")}],
                respawn=True, respawn_delay=0.5,
            ),
            Node(
                package="op3_fall", executable="recorder", output="screen",
                parameters=[shared, {"path": text("record")}],
                condition=IfCondition(PythonExpression(["'", record, "' != ''"])),
            ),
        ]
    )  # fmt: skip
