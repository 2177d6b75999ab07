# SPDX-License-Identifier: Apache-2.0
"""`op3-fall bench train`: environment steps a second with learning, and what takes the time."""

import os
import time
from pathlib import Path
from typing import Any

from op3_fall.results import open_folder, print_table, provenance, write_json
from op3_fall.training.config import TrainConfig
from op3_fall.training.config_file import save_config, shipped
from op3_fall.training.learner import Learner

__all__ = ["PHYSICS_GOAL", "bench_train"]

PHYSICS_GOAL = 0.6
"""Least share of the time in MuJoCo's steps: the rest is what training adds to it."""


def bench_train(
    out: Path, *, seconds: float = 30.0, config: TrainConfig | None = None
) -> dict[str, Any]:
    """Measure, print the table, write summary.json and the configuration.

    Args:
        out: folder for both.
        seconds: time to spend, s; at least two iterations are run.
        config: of the training; the shipped one of v1 if None. The network is on the CPU.

    Returns:
        The content of summary.json.

    Raises:
        BadInputError: `out` cannot be written.
    """
    open_folder(out)
    config = config or shipped("arms_legs")
    learner = Learner(config, "cpu")
    learner.warm_up()  # then robots are in all phases of their falls
    figures, start = [], time.monotonic()
    while len(figures) < 2 or time.monotonic() - start < seconds:
        figures.append(learner.iterate())
    steps = sum(f.steps for f in figures)
    collect_s, learn_s = sum(f.collect_s for f in figures), sum(f.learn_s for f in figures)
    physics_s = sum(f.physics_s for f in figures)
    total_s = collect_s + learn_s
    summary = {
        **provenance({"seconds": seconds, "task": config.task}, config.seed),
        "cpu_count": os.cpu_count(),
        "robots": config.num_envs,
        "iterations": len(figures),
        "env_steps_per_s": steps / total_s,
        "falls_per_s": sum(f.falls for f in figures) / total_s,
        "physics_share": physics_s / total_s,
        "other_collection_share": (collect_s - physics_s) / total_s,
        "learning_share": learn_s / total_s,
        "goals": {
            "least_physics_share": PHYSICS_GOAL,
            "physics_reached": physics_s / total_s >= PHYSICS_GOAL,
        },
    }
    write_json(out / "summary.json", summary)
    save_config(out / "config.yaml", config)
    _print(summary)
    return summary


def _print(summary: dict[str, Any]) -> None:
    shares = {
        "MuJoCo": "physics_share", "rest of the environment, actor": "other_collection_share",
        "learning": "learning_share",
    }  # fmt: skip
    print_table(
        f"Training {summary['settings']['task']}, {summary['robots']} robots: "
        f"{summary['env_steps_per_s']:.0f} environment steps/s, "
        f"{summary['falls_per_s']:.1f} falls/s",
        ["", "share of the time"],
        [[label, f"{summary[name]:.0%}"] for label, name in shares.items()],
    )
