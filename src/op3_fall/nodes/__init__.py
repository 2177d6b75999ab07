# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 nodes: callbacks, parameters, publishers; the logic is in the modules above."""
