# SPDX-License-Identifier: Apache-2.0
"""`op3-fall bench detectors`: what a step of both detectors costs, for one robot and for 4,096."""

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from op3_fall import results
from op3_fall.detectors import Detectors
from op3_fall.robot import Servo
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.signals import JointCommand, SensorReading
from op3_fall.simulation import Simulation

__all__ = ["bench_detectors"]

_BATCH = 4096
_PUSH_S = 0.8
_GOALS_US = {1: 100.0, _BATCH: 2000.0}


def bench_detectors(out: Path, *, seconds: float) -> dict[str, Any]:
    """Feed the readings of a pushed robot, over and over for `seconds` a figure; print a table.

    Standing and falling are told apart: while nothing happens, less is computed.

    Raises:
        BadInputError: the folder cannot be written.
    """
    out = results.open_folder(out)
    readings = _fall()
    figures: dict[str, Any] = {}
    for n in (1, _BATCH):
        stream = [_as_many(reading, n) for reading in readings]
        standing, falling = _time(stream, seconds)
        figures[f"robots_{n}"] = {
            "standing_median_us": standing, "falling_median_us": falling, "goal_us": _GOALS_US[n],
        }  # fmt: skip
    results.write_json(out / "summary.json", {**results.provenance({}, 0), **figures})
    results.print_table(
        "A step of both detectors, median",
        ["robots", "standing (us)", "falling (us)", "goal (us)"],
        [[name.split("_")[1], *(f"{v:.0f}" for v in row.values())]
         for name, row in figures.items()],
    )  # fmt: skip
    return figures


def _fall() -> list[SensorReading]:
    """Of one robot, (1, ...) each: half of them before the push."""
    simulation = Simulation(1)
    scenario = pushed_stand(PushSpec(start_s=_PUSH_S), [0], seed=0)
    first = simulation.reset(scenario)
    hold, readings = JointCommand.hold(scenario.position), [first]
    while float(readings[-1].time_s[0]) < 2 * _PUSH_S:
        readings.append(simulation.advance(hold, 4))
    return readings


def _as_many(reading: SensorReading, n: int) -> SensorReading:
    """The same reading of `n` robots; of one robot without a leading axis."""
    values = {f.name: getattr(reading, f.name)[0] for f in fields(reading)}
    if n > 1:
        values = {k: np.repeat(v[None], n, axis=0) for k, v in values.items()}
    return SensorReading(**values)


def _time(stream: list[SensorReading], seconds: float) -> tuple[float, float]:
    """Median microseconds of a step before the alarm and after it."""
    took: dict[bool, list[float]] = {False: [], True: []}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        detectors = Detectors(stream[0], Servo())
        for reading in stream[1:]:
            begun = time.perf_counter()
            fall, _ = detectors.step(reading)
            took[bool(fall.falling.any())].append(time.perf_counter() - begun)
    return float(np.median(took[False]) * 1e6), float(np.median(took[True]) * 1e6)
