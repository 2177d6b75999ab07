# SPDX-License-Identifier: Apache-2.0
"""`op3-fall bench policy`: from a reading to the command, for one robot on one thread."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from op3_fall import results
from op3_fall.detectors import Detectors
from op3_fall.gain_writer import Registers
from op3_fall.onnx_policy import OnnxPolicy
from op3_fall.policy_codec import PolicyCodec
from op3_fall.robot import Servo
from op3_fall.safety import SafetyConfig, TargetGuard, guard_gains
from op3_fall.scenarios import PushSpec, pushed_stand
from op3_fall.signals import FallEstimate, JointCommand, SensorReading
from op3_fall.simulation import CONTROL_PERIOD_S, Simulation

__all__ = ["bench_policy"]

GOALS_US = {"whole step": 200.0, "network": 60.0, "safety gate": 20.0}
"""Of the 99th percentile. The whole step is observation, network, command and gate."""
LARGEST_MB = 5.0
_PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}
_PUSH_S, _FALL_S = 0.4, 1.0


class _Moment(NamedTuple):
    """One control step of a fall of one robot, shape ()."""

    reading: SensorReading
    fall: FallEstimate


def bench_policy(out: Path, *, seconds: float, policy: Path) -> dict[str, Any]:
    """Feed the readings of a fall, over and over for `seconds`; print a table.

    Args:
        out: folder for summary.json.
        seconds: time to spend, s.
        policy: ONNX file.

    Raises:
        BadInputError: the folder cannot be written, or the file is no policy.
    """
    network = OnnxPolicy.load(policy)
    results.open_folder(out)
    took = _time(network, _fall(network.contract.sensor_profile), seconds)
    size_mb = policy.stat().st_size / 1e6
    figures = {
        part: {
            **{f"{name}_us": float(np.percentile(times, q)) for name, q in _PERCENTILES.items()},
            "steps": len(times), "goal_p99_us": GOALS_US[part],
            "reached": bool(np.percentile(times, 99.0) < GOALS_US[part]),
        }
        for part, times in took.items()
    }  # fmt: skip
    file = {"path": policy, "size_mb": size_mb, "goal_mb": LARGEST_MB,
            "reached": size_mb < LARGEST_MB}  # fmt: skip
    summary = {
        **results.provenance({"seconds": seconds, "policy": policy}, 0),
        "file": file, "parts": figures,
    }  # fmt: skip
    results.write_json(out / "summary.json", summary)
    results.print_table(
        f"A control step of one robot, one thread; file {size_mb:.2f} MB (goal {LARGEST_MB:g})",
        ["", *(f"{name} (us)" for name in _PERCENTILES), "goal of p99 (us)"],
        [[part, *(f"{row[f'{name}_us']:.0f}" for name in _PERCENTILES),
          f"{row['goal_p99_us']:.0f}"] for part, row in figures.items()],
    )  # fmt: skip
    return summary


def _fall(profile: str) -> list[_Moment]:
    """From the alarm on, a moment each control step."""
    simulation = Simulation(1, profile=profile)
    scenario = pushed_stand(PushSpec(start_s=_PUSH_S), [0], seed=0)
    detectors = Detectors(simulation.reset(scenario), Servo())
    hold, moments = JointCommand.hold(scenario.position), []
    while len(moments) < _FALL_S / CONTROL_PERIOD_S:
        simulation.step(hold)
        for cycle in simulation.cycles:
            fall, _ = detectors.step(cycle.reading)
        if fall.falling.any():
            moments.append(_Moment(_row(cycle.reading), _row(fall)))
    return moments


def _row(batch: Any) -> Any:
    return type(batch)(**{name: np.array(value[0]) for name, value in vars(batch).items()})


def _time(
    policy: OnnxPolicy, moments: list[_Moment], seconds: float
) -> dict[str, NDArray[np.float64]]:
    """Microseconds of each part in every step."""
    took: dict[str, list[float]] = {part: [] for part in GOALS_US}
    lowest_p = int(Servo().p_register(0.05))
    codec = PolicyCodec(policy.contract)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        first, *later = moments
        codec.reset(first.reading)
        held = _registers(policy.reset(first.reading))
        guard = TargetGuard(SafetyConfig())
        guard.start(first.reading.position)
        for reading, fall in later:
            begun = time.perf_counter()
            command = policy.step(reading, fall)
            gate = time.perf_counter()
            guard.step(command.position, reading.position, CONTROL_PERIOD_S)
            held, _ = guard_gains(_registers(command), held, lowest_p=lowest_p)
            done = time.perf_counter()
            seen = codec.observe(reading, fall)
            network = time.perf_counter()
            action = policy.infer(seen)
            took["network"].append(time.perf_counter() - network)
            took["whole step"].append(done - begun)
            took["safety gate"].append(done - gate)
            codec.act(action, reading)
    return {part: np.array(times) * 1e6 for part, times in took.items()}


def _registers(command: JointCommand) -> Registers:
    none = np.zeros(command.p_gain.shape, dtype=np.int64)
    return Registers(command.p_gain, command.d_gain, command.goal_pwm, none)
