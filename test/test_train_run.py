# SPDX-License-Identifier: Apache-2.0
"""A training run from the command to its folder: resume, interruption, figures, bad files."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("torch")
pytest.importorskip("rsl_rl")

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from op3_fall.damage import Tolerances, damage_index
from op3_fall.errors import BadInputError, Op3FallError
from op3_fall.training import check_up, checkpoints, learner
from op3_fall.training.bench_train import bench_train
from op3_fall.training.check_up import SEED, CheckUp
from op3_fall.training.config import EvaluationConfig, NetworkConfig, PpoConfig, TrainConfig
from op3_fall.training.config_file import save_config
from op3_fall.training.early_stop import EarlyStop
from op3_fall.training.learner import Learner
from op3_fall.training.run_folder import Run
from op3_fall.training.train_command import Train, parse_train, run_train
from op3_fall.training.trainer import find_device

TINY = TrainConfig(
    name="tiny", iterations=5, num_envs=4, steps_per_env=40, episode_s=1.5, save_interval=2,
    device="cpu", network=NetworkConfig(hidden=(16,)), ppo=PpoConfig(minibatches=2, epochs=2),
    evaluation=EvaluationConfig(falls=2),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Short warm-ups and evaluations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "_WARM_UP_STEPS", 40)
        patch.setattr(check_up, "MAX_EPISODE_STEPS", 70)
        yield


def train(folder: Path, config: TrainConfig = TINY) -> Run:
    """A new run."""
    config = replace(config, runs=folder)
    assert run_train(Train(config, None, ("op3-fall", "train", "arms"))) == 0
    return Run.load(config.folder)


def resume(run: Run, *options: str) -> int:
    return run_train(parse_train(["--resume", str(run.path), *options]))


def networks(run: Run, name: str = "last") -> dict[str, Any]:
    """All that learns: weights, normalisers and the optimiser, flat."""
    saved = checkpoints.load(run.checkpoints / f"{name}.pt")["networks"]
    moments = saved.pop("optimizer_state_dict")
    flat = {f"{net}.{key}": value for net, state in saved.items() for key, value in state.items()}
    flat["learning_rate"] = torch.tensor(moments["param_groups"][0]["lr"])
    for i, state in moments["state"].items():
        flat |= {f"adam.{i}.{key}": value for key, value in state.items()}
    return flat


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys() and len(a) > 20
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Five iterations in one go."""
    return train(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def at_once(run: Run) -> dict[str, Any]:
    return networks(run)


@pytest.mark.parametrize("first", [2, 3])
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    tmp_path: Path, at_once: dict[str, Any], first: int
) -> None:
    """Stopped at a save point, and between two."""
    parts = train(tmp_path, replace(TINY, iterations=first))
    assert not torch.equal(networks(parts)["learning_rate"], torch.tensor(0.0))
    torch.manual_seed(99)  # whatever happened in between
    assert resume(parts, "--iterations", "5") == 0
    assert_same(networks(parts), at_once)
    events = EventAccumulator(str(parts.path))
    events.Reload()
    assert [event.step for event in events.Scalars("Speed/falls_per_s")] == [1, 2, 3, 4, 5]
    rows = (parts.path / "progress.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["2", "4", "5"]


def test_ctrl_c_keeps_what_is_needed_to_go_on(
    tmp_path: Path, at_once: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    once, count = Learner.iterate, []

    def iterate(self: Learner) -> Any:
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt
        return once(self)

    monkeypatch.setattr(Learner, "iterate", iterate)
    config = replace(TINY, runs=tmp_path)
    assert run_train(Train(config, None, ("op3-fall",))) == 130
    run = Run.load(config.folder)
    told = capsys.readouterr()
    assert told.err == f"interrupted; go on with: op3-fall train --resume {run.path}\n"
    assert f"{run.path}: 3 iterations (interrupted), best damage index" in told.out
    assert checkpoints.load(run.checkpoints / "last.pt")["iteration"] == 3
    assert resume(run) == 0
    assert_same(networks(run), at_once)


def test_other_seeds_give_other_networks(tmp_path: Path, at_once: dict[str, Any]) -> None:
    other = networks(train(tmp_path, replace(TINY, seed=1, iterations=1)))
    weights = next(name for name in other if name.endswith("mlp.0.weight"))
    assert not torch.equal(other[weights], at_once[weights])


def test_the_folder_has_what_a_reader_needs(run: Run) -> None:
    assert {path.name for path in run.checkpoints.iterdir()} == {
        "000000.pt", "000002.pt", "000004.pt", "best.pt", "last.pt"
    }  # fmt: skip
    told = run.provenance
    assert told["seed"] == 0 and told["command"] == "op3-fall train arms"
    assert set(told["versions"]) >= {"op3_fall", "mujoco", "mjbatch", "torch", "rsl-rl-lib"}
    copies = run.config.curriculum, run.config.imitation.motions
    given = replace(run.config, curriculum="", imitation=TINY.imitation)
    assert given == replace(TINY, runs=run.config.runs)
    assert {Path(path).parent for path in copies} == {run.path}, "whatever becomes of the files"
    rows = (run.path / "progress.csv").read_text().splitlines()
    assert rows[0].startswith("iteration,phase,damage_index,")
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "4", "5"]
    assert not [*run.path.rglob("*.unfinished*")]


def test_tensorboard_shows_every_figure_once_an_iteration(run: Run) -> None:
    events = EventAccumulator(str(run.path))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    for name in (
        "Reward/pose", "Reward/part_impact", "Episode/return", "Episode/success",
        "Metrics/head_contact_share", "Metrics/peak_torque_load_n_m", "Metrics/saturated_share",
        "Metrics/peak_head_acceleration_g", "Metrics/peak_floor_force_n",
        "Metrics/worst_gear_load_n_m", "Curriculum/phase", "Loss/value", "Loss/surrogate",
        "Policy/learning_rate", "Speed/env_steps_per_s", "Speed/falls_per_s",
        "Speed/physics_share", "Evaluation/damage_index", "Evaluation/head_contact_share",
    ):  # fmt: skip
        assert name in tags, name
    assert [event.step for event in events.Scalars("Speed/falls_per_s")] == [1, 2, 3, 4, 5]
    assert all(0 < event.value < 1 for event in events.Scalars("Speed/physics_share"))


def test_the_actor_is_the_mean_of_the_policy_with_its_normaliser(run: Run) -> None:
    spec = run.make_task().policy_spec
    seen = torch.from_numpy(
        np.random.default_rng(0).normal(size=(7, spec.observation_length)).astype(np.float32)
    )
    actor = run.actor("last")
    assert not actor.training and not any(p.requires_grad for p in actor.parameters())
    trained = Learner(run.config, "cpu")
    path = run.checkpoints / "last.pt"
    checkpoints.restore_learner(trained, checkpoints.load(path), path)
    with torch.no_grad():
        mean = trained.ppo.actor({"policy": seen})  # type: ignore[arg-type]
    assert torch.equal(actor(seen), mean) and mean.shape == (7, spec.action_length)
    assert not torch.equal(run.actor("2")(seen), mean)


def test_best_is_the_evaluation_with_the_lowest_damage(run: Run) -> None:
    content = checkpoints.load(run.checkpoints / "last.pt")["monitor"]
    rows = content["evaluations"]
    best = min(rows, key=lambda row: row["damage_index"])
    assert content["best"] == best["damage_index"]
    assert content["best_iteration"] == best["iteration"]
    assert checkpoints.load(run.checkpoints / "best.pt")["iteration"] == best["iteration"]


def test_an_evaluation_is_the_mean_over_whole_falls_of_the_last_phase() -> None:
    """Against single environments with the same seeds, one after the other."""
    checked = CheckUp(TINY)
    config = TINY.make_task().curriculum
    actions = checked._task.policy_spec.action_length
    first = checked.run(lambda seen: np.zeros((len(seen), actions), dtype=np.float32))
    second = checked.run(lambda seen: np.zeros((len(seen), actions), dtype=np.float32))
    assert first == second
    assert checked._task.curriculum.phase == config.phases[len(config.phases) - 1]
    returns, damage = [], []
    for i in range(2):
        env, over, total, steps = checked._task, False, 0.0, 0
        env.reset(seed=SEED + i)
        while not over and steps < 70:
            _, reward, over, _, _ = env.step(np.zeros(actions))
            total, steps = total + reward, steps + 1
        returns.append(total)
        damage.append(damage_index(env._started().truth, Tolerances())[0])
    assert first["return"] == pytest.approx(np.mean(returns))
    assert first["damage_index"] == pytest.approx(np.mean(damage))


@pytest.mark.parametrize(
    ("patience", "damages", "stops_at"),
    [
        (2, [3.0, 2.0, 2.0, 2.5], 4),
        (2, [3.0, 2.0, 2.5, 1.0, 1.5, 1.0], 6),
        (0, [1.0, 2.0, 3.0, 4.0], None),
        (1, [3.0, 2.0, 1.0], None),
    ],
)
def test_training_stops_when_there_is_no_hope(
    patience: int, damages: list[float], stops_at: int | None
) -> None:
    stop = EarlyStop(patience)
    for i, damage in enumerate(damages, start=1):
        copy = EarlyStop(patience)
        copy.restore(json.loads(json.dumps(stop.state())) if i > 1 else stop.state())
        assert copy == stop
        assert stop.add(damage, 10 * i) == (damage < min([np.inf, *damages[: i - 1]]))
        assert bool(stop.reason) == (i == stops_at)
    if stops_at == 6:
        assert stop.reason == "no lower damage index since iteration 40"


def test_the_end_is_told_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        CheckUp, "run", lambda self, infer: {"damage_index": 2.0, "return": -1.0, "success": 0.0}
    )
    patient = replace(TINY.evaluation, patience=1)
    stopped = train(tmp_path, replace(TINY, iterations=50, save_interval=1, evaluation=patient))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == (
        f"{stopped.path}: 2 iterations (no lower damage index since iteration 1), best damage "
        f"index 2.000 after iteration 1; next: op3-fall export {stopped.path}"
    )
    hasty = replace(TINY, name="hasty", save_interval=1, time_limit_minutes=1e-6)
    hasty = train(tmp_path, replace(hasty, evaluation=replace(patient, every=0)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == (
        f"{hasty.path}: 1 iterations (the time limit of 1e-06 min is reached), no evaluation; "
        f"next: op3-fall export {hasty.path}"
    )
    assert hasty.actor("best"), "the last one, where nothing tells which is best"


def test_a_diverged_training_keeps_the_last_save_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, count = Learner._learn, []

    def learn(self: Learner) -> dict[str, float]:
        count.append(1)
        if len(count) == 3:
            self._acting[:] = True
            self.ppo.update = lambda: {"value": float("inf")}  # type: ignore[method-assign]
        return once(self)

    monkeypatch.setattr(Learner, "_learn", learn)
    with pytest.raises(Op3FallError) as error:
        train(tmp_path)
    kept = tmp_path / "tiny" / "checkpoints" / "000002.pt"
    assert str(error.value) == (
        f"training diverged: losses value inf in iteration 3; kept is {kept}; train anew with a "
        "lower --ppo.learning-rate"
    )
    assert not isinstance(error.value, BadInputError)
    assert checkpoints.load(kept)["iteration"] == 2


def refused(call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(BadInputError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_runs_that_are_refused_leave_nothing(tmp_path: Path, run: Run) -> None:
    assert refused(run_train, Train(replace(TINY, runs=run.path.parent), None, ())) == (
        f"run '{run.path}' exists; allowed is a new one; choose another --name, or go on with "
        f"op3-fall train --resume {run.path}"
    )
    for wrong, told in (
        ({"start_phase": 9}, "phase 9 is unknown; allowed are 0, 1, 2, 3, 4; define it first, or "
         "choose one of them"),
        ({"curriculum": str(tmp_path / "no.yaml")}, f"curriculum file '{tmp_path / 'no.yaml'}' "),
    ):  # fmt: skip
        config = replace(TINY, runs=tmp_path / "new", **wrong)
        assert refused(run_train, Train(config, None, ())).startswith(told)
    if not torch.cuda.is_available():
        assert refused(find_device, "cuda") == (
            "device is 'cuda', but torch finds none here; allowed are auto and cpu; give --device "
            "auto"
        )
    assert not (tmp_path / "new").exists()


def test_only_its_length_may_change_when_a_run_goes_on(run: Run) -> None:
    asked = parse_train([
        "--resume", str(run.path), "--iterations", "9", "--time-limit-minutes", "3",
        "--evaluation.patience", "2",
    ])  # fmt: skip
    assert (asked.config.iterations, asked.config.time_limit_minutes) == (9, 3)
    assert refused(resume, run, "--ppo.gamma", "0.5") == (
        "ppo differs from that of the run; allowed to change are iterations, time_limit_minutes, "
        "evaluation; train anew with another --name"
    )


class Bomb:
    """What a pickle does when it is read without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


def _torch(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda good: None, "there is no such file"),
        (lambda good: b"", "it is no file of torch.save"),
        (lambda good: pickle.dumps(Bomb()), "it is no file of torch.save"),
        (lambda good: _torch(Bomb()), "Weights only load failed"),
        (lambda good: _torch({"layout": 1, "bomb": Bomb()}), "Weights only load failed"),
        (lambda good: good[: len(good) // 2], "it is no file of torch.save"),
        (lambda good: _zip("model.onnx"), ""),
        (lambda good: _torch([1]), "it holds something else)"),
        (lambda good: _torch({"layout": 2}), "it holds something else)"),
        (lambda good: _torch({"layout": 1, "iteration": 3, "networks": {}}),
         "it lacks random, random_cuda, curriculum, monitor)"),
    ],
)  # fmt: skip
def test_checkpoints_that_are_refused(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch,
    content: Callable[[bytes], bytes | None], reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path, given = tmp_path / "best.pt", content((run.checkpoints / "best.pt").read_bytes())
    if given is not None:
        path.write_bytes(given)
    told = refused(checkpoints.load, path)
    assert told.startswith(f"checkpoint '{path}' cannot be used ({reason}")
    assert told.endswith(
        "); allowed is one that op3-fall train wrote; choose one in runs/NAME/checkpoints"
    )
    assert not Path("exploded").exists(), "nothing is executed"


def test_a_checkpoint_of_another_network_is_refused(run: Run, tmp_path: Path) -> None:
    wider = Run(run.path, replace(run.config, network=NetworkConfig(hidden=(32,))), {})
    told = refused(wider.actor, "last")
    assert told.startswith(
        f"checkpoint '{run.checkpoints / 'last.pt'}' does not fit the configuration beside it ("
    )
    other, path = Learner(wider.config, "cpu"), run.checkpoints / "last.pt"
    again = refused(checkpoints.restore_learner, other, checkpoints.load(path), path)
    assert again[:60] == told[:60]


def test_a_save_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"layout": 1})
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpoints.save(path, {"layout": lambda: 2})
    assert path.read_bytes() == before


def test_a_folder_without_its_provenance_is_refused(tmp_path: Path) -> None:
    save_config(tmp_path / "config.yaml", TINY)
    told = refused(Run.load, tmp_path)
    assert told.startswith(f"provenance of run '{tmp_path}' cannot be read (")


def test_the_benchmark_shares_out_all_of_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = bench_train(tmp_path, seconds=0.1, config=TINY)
    names = ("physics_share", "other_collection_share", "learning_share")
    assert sum(summary[name] for name in names) == pytest.approx(1.0)
    assert all(summary[name] > 0 for name in names)
    assert summary["iterations"] >= 2 and summary["env_steps_per_s"] > 0
    assert summary["goals"]["physics_reached"] == (summary["physics_share"] >= 0.6)
    assert json.loads((tmp_path / "summary.json").read_text())["robots"] == 4
    assert "Training arms, 4 robots" in capsys.readouterr().out
