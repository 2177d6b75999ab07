# SPDX-License-Identifier: Apache-2.0
"""Bring the nodes up without `launch`: a process each, watched, stopped in a safe order.

Restores what a crash leaves: the detector, the scheduler and the policy are started again when
they die, and a scheduler that starts writes the nominal gains first.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.yaml_files import read_yaml

__all__ = ["Process", "environment", "parameter_file", "supervise"]

# Gains are restored while the driver still runs; the simulator goes last.
STOP_ORDER = ("policy", "gain_scheduler", "fall_detector", "recorder", "sim")
_PATIENCE_S = 5.0
_MOST_RESTARTS = 5


@dataclass
class Process:
    """One node, or several composed, in a process of its own."""

    name: str
    """Module of `op3_fall.nodes`."""
    arguments: Sequence[str] = ()
    """ROS arguments."""
    respawn: bool = False
    """Start it again when it dies; else its end is the end of all."""
    running: subprocess.Popen[bytes] | None = None
    """Set while it runs."""
    restarts: list[float] = field(default_factory=list)
    """When it was started again, by the monotonic clock, s."""

    def start(self, env: Mapping[str, str]) -> None:
        """Start it; Ctrl-C reaches only the supervisor, which then stops all in order."""
        command = [sys.executable, "-m", f"op3_fall.nodes.{self.name}", *self.arguments]
        self.running = subprocess.Popen(command, env=dict(env), start_new_session=True)

    def stop(self) -> None:
        """Ask, then insist; SIGINT would print a traceback while Python is still importing."""
        if self.running is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.running.poll() is None:
                self.running.send_signal(number)
            try:
                self.running.wait(_PATIENCE_S)
                return
            except subprocess.TimeoutExpired:
                print(f"op3_fall: {self.name} does not stop; insisting", file=sys.stderr)


def environment(*, local: bool) -> dict[str, str]:
    """The environment of the nodes; `local` keeps them on this host unless it says otherwise."""
    env = dict(os.environ)
    if local:
        env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    env["PYTHONUNBUFFERED"] = "1"
    return env


@contextmanager
def parameter_file(
    files: Sequence[Path], overrides: Mapping[str, Mapping[str, object]]
) -> Iterator[list[str]]:
    """ROS arguments for one file made of `files` and, on top, `{node: {parameter: value}}`.

    rcl would take several files, but of two values of different types it keeps the older one.

    Raises:
        BadInputError: a file cannot be read or is no ROS parameter file.
    """
    merged: dict[str, dict[str, object]] = {}
    for given in (*map(_read, files), overrides):
        for node, values in given.items():
            merged[node] = merged.get(node, {}) | dict(values)
    content = {node: {"ros__parameters": values} for node, values in merged.items()}
    with tempfile.NamedTemporaryFile("w", prefix="op3_fall_", suffix=".yaml") as file:
        YAML(typ="safe", pure=True).dump(content, file)
        file.flush()
        yield ["--ros-args", "--params-file", file.name]


def _read(path: Path) -> dict[str, dict[str, object]]:
    """`{node: {parameter: value}}` of a ROS parameter file."""
    allowed = "a ROS parameter file such as config/sim.yaml"
    content = read_yaml(path, "parameter file", allowed)
    try:
        return {str(node): dict(block["ros__parameters"]) for node, block in content.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"parameter file '{path}' cannot be used (no 'node: ros__parameters: name: value'); "
            f"allowed is {allowed}; correct it"
        ) from error


def supervise(processes: Sequence[Process], env: Mapping[str, str]) -> int:
    """Run until Ctrl-C, SIGTERM or the end of a process that is not started again.

    Returns:
        The exit status of that process, 0 after Ctrl-C or SIGTERM.

    Raises:
        Op3FallError: a process dies over and over.
    """
    stop: list[int] = []
    handlers = {n: signal.signal(n, lambda number, _: stop.append(number))
                for n in (signal.SIGINT, signal.SIGTERM)}  # fmt: skip
    status: int | None = None
    try:
        for process in processes:
            process.start(env)
        while not stop and status is None:
            time.sleep(0.1)
            status = _look_after(processes, env)
    finally:
        for process in sorted(processes, key=lambda p: STOP_ORDER.index(p.name)
                              if p.name in STOP_ORDER else len(STOP_ORDER)):  # fmt: skip
            process.stop()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return status or 0


def _look_after(processes: Sequence[Process], env: Mapping[str, str]) -> int | None:
    """Start again what died; the exit status of what ends everything, or None."""
    for process in processes:
        code = process.running.poll() if process.running else None
        if code is None:
            continue
        if not process.respawn or code == 2:  # 2: bad input, which stays bad
            return code
        now = time.monotonic()
        process.restarts = [t for t in process.restarts if now - t < 10.0] + [now]
        if len(process.restarts) > _MOST_RESTARTS:
            raise Op3FallError(
                f"{process.name} died {_MOST_RESTARTS} times within 10 s (status {code}); "
                "see its messages above"
            )
        print(f"op3_fall: {process.name} died (status {code}); starting it again", file=sys.stderr)
        process.start(env)
    return None
