# SPDX-License-Identifier: Apache-2.0
"""From training to a picture by the command line alone, and what it says where packages lack."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from op3_fall import packages
from op3_fall.cli import main
from op3_fall.onnx_policy import OnnxPolicy


def test_train_export_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--num-envs", "16", "--steps-per-env", "16", "--evaluation.falls", "8"]
    assert main(["train", "arms", "--name", "try", "--iterations", "2", *few]) == 0
    assert "next: op3-fall export runs/try" in capsys.readouterr().out
    assert main(["export", "runs/try", "--out", "try.onnx"]) == 0
    contract = OnnxPolicy.load(Path("try.onnx")).contract
    assert contract.provenance["training"]["seed"] == 0
    capsys.readouterr()
    compared = ["--controllers", "freeze", "policy", "--scenarios", "all", "--falls", "4"]
    assert main(["evaluate", "--policy", "try.onnx", "--out", "compared", *compared]) == 0
    assert "damage index" in capsys.readouterr().out
    written = {path.name for path in Path("compared").iterdir()}
    assert written >= {"summary.json", "table.md", "envelope.png", "damage.png"}
    summary = json.loads(Path("compared/summary.json").read_text())
    assert main(["export", "runs/try", "--evaluation", "compared/summary.json"]) == 0
    carried = OnnxPolicy.load(Path("runs/try/policy.onnx")).contract.provenance["evaluation"]
    assert carried == summary["summary"]
    assert carried["damage_index"] > 0


@pytest.mark.parametrize(
    ("command", "package"),
    [(["train", "arms"], "rsl_rl"), (["export", "runs/x"], "onnxscript"),
     (["evaluate"], "onnxruntime"), (["play", "x.onnx"], "gymnasium"),
     (["bench", "train"], "torch")],
)  # fmt: skip
def test_a_missing_package_is_named_with_how_to_get_it(
    command: list[str], package: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found = packages.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda n: None if n == package else found(n))
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"op3-fall: {package} is not installed; this command needs ")
    assert error.endswith("install with: pip install -e '.[train]'\n")
    assert error.count("\n") == 1
