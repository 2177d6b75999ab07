# SPDX-License-Identifier: Apache-2.0
"""The experiment through the ROS 2 graph: the same falls, recorded as bags and read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from op3_fall import results
from op3_fall.bringup import STOP_ORDER, Process, environment, parameter_file, supervise
from op3_fall.compliance import ComplianceConfig
from op3_fall.detector_file import SHIPPED, load_detector
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.experiment import MODES, Experiment
from op3_fall.replay import plot_bags
from op3_fall.resources import resource
from op3_fall.ros_commands import check_ros

__all__ = ["run_ros_experiment"]

_SETTLE_S = 4.0
"""Before the push: time for the nodes to find each other and for the sensors to be trusted."""


def run_ros_experiment(
    experiment: Experiment, progress: Callable[[float], None] = lambda share: None
) -> dict[str, Any]:
    """Let every fall happen in a graph of its own, stiff and compliant in turn.

    Writes `bags/fall_01` and on, and the graphs and summary that `op3-fall plot` makes of them.

    Raises:
        BadInputError: ROS is not there, or a setting has no meaning for the graph.
        Op3FallError: a graph failed or left no bag.
    """
    check_ros()
    _check(experiment)
    out = results.open_folder(experiment.out)
    bags = [out / "bags" / f"fall_{k + 1:02d}" for k in range(experiment.falls)]
    for bag in bags:
        if bag.exists():
            raise BadInputError(
                f"torque log '{bag}' exists already; allowed is a folder without bags; remove "
                "it or choose another with --out DIR"
            )
    for k, bag in enumerate(bags):
        _fall(experiment, k, bag)
        progress((k + 1) / len(bags))
    return plot_bags(bags, out)


def _check(experiment: Experiment) -> None:
    """What the nodes cannot be told, or would refuse."""
    load_detector(experiment.detector)
    for name, given in (("--goal", experiment.goal), ("--video", experiment.video),
                        ("--render human", experiment.render == "human")):  # fmt: skip
        if given:
            raise BadInputError(
                f"{name} has no meaning with --ros; allowed is either; leave one of them out"
            )


def _fall(experiment: Experiment, k: int, bag: Path) -> None:
    """Fall `k`, from 0: the graph comes up, the robot is pushed, the graph ends."""
    files = [experiment.detector or resource(SHIPPED), resource("config/sim.yaml")]
    with parameter_file(files, _parameters(experiment, k, bag)) as ros_arguments:
        graph = Process("composed", (",".join(STOP_ORDER), *ros_arguments))
        status = supervise([graph], environment(local=True))
    if status or not bag.exists():
        raise Op3FallError(f"the graph of fall {k + 1} ended with status {status}; see above")


def _parameters(experiment: Experiment, k: int, bag: Path) -> dict[str, dict[str, object]]:
    """Parameters of the nodes for fall `k`."""
    push = experiment.push
    compliance = {name: float(getattr(experiment.compliance, name))
                  for name in ComplianceConfig.__dataclass_fields__}  # fmt: skip
    voltage: dict[str, object] = {
        "voltage_v": float(experiment.voltage_v), "profile": experiment.profile,
    }  # fmt: skip
    after_s = _SETTLE_S + push.start_s
    sim: dict[str, object] = {
        "seed": experiment.seed, "fall": k + 1, "model": experiment.model, **voltage,
        "push_force_n": float(push.force_n), "push_duration_s": float(push.duration_s),
        "push_direction_deg": float(push.direction_deg), "push_after_s": after_s,
        "stop_after_s": after_s - push.start_s + experiment.duration_s,
    }  # fmt: skip
    return {
        "sim": sim,
        "gain_scheduler": {"mode": MODES[k % 2], "voltage_v": voltage["voltage_v"], **compliance},
        "fall_detector": voltage,
        "policy": voltage | {"policy_file": ""},
        "recorder": {"path": str(bag)},
    }
