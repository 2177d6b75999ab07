# SPDX-License-Identifier: Apache-2.0
"""The nodes beside ROBOTIS' op3_manager on a real OP3; read docs/robot.md first.

They start disarmed. To arm: ros2 lifecycle set /gain_scheduler activate, then /policy.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetParameter
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("op3_fall")


def whole(name: str) -> ParameterValue:
    """A launch argument as an integer."""
    return ParameterValue(LaunchConfiguration(name), value_type=int)


def generate_launch_description() -> LaunchDescription:
    """Robot-wide parameters, then the nodes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("voltage", default_value="11.1",
                                  description="supply under load in V: battery 11.1, supply 12"),
            DeclareLaunchArgument("profile", default_value="extended",
                                  choices=["stock", "extended"],
                                  description="what OP3.robot reads; stock: no velocity, effort"),
            DeclareLaunchArgument("nominal_p_gain", default_value="800",
                                  description="P register to restore (dxl_init_OP3.yaml)"),
            DeclareLaunchArgument("nominal_d_gain", default_value="0",
                                  description="D register to restore"),
            DeclareLaunchArgument("config",
                                  default_value=PathJoinSubstitution(
                                      [SHARE, "config", "robot.yaml"]),
                                  description="parameter file of the nodes"),
            SetParameter("voltage_v",
                         ParameterValue(LaunchConfiguration("voltage"), value_type=float)),
            SetParameter("profile", LaunchConfiguration("profile")),
            SetParameter("nominal_p_gain", whole("nominal_p_gain")),
            SetParameter("nominal_d_gain", whole("nominal_d_gain")),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution([SHARE, "launch", "fall_control.launch.py"])),
                launch_arguments={"config": LaunchConfiguration("config")}.items(),
            ),
        ]
    )  # fmt: skip
