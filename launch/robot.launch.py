# SPDX-License-Identifier: Apache-2.0
"""The nodes beside ROBOTIS' op3_manager on a real OP3; read docs/robot.md first.

They start disarmed. To arm: ros2 lifecycle set /gain_scheduler activate, then /policy.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("op3_fall")


def generate_launch_description() -> LaunchDescription:
    """What is special about the robot, then the nodes."""
    nodes = PathJoinSubstitution([SHARE, "launch", "fall_control.launch.py"])
    own = ("config", "voltage", "profile", "simulated")
    return LaunchDescription(
        [
            DeclareLaunchArgument("voltage", default_value="11.1",
                                  description="supply under load in V: battery 11.1, supply 12"),
            DeclareLaunchArgument("profile", default_value="extended",
                                  choices=["stock", "extended"],
                                  description="what OP3.robot reads; stock: no velocity, effort"),
            DeclareLaunchArgument("config",
                                  default_value=PathJoinSubstitution(
                                      [SHARE, "config", "robot.yaml"]),
                                  description="parameter file of the nodes"),
            DeclareLaunchArgument("simulated", default_value="false", choices=["true", "false"],
                                  description="true: a rehearsal, ros2 run op3_fall sim is the "
                                  "driver"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(nodes),
                launch_arguments={name: LaunchConfiguration(name) for name in own}.items(),
            ),
        ]
    )  # fmt: skip
