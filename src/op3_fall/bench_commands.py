# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of the command line: `op3-fall bench sim | detectors | env | policy | …`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from op3_fall.packages import check_packages
from op3_fall.resources import policy_path
from op3_fall.ros_commands import check_ros

__all__ = ["BENCHES", "run_bench"]


@dataclass(frozen=True)
class BenchSim:
    """Simulation speed beside plain MuJoCo and raw mjbatch, in one run."""

    out: Path = Path("results/bench_sim")
    """Folder for summary.json."""
    seconds: float = 2.0
    """Time to spend on each figure, s."""


@dataclass(frozen=True)
class BenchDetectors:
    """A step of both detectors, for one robot and for 4,096."""

    out: Path = Path("results/bench_detectors")
    """Folder for summary.json."""
    seconds: float = 3.0
    """Time to spend on each figure, s."""


@dataclass(frozen=True)
class BenchEnv:
    """The native vector environment beside raw mjbatch and gymnasium's AsyncVectorEnv."""

    out: Path = Path("results/bench_env")
    """Folder for summary.json."""
    seconds: float = 4.0
    """Time to spend on each figure, s."""
    env: Literal["v0", "v1", "v2"] = "v1"
    """Which of the environments envs/Op3FallControl-..."""


@dataclass(frozen=True)
class BenchPolicy:
    """From reading to command under a policy: one robot, one thread."""

    policy: Path = Path("arms_legs")
    """A shipped policy (arms, arms_legs, roll), or an ONNX file."""
    out: Path = Path("results/bench_policy")
    """Folder for summary.json."""
    seconds: float = 10.0
    """Time to spend, s."""


@dataclass(frozen=True)
class BenchTrain:
    """Training: environment steps a second with learning, and what takes the time."""

    out: Path = Path("results/bench_train")
    """Folder for summary.json."""
    seconds: float = 30.0
    """Time to spend, s."""


@dataclass(frozen=True)
class BenchRos:
    """The ROS 2 graph: sensor to command, CPU share and memory of each node, real-time factor."""

    out: Path = Path("results/bench_ros")
    """Folder for summary.json."""
    seconds: float = 60.0
    """Time to measure each graph, s."""


Bench = BenchSim | BenchDetectors | BenchEnv | BenchPolicy | BenchTrain | BenchRos
BENCHES: dict[str, type] = {
    "sim": BenchSim, "detectors": BenchDetectors, "env": BenchEnv, "policy": BenchPolicy,
    "train": BenchTrain, "ros": BenchRos,
}  # fmt: skip
"""Settings of each benchmark by its name."""


def run_bench(args: Bench) -> int:
    """Run one; exit status 0.

    Raises:
        BadInputError: a folder that cannot be written, or packages are missing.
    """
    # Each imports what it alone needs.
    if isinstance(args, BenchSim):
        from op3_fall.bench import bench_sim

        bench_sim(args.out, seconds=args.seconds)
    elif isinstance(args, BenchDetectors):
        from op3_fall.bench_detectors import bench_detectors

        bench_detectors(args.out, seconds=args.seconds)
    elif isinstance(args, BenchEnv):
        check_packages("gymnasium")
        from op3_fall.bench_env import bench_env

        bench_env(args.out, seconds=args.seconds, env_id=f"envs/Op3FallControl-{args.env}")
    elif isinstance(args, BenchPolicy):
        check_packages("onnxruntime", "gymnasium")
        from op3_fall.bench_policy import bench_policy

        bench_policy(args.out, seconds=args.seconds, policy=policy_path(args.policy))
    elif isinstance(args, BenchTrain):
        check_packages("torch", "gymnasium", "rsl_rl")
        from op3_fall.training.bench_train import bench_train

        bench_train(args.out, seconds=args.seconds)
    else:
        check_ros()
        from op3_fall.bench_ros import bench_ros

        bench_ros(args.out, seconds=args.seconds)
    return 0
