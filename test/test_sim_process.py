# SPDX-License-Identifier: Apache-2.0
"""The node `sim` as it runs by itself: real time, diagnostics, and the process around it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make ros)")
pytest.importorskip("op3_fall.msg", reason="the messages are not built (make ros)")
pytest.importorskip("robotis_controller_msgs", reason="the messages are not built (make ros)")

from sim_graph import DOMAIN, PRESENT, Graph, graph, seconds
from std_srvs.srv import SetBool, Trigger


def run_for(g: Graph, wall_s: float) -> tuple[int, float]:
    """Messages heard and simulated seconds passed while the simulation runs by itself."""
    g.sim._twin.start_s = time.time()
    g.sim._thread.start()
    try:
        end = time.monotonic() + wall_s
        while time.monotonic() < end:
            g.executor.spin_once(timeout_sec=0.01)
    finally:
        g.sim.finish()
    return len(g.heard[PRESENT]), g.sim._twin.time_s - g.sim._twin.start_s


def test_at_factor_1_it_keeps_to_the_wall_clock_and_tells_how_well() -> None:
    with graph() as g:
        heard, simulated = run_for(g, 2.5)
        # A busy machine may be slower, but nothing may make it faster.
        assert 1.0 < simulated < 2.7
        assert heard > 100
        np.testing.assert_allclose(
            np.diff([seconds(m.header.stamp) for m in g.heard[PRESENT]]), 0.008, atol=1e-6
        )
        status = g.heard["/diagnostics"][-1].status[0]
        values = {v.key: float(v.value) for v in status.values if v.key != "paused"}
        assert set(values) == {
            "real_time_factor", "missed_deadlines",
            *(f"{what}_{label}_ms" for what in ("cycle", "impact_cycle", "command_latency")
              for label in ("median", "p99", "max")),
        }  # fmt: skip
        assert 0.3 < values["real_time_factor"] < 1.05
        assert 0.1 < values["cycle_median_ms"] < 8


def test_at_factor_0_it_runs_as_fast_as_it_can() -> None:
    with graph(real_time_factor=0.0) as g:
        assert run_for(g, 1.5)[1] > 0.3
        values = {v.key: v.value for v in g.heard["/diagnostics"][-1].status[0].values}
        assert values["missed_deadlines"] == "0"  # there are none to miss
        assert g.heard["/diagnostics"][-1].status[0].message == "keeps time"


def test_a_breakdown_of_the_physics_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file
    with graph() as g:
        g.step()
        g.sim._twin.simulation.batch.bind("qvel")[0, 3] = np.nan
        g.step()
        g.sim._report()
        status = g.hears("/diagnostics", "the physics broke down").status[0]
        assert status.level == b"\x02"
        assert "the physics broke down; call ~/reset" in capfd.readouterr().err
        g.call(Trigger, "/sim/reset")
        assert np.isfinite(g.step(3).position).all()


def test_a_machine_that_is_too_slow_is_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    with graph(real_time_factor=100.0) as g:
        run_for(g, 2.2)
        status = g.heard["/diagnostics"][-1].status[0]
    assert status.level == b"\x01"
    assert "instead of 100" in status.message
    assert capfd.readouterr().err.count("the simulation cannot keep time") == 1


def test_a_pause_stops_time() -> None:
    with graph() as g:
        g.call(SetBool, "/sim/pause", data=True)
        assert run_for(g, 0.3) == (0, 0.0)


# The process


def sim_process(*parameters: str) -> subprocess.Popen[str]:
    args = [word for p in parameters for word in ("-p", p)]
    environment = os.environ | {"ROS_DOMAIN_ID": str(DOMAIN)}
    return subprocess.Popen(
        [sys.executable, "-m", "op3_fall.nodes.sim", "--ros-args", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_it_ends_by_itself_after_the_time_it_was_given() -> None:
    process = sim_process("stop_after_s:=0.4", "real_time_factor:=0.0")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(how: signal.Signals) -> None:
    with graph() as g:  # which waits until it sees its own publishers and no others
        process = sim_process()
        g.until(lambda: g.client.count_publishers(PRESENT) == 2)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        ("model:=nowhere.xml",
         "op3_fall: model file 'nowhere.xml' does not exist; allowed is an MJCF file with the "
         "OP3's joint names, or 'menagerie'; check the path\n"),
        ("start_pose:=lying",
         "op3_fall: start pose 'lying' is unknown; allowed are stand, ini_pose; choose one of "
         "them\n"),
    ],
)  # fmt: skip
def test_bad_parameters_are_one_line_and_status_2(parameter: str, text: str) -> None:
    process = sim_process(parameter)
    assert process.communicate(timeout=60) == ("", text)
    assert process.returncode == 2
