# SPDX-License-Identifier: Apache-2.0
"""From torch to a policy file: the same numbers, or no file at all."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from op3_fall.detectors import DetectorConfig
from op3_fall.envs import CurriculumManager, Op3FallControlArms, Op3FallControlEnv, Phase
from op3_fall.envs.draws import draw_scenario
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.evaluation.controllers import Controller, policy_controller
from op3_fall.evaluation.runs import run_falls
from op3_fall.onnx_policy import OnnxPolicy
from op3_fall.policy_spec import PolicySpec
from op3_fall.scenarios import Scenario
from op3_fall.simulation import Simulation
from op3_fall.training import export, quantise, run_folder
from op3_fall.training.check_up import SEED, CheckUp
from op3_fall.training.config import TrainConfig
from op3_fall.training.export import Exported, export_policy, torch_infer
from op3_fall.training.export_command import Export, run_export
from op3_fall.training.quantise import Quantisation
from op3_fall.training.recording import GOLDEN_STEPS


class Actor(torch.nn.Module):
    """A network with its normaliser inside, as a trained actor has it."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, task: Op3FallControlEnv, hidden: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        n, m = task.policy_spec.observation_length, task.policy_spec.action_length
        self.register_buffer("mean", 0.3 * torch.randn(n))
        self.register_buffer("std", torch.rand(n))
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n, hidden), torch.nn.ELU(), torch.nn.Linear(hidden, m)
        )

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.layers((seen - self.mean) / (self.std + 0.01))


class Other(Actor):
    """Exports something else than it computes."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return super().forward(seen) + (0.001 if torch.compiler.is_exporting() else 0.0)


@pytest.fixture(scope="module", autouse=True)
def few_falls() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "FALLS", 2)
        yield


@pytest.fixture(scope="module")
def task() -> Op3FallControlEnv:
    return Op3FallControlArms(curriculum=CurriculumManager([Phase()]), history=2)


@pytest.fixture(scope="module")
def actor(task: Op3FallControlEnv) -> Actor:
    return Actor(task)


@pytest.fixture(scope="module")
def done(
    task: Op3FallControlEnv, actor: Actor, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    path = tmp_path_factory.mktemp("export") / "arms.onnx"
    return export_policy(actor, task, path, {"seed": 7, "evaluation": {"damage_index": 0.1}})


def refused(kind: type[Op3FallError], *args: Any, **named: Any) -> str:
    with pytest.raises(kind) as caught:
        export_policy(*args, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_file_gives_what_torch_gives(
    done: Exported, task: Op3FallControlEnv, actor: Actor
) -> None:
    policy, rng = OnnxPolicy.load(done.path), np.random.default_rng(5)
    seen = rng.uniform(-1, 1, (300, task.policy_spec.observation_length)).astype(np.float32)
    with torch.no_grad():
        expected = actor(torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose(policy.infer(seen), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(policy.infer(seen[0]), expected[0], rtol=0, atol=1e-5)
    assert 0 < done.deviation <= 1e-5
    assert done.bytes == done.path.stat().st_size < 5e6
    assert [path.name for path in done.path.parent.iterdir()] == ["arms.onnx"]


def test_the_contract_says_all_that_the_task_does(done: Exported, task: Op3FallControlEnv) -> None:
    contract = OnnxPolicy.load(done.path).contract
    for f in fields(PolicySpec):
        assert getattr(contract, f.name) == getattr(task.policy_spec, f.name), f.name
    assert contract.precision == "float32"
    assert contract.provenance == {"seed": 7, "evaluation": {"damage_index": 0.1}}
    assert len(contract.golden.falls) == GOLDEN_STEPS
    assert all(bool(fall.falling) for fall in contract.golden.falls)


def test_the_file_tells_nothing_of_the_machine(done: Exported) -> None:
    data = done.path.read_bytes()
    assert b"stack_trace" not in data and b".py" not in data


def test_the_golden_sample_is_a_fall_as_it_was(
    done: Exported, task: Op3FallControlEnv, actor: Actor
) -> None:
    """Its readings and its command are those of the simulated robot at that moment."""
    commands: dict[float, Any] = {}
    readings: dict[float, Any] = {}

    def make(scenario: Scenario, simulation: Simulation) -> Controller:
        control = policy_controller(task.policy_spec, torch_infer(actor))(scenario, simulation)

        def step(reading: Any, fall: Any, impact: Any) -> Any:
            command = control(reading, fall, impact)
            now = float(reading.time_s[0])
            readings[now], commands[now] = reading, command
            return command

        return step

    scenario = draw_scenario(Phase(), [SEED, SEED + 1], [0, 0])
    simulation = Simulation(2, model=task.load_model(), profile="extended")
    run_falls(simulation, scenario, make, DetectorConfig())
    golden = OnnxPolicy.load(done.path).contract.golden
    for reading in golden.readings:
        there = readings[float(reading.time_s)]
        for name, value in vars(reading).items():
            np.testing.assert_array_equal(value, getattr(there, name)[0])
    last = commands[float(golden.readings[-1].time_s)]
    np.testing.assert_allclose(golden.command.position, last.position[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(golden.command.p_gain, last.p_gain[0], rtol=0, atol=1)


def test_a_changed_weight_fails_the_golden_sample(done: Exported, tmp_path: Path) -> None:
    """One bias of the last layer, of an action that is not cut off at its end."""
    policy, model = OnnxPolicy.load(done.path), onnx.load(done.path)
    golden, actions = policy.contract.golden, []
    policy.reset(golden.readings[0])
    infer = policy.infer
    policy.infer = lambda seen: actions.append(infer(seen)) or actions[-1]  # type: ignore
    for reading, fall in zip(golden.readings[1:], golden.falls, strict=True):
        policy.step(reading, fall)
    inside = int(np.abs(actions[-1]).argmin())
    shape = [policy.contract.action_length]
    (bias,) = [weight for weight in model.graph.initializer if list(weight.dims) == shape]
    values = numpy_helper.to_array(bias).copy()
    values[inside] += 0.05
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    changed = tmp_path / "changed.onnx"
    onnx.save(model, changed)
    with pytest.raises(BadInputError, match="another command for its golden sample"):
        OnnxPolicy.load(changed)


def test_other_numbers_than_torchs_are_not_written(
    task: Op3FallControlEnv, tmp_path: Path
) -> None:
    out = tmp_path / "policy.onnx"
    out.write_text("what was there")
    assert refused(Op3FallError, Other(task), task, out, {}) == (
        "the exported network differs from torch's by 0.001 on 10000 observations; allowed is "
        "1e-05 and finite numbers; nothing was written; choose another checkpoint"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]
    assert out.read_text() == "what was there"


def test_a_network_that_has_no_numbers_is_not_written(
    task: Op3FallControlEnv, tmp_path: Path
) -> None:
    broken = Actor(task)
    broken.std[3] = torch.nan
    told = refused(Op3FallError, broken, task, tmp_path / "policy.onnx", {})
    assert told.startswith("the exported network differs from torch's by nan on 10000 ")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written(
    task: Op3FallControlEnv, actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for out in (tmp_path / "policy.pt", tmp_path / "none" / "policy.onnx"):
        assert refused(BadInputError, actor, task, out, {}) == (
            f"policy path is '{out}'; allowed is a name that ends in .onnx in an existing "
            "writable folder; make the folder or choose another"
        )
    assert "holds a value that JSON lacks" in refused(
        BadInputError, actor, task, tmp_path / "policy.onnx", {"reward": float("nan")}
    )
    monkeypatch.setattr(export, "LARGEST_MB", 0.01)
    assert refused(BadInputError, actor, task, tmp_path / "policy.onnx", {}).endswith(
        " MB; allowed is less than 0.01 MB; train a smaller network"
    )
    assert not list(tmp_path.iterdir())


def test_a_task_that_no_robot_can_do_is_not_exported(tmp_path: Path) -> None:
    task = Op3FallControlArms(curriculum=CurriculumManager([Phase()]), control="torque")
    told = refused(BadInputError, Actor(task), task, tmp_path / "policy.onnx", {})
    assert told.startswith("act_joint gives velocities or torques; allowed are goal angles")
    assert not list(tmp_path.iterdir())


def test_without_a_fall_there_is_no_golden_sample(tmp_path: Path) -> None:
    task = Op3FallControlArms(curriculum=CurriculumManager([Phase(push_front=False)]))
    assert refused(Op3FallError, Actor(task), task, tmp_path / "policy.onnx", {}) == (
        "no robot of the last phase of the curriculum falls for 10 control steps; allowed is a "
        "phase with pushes that topple it; train with such a curriculum"
    )
    assert not list(tmp_path.iterdir())


# INT8


def with_damage(patch: pytest.MonkeyPatch, *indices: float) -> None:
    """The evaluations give these, in their order."""
    given = iter(indices)
    patch.setattr(CheckUp, "__init__", lambda self, config: None)
    patch.setattr(CheckUp, "run", lambda self, infer: {"damage_index": next(given)})


def test_int8_is_kept_while_robots_fall_no_harder(
    task: Op3FallControlEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_damage(monkeypatch, 1.0, 1.0199)
    actor = Actor(task, hidden=64)
    whole = export_policy(actor, task, tmp_path / "whole.onnx", {})
    small = export_policy(
        actor, task, tmp_path / "int8.onnx", {}, finish=Quantisation(TrainConfig(), 8)
    )
    policy = OnnxPolicy.load(small.path)
    assert policy.contract.precision == "int8"
    weights = {t.data_type for t in onnx.load(small.path).graph.initializer if len(t.dims) == 2}
    assert weights == {onnx.TensorProto.INT8}
    rng = np.random.default_rng(2)
    seen = rng.uniform(-1, 1, (5, task.policy_spec.observation_length)).astype(np.float32)
    seen[3] *= 0.01
    many, float32 = policy.infer(seen), OnnxPolicy.load(whole.path).infer(seen)
    for k in range(5):
        np.testing.assert_array_equal(policy.infer(seen[k]), many[k])
    assert 1e-5 < np.abs(many - float32).max() < 0.2


def test_int8_that_falls_harder_is_refused_with_the_figures(
    task: Op3FallControlEnv, actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_damage(monkeypatch, 1.5, 1.54)
    finish = Quantisation(TrainConfig(), 8)
    told = refused(Op3FallError, actor, task, tmp_path / "policy.onnx", {}, finish=finish)
    assert told == (
        "mean damage index over 8 falls is 1.54 in INT8 and 1.5 in float32; allowed is at most "
        "2% more; nothing was written; export without --int8"
    )
    assert not list(tmp_path.iterdir())


def test_the_evaluation_of_int8_asks_both_networks_on_as_many_falls(
    task: Op3FallControlEnv, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        CheckUp, "__init__", lambda self, config: asked.append(config.evaluation.falls)
    )

    def run(self: CheckUp, infer: Any) -> dict[str, float]:
        seen = np.random.default_rng(0).uniform(-1, 1, (3, task.policy_spec.observation_length))
        asked.append(infer(seen.astype(np.float32)))
        return {"damage_index": 1.0}

    monkeypatch.setattr(CheckUp, "run", run)
    finish = Quantisation(TrainConfig(), 33)
    finish(export.to_onnx(actor, task.policy_spec), torch_infer(actor))
    falls, float32, int8 = asked
    assert falls == 33
    assert 0 < np.abs(int8 - float32).max() < 0.2
    np.testing.assert_array_equal(quantise.one_by_one(lambda rows: rows)(int8), int8)


# The command


@pytest.fixture
def run(
    task: Op3FallControlEnv, actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run's folder, whose checkpoints are all the same actor."""
    path = tmp_path / "arms"
    path.mkdir()
    (path / "config.yaml").write_text("task: arms\n")
    found = SimpleNamespace(
        path=path, config=TrainConfig(), make_task=lambda: task, actor=lambda checkpoint: actor,
        provenance={"commit": "abc", "seed": 3},
    )  # fmt: skip
    monkeypatch.setattr(run_folder.Run, "load", staticmethod(lambda path: found))
    return path


def test_a_run_becomes_a_policy_with_its_provenance(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.json"
    summary.write_text(json.dumps({"summary": {"damage_index": 0.25}}))
    assert run_export(Export(run, evaluation=summary)) == 0
    assert str(run / "policy.onnx") in capsys.readouterr().out.replace("\n", "")
    told = OnnxPolicy.load(run / "policy.onnx").contract.provenance
    assert told["training"] == {"commit": "abc", "seed": 3}
    assert told["checkpoint"] == "best"
    assert told["evaluation"] == {"damage_index": 0.25}
    assert told["config_sha256"] == (
        "ef4b07ca3a720c1e507e85c25ade8033c583dd03a95e871de44e5995d702dec2"
    )
    assert {"torch", "onnx", "onnxruntime", "numpy"} <= set(told["export"]["versions"])


BAD_SUMMARIES = [
    ("{", "is no JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
     "(char 1)); allowed is a summary.json of `op3-fall evaluate`; evaluate again"),
    ("[]", "has no summary; allowed is a summary.json of `op3-fall evaluate`; evaluate again"),
    ('{"summary": 1}',
     "has no summary; allowed is a summary.json of `op3-fall evaluate`; evaluate again"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_SUMMARIES)
def test_a_file_that_is_no_summary(run: Path, tmp_path: Path, text: str, message: str) -> None:
    summary = tmp_path / "summary.json"
    summary.write_text(text)
    with pytest.raises(BadInputError) as caught:
        run_export(Export(run, evaluation=summary))
    assert str(caught.value) == f"evaluation '{summary}' {message}"
    assert not (run / "policy.onnx").exists()


def test_bad_input_of_the_command(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        Export(run, falls=0)
    assert str(caught.value) == (
        "number of falls is 0; allowed is from 1 to 100000; choose a value of number of falls in "
        "that range"
    )
    with pytest.raises(BadInputError) as caught:
        run_export(Export(run, evaluation=tmp_path / "none.json"))
    assert str(caught.value) == (
        f"evaluation '{tmp_path}/none.json' cannot be read (No such file or directory); allowed "
        "is a summary.json of `op3-fall evaluate`; correct the path"
    )
