# SPDX-License-Identifier: Apache-2.0
"""Rivals that step robots in turn, so that a busy machine slows all alike; memory of a process."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Contestant", "figure", "memory", "peak_mb", "race", "ratio"]

_MIN_ROUNDS = 5
_BURST_S = 0.25
_MAX_BURST_STEPS = 50  # 1 s: later every robot lies still


@dataclass
class Contestant:
    """One way to step `count` robots; speeds of its bursts."""

    name: str
    count: int
    restore: Callable[[], None]
    """Put the falling robots back."""
    control_step: Callable[[], object]
    """Step every robot 20 ms."""
    physics_steps: int
    """In a control step."""
    speeds: list[float] = field(default_factory=list)
    """Control steps of one robot per second, one entry a burst."""

    def burst(self, steps: int) -> float:
        """Time `steps` control steps from the saved states, s."""
        self.restore()
        start = time.perf_counter()
        for _ in range(steps):
            self.control_step()
        took = time.perf_counter() - start
        self.speeds.append(self.count * steps / took)
        return took


def race(group: Sequence[Contestant], seconds: float) -> None:
    """Bursts in turn, so that a busy machine slows all alike."""
    burst_s = min(_BURST_S, seconds / _MIN_ROUNDS)
    steps = []
    for contestant in group:
        contestant.burst(1)
        took = contestant.burst(1)
        contestant.speeds.clear()
        steps.append(min(max(round(burst_s / took), 1), _MAX_BURST_STEPS))
    # The same stretch of the fall for everyone: contacts come and go.
    spent, rounds = 0.0, 0
    while spent < seconds * len(group) or rounds < _MIN_ROUNDS:
        spent += sum(contestant.burst(min(steps)) for contestant in group)
        rounds += 1


def figure(contestant: Contestant) -> dict[str, Any]:
    """The medians over its bursts, for summary.json."""
    speed = float(np.median(contestant.speeds))
    return {
        "name": contestant.name,
        "simulations": contestant.count,
        "rounds": len(contestant.speeds),
        "control_steps_per_s": speed,
        "physics_steps_per_s": speed * contestant.physics_steps,
    }


def ratio(ours: Contestant, raw: Contestant) -> float:
    """Median over the rounds of the ratio within one round."""
    return float(np.median(np.array(ours.speeds) / np.array(raw.speeds)))


def peak_mb() -> float:
    """Peak resident memory of this process so far, MB."""
    # Not getrusage: its peak survives exec, so a child would show its parent's.
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def memory(call: str) -> tuple[float, float]:
    """What `module:function(arguments)` returns in a fresh process: peak MB before and after."""
    module, expression = call.split(":", 1)
    name = expression.split("(", 1)[0]
    code = f"from {module} import {name}; print(*{expression})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, peak = map(float, done.stdout.split())
    return before, peak
