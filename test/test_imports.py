# SPDX-License-Identifier: Apache-2.0
"""Who may import what: the code that runs on the robot needs numpy and nothing else."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src/op3_fall"
MODULES = sorted(path.stem for path in SOURCE.glob("*.py"))

PURE = {
    "__init__", "action", "attitude", "balance", "blocks", "compliance", "control_table",
    "controller", "damage", "detection_scores", "detectors", "driver", "driver_controller",
    "driver_events", "driver_goals", "driver_inbox", "driver_modules", "driver_ownership",
    "driver_packets", "episodes", "errors", "estop", "fall_detection", "gain_schedule",
    "gain_writer", "hand", "impact_detection", "imu_errors", "intervals", "kinematics",
    "joint_errors", "known_rules", "latency", "metrics", "mirror", "motion_controller",
    "motion_pages", "motions", "noise", "observation", "onnx_scan", "operating_modes", "packages",
    "pacing", "policy", "policy_codec", "policy_spec", "protective", "readings", "recipes",
    "records", "reflex", "robot", "rotations", "rows", "safety", "safety_config", "scenarios",
    "sensor_guard", "sensors", "servo", "servo_bank", "settings", "signals", "torque_log",
    "truth", "vectors",
}  # fmt: skip
SIMULATING = {
    "bench", "bench_detectors", "bracing", "convergence", "detection_runs", "detection_set",
    "detection_watch", "end_effectors", "episode_runs", "experiments", "forces", "geometry",
    "ground", "ground_truth", "impact_report", "model", "model_file", "no_return", "physics",
    "sensing", "simulation", "sweep", "twin", "variation", "viewer",
}  # fmt: skip
# mujoco_menagerie is asked for by name only, on first use.
SIMULATION_PACKAGES = {"numpy", "mujoco", "mjbatch", "mujoco_menagerie"}
DRAWING = {"detection_plots", "episode_graph", "estimate_plots", "fall_graphs", "plots",
           "rendering", "video"}  # fmt: skip
FORBIDDEN = {"torch", "rclpy", "gymnasium", "onnxruntime"}
ALLOWED = {
    "bench_env": {"gymnasium"}, "bench_ros": {"rclpy"}, "onnx_policy": {"onnxruntime"},
}  # fmt: skip
ENVIRONMENTS = sorted(f"envs/{path.stem}" for path in (SOURCE / "envs").glob("*.py"))
PURE_IN_ENVIRONMENTS = {"envs/draws", "envs/outcome", "envs/phase", "envs/rewards"}
EVALUATION = sorted(f"evaluation/{path.stem}" for path in (SOURCE / "evaluation").glob("*.py"))
DRAWING_EVALUATION = {"evaluation/plots", "evaluation/film"}
TRAINING = sorted(f"training/{path.stem}" for path in (SOURCE / "training").glob("*.py"))


def imports(module: str) -> tuple[set[str], set[str]]:
    """Packages from outside the standard library, and modules of this one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            if node.module in ("op3_fall", "op3_fall.envs"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                names.add(str(node.module))
    ours = {name.split(".")[1] for name in names if name.startswith("op3_fall.")}
    outside = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"op3_fall"}
    return outside, ours


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    outside, ours = imports(module)
    assert not outside & (FORBIDDEN - ALLOWED.get(module, set()))
    assert "nodes" not in ours, "the nodes are on top of everything else"
    assert module in DRAWING or "matplotlib" not in outside
    if module in PURE:
        assert outside <= {"numpy"}
        assert ours <= PURE
    if module in SIMULATING:
        assert outside <= SIMULATION_PACKAGES
        assert not ours & DRAWING


@pytest.mark.parametrize("module", ENVIRONMENTS)
def test_an_environment_needs_no_torch_ros_or_graphs(module: str) -> None:
    outside, ours = imports(module)
    assert outside <= SIMULATION_PACKAGES | {"gymnasium"}
    assert not ours & {"nodes", "training"}
    if module in PURE_IN_ENVIRONMENTS:
        assert outside <= {"numpy"}
        assert ours <= PURE | {"envs"}


@pytest.mark.parametrize("module", EVALUATION)
def test_evaluation_needs_no_torch_or_ros(module: str) -> None:
    outside, ours = imports(module)
    assert not outside & {"torch", "rclpy"}
    assert not ours & {"nodes", "training"}
    assert module in DRAWING_EVALUATION or "matplotlib" not in outside


@pytest.mark.parametrize("module", TRAINING)
def test_training_needs_no_ros(module: str) -> None:
    outside, ours = imports(module)
    assert "rclpy" not in outside and "nodes" not in ours


def test_the_tables_name_real_modules() -> None:
    """A renamed module must not slip out of the tables."""
    assert PURE | SIMULATING | DRAWING | set(ALLOWED) <= set(MODULES)
    assert set(ENVIRONMENTS) >= PURE_IN_ENVIRONMENTS
