# SPDX-License-Identifier: Apache-2.0
"""How fast the graph reacts, and what it costs: sensor to command, CPU and memory of each node."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from op3_fall import results
from op3_fall.bringup import environment
from op3_fall.errors import Op3FallError

__all__ = ["bench_ros"]

_PUSH_AFTER_S = 6.0
_UNTIL_DOWN_S = 4.0
_PATIENCE_S = 60.0


def bench_ros(out: Path, *, seconds: float) -> None:
    """Run the graph as separate processes, then composed, and print and write the figures.

    The robot falls, and the policy goes on streaming targets at 50 Hz for `seconds`. The
    simulator measures the time from a reading's publication to the arrival of the targets that
    bear its stamp, which is sensor to command as the driver sees it.

    Raises:
        BadInputError: `out` cannot be written.
        Op3FallError: the graph did not come up.
    """
    out = results.open_folder(out)
    graphs = {name: _measure(seconds, composed) for name, composed in
              (("separate processes", False), ("composed", True))}  # fmt: skip
    settings = {"seconds": seconds, "cores": os.cpu_count()}
    summary = {**results.provenance(settings, seed=0), "graphs": graphs}
    results.write_json(out / "summary.json", summary)
    results.print_table("Sensor to command, and what it costs", *table(summary))
    print(f"Numbers: {out / 'summary.json'}")


def _measure(seconds: float, composed: bool) -> dict[str, Any]:
    """One graph from start to end."""
    # A graph that runs already must neither disturb nor be disturbed.
    env = environment(local=True) | {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(f"policy: {{ros__parameters: {{linger_s: {seconds + 60.0}}}}}\n")
        file.flush()
        command = [sys.executable, "-m", "op3_fall.cli", "ros", "sim", "--params", file.name,
                   "--push-after", str(_PUSH_AFTER_S)]  # fmt: skip
        command += ["--composed"] * composed
        graph = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
        try:
            with _Diagnostics(env) as diagnostics:
                return _watch(graph, diagnostics, seconds)
        finally:
            graph.send_signal(signal.SIGINT)
            graph.wait(timeout=_PATIENCE_S)


def _watch(
    graph: "subprocess.Popen[bytes]", diagnostics: "_Diagnostics", seconds: float
) -> dict[str, Any]:
    diagnostics.wait(lambda values: values["command_latency_p99_ms"] > 0, _PATIENCE_S)
    diagnostics.run(_UNTIL_DOWN_S)
    nodes = {_name(p): p for p in psutil.Process(graph.pid).children()}
    before = {name: _cpu_s(p) for name, p in nodes.items()}
    began = time.monotonic()
    factors = [v["real_time_factor"] for v in diagnostics.run(seconds)]
    lasted = time.monotonic() - began
    values = diagnostics.latest
    return {
        **{k: values[k] for k in values if k.endswith("_ms")},
        "missed_deadlines": values["missed_deadlines"],
        "real_time_factor": sum(factors) / len(factors),
        "nodes": {
            name: {
                "cpu_share_of_a_core": (_cpu_s(p) - before[name]) / lasted,
                "memory_mb": p.memory_info().rss / 1e6,
            }
            for name, p in nodes.items()
        },
    }


def _name(process: psutil.Process) -> str:
    """Of the node that a process runs."""
    return next(a for a in process.cmdline() if a.startswith("op3_fall.nodes.")).split(".")[-1]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class _Diagnostics:
    """The simulator's figures, as they come."""

    def __init__(self, env: Mapping[str, str]) -> None:
        os.environ.update({k: env[k] for k in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")})
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray

        self._rclpy: Any = rclpy
        self.latest: dict[str, float] = {}
        self._heard: list[dict[str, float]] = []
        rclpy.init()
        self._node = rclpy.create_node("bench")
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._take, 10)

    def __enter__(self) -> "_Diagnostics":
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_node()
        self._rclpy.try_shutdown()

    def _take(self, message: Any) -> None:
        texts = {v.key: v.value for v in message.status[0].values}
        self.latest = {k: float(v) for k, v in texts.items() if k != "paused"}
        self._heard.append(self.latest)

    def run(self, seconds: float) -> Sequence[dict[str, float]]:
        """What comes in that time."""
        self._heard = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._rclpy.spin_once(self._node, timeout_sec=0.2)
        return self._heard

    def wait(self, there: Any, patience_s: float) -> None:
        """Until the figures satisfy `there`."""
        end = time.monotonic() + patience_s
        while not (self.latest and there(self.latest)):
            if time.monotonic() > end:
                raise Op3FallError(f"no command reached the simulator within {patience_s:g} s")
            self._rclpy.spin_once(self._node, timeout_sec=0.2)


def table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The summary as header and rows for the screen."""
    graphs = summary["graphs"]
    figures = {
        "sensor to command, median (ms)": "command_latency_median_ms",
        "sensor to command, p99 (ms)": "command_latency_p99_ms",
        "sensor to command, max (ms)": "command_latency_max_ms",
        "real-time factor": "real_time_factor",
        "cycle of the simulator, median (ms)": "cycle_median_ms",
        "cycle of the simulator, p99 (ms)": "cycle_p99_ms",
        "the same during impact, p99 (ms)": "impact_cycle_p99_ms",
        "missed deadlines": "missed_deadlines",
    }
    rows = [[label, *(f"{g[key]:.3g}" for g in graphs.values())] for label, key in figures.items()]
    for name in dict.fromkeys(n for g in graphs.values() for n in g["nodes"]):
        for key, unit, scale in (("cpu_share_of_a_core", "% of a core", 100),
                                 ("memory_mb", "MB", 1)):  # fmt: skip
            cells = [f"{g['nodes'][name][key] * scale:.0f}" if name in g["nodes"] else "-"
                     for g in graphs.values()]  # fmt: skip
            rows.append([f"{name} ({unit})", *cells])
    return ["", *graphs], rows
