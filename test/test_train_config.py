# SPDX-License-Identifier: Apache-2.0
"""Configurations of training: files, command line, and what they refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("rsl_rl")

from op3_fall.envs import IDS, RewardConfig, RewardWeights
from op3_fall.errors import BadInputError
from op3_fall.settings import descriptions
from op3_fall.training.config import TASKS, NetworkConfig, PpoConfig, TrainConfig
from op3_fall.training.config_file import load_config, save_config, shipped
from op3_fall.training.train_command import parse_train


def refused(call, *args: object) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError) as error:
        call(*args)
    return str(error.value)


def test_every_registered_task_can_be_trained() -> None:
    assert [envs.env_class for envs in TASKS.values()] == list(IDS.values())


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_configurations_fit_their_tasks(task: str) -> None:
    config = shipped(task)
    assert config.task == task
    assert config.folder == Path("runs") / f"{task}_0"
    assert isinstance(config.make_task(), TASKS[task].env_class)


def test_a_saved_configuration_is_the_same_again(tmp_path: Path) -> None:
    config = TrainConfig(
        task="roll", name="x-1.a", runs=tmp_path / "runs", seed=7, residual=True, history=3,
        profile="stock", reward=RewardConfig(
            pose={"r_el": 0.3, "l_el": -0.3}, joints=("l_el", "r_el"),
            weights=RewardWeights(head_impact=3.5, pose=0.0),
        ),
        network=NetworkConfig(hidden=(32,), activation="relu"), ppo=PpoConfig(symmetry=False),
    )  # fmt: skip
    save_config(tmp_path / "config.yaml", config)
    assert load_config(tmp_path / "config.yaml") == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"], "nothing half-written"


def test_what_a_file_leaves_out_is_the_tasks_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: roll\nppo: {gamma: 1}\n")
    config = load_config(path)
    default = TrainConfig(task="roll", reward=TASKS["roll"].env_class.default_reward)
    assert config == replace(default, ppo=PpoConfig(gamma=1.0))
    assert isinstance(config.ppo.gamma, float), "as the command line would have it"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- 1\n", "holds no mapping; allowed are 'name: value' lines; see config/train/arms.yaml"),
        ("ppo: {gama: 1}", ": entry 'ppo.gama' is unknown; allowed are " + ", ".join(
            descriptions(PpoConfig)) + "; write gamma"),
        ("ppo: 3", ": ppo is 3; allowed is a mapping of its entries; give that"),
        ("ppo: {gamma: 2}", ": gamma is 2; allowed is from 0 to 1; choose a value of gamma in "
         "that range"),
        ("num_envs: 2.5", ": num_envs is 2.5; allowed is a whole number; give that"),
        ("num_envs: true", ": num_envs is True; allowed is a whole number; give that"),
        ("residual: 1", ": residual is 1; allowed is true or false; give that"),
        ("runs: 3", ": runs is 3; allowed is a path; give that"),
        ("episode_s: long", ": episode_s is 'long'; allowed is a number; give that"),
        ("episode_s: .nan", ": episode s is nan s; allowed is from 0.5 to 60 s; choose a value of "
         "episode s in that range"),
        ("network: {hidden: 64}", ": network.hidden is 64; allowed is a list; give that"),
        ("network: {hidden: []}", ": width of a hidden layer is 0; allowed is a whole number from "
         "1 to 4096; give one"),
        ("network: {activation: gelu}", ": activation 'gelu' is unknown; allowed are elu, relu, "
         "tanh; choose one of them"),
        ("task: legs", ": task 'legs' is unknown; allowed are arms, arms_legs, roll; choose one "
         "of them"),
        ("task: [arms]", ": task '['arms']' is unknown; allowed are arms, arms_legs, roll; choose "
         "one of them"),
        ("reward: {pose: {r_el: a}}", ": reward.pose.r_el is 'a'; allowed is a number; give that"),
        ("reward: {pose: 3}", ": reward.pose is 3; allowed is a text; give that"),
        ("reward: {pose: sit}", ": protective pose 'sit' is unknown; allowed are stand, ini_pose, "
         "walkready, protect_front, brace_front; choose one of them"),
        ("name: a/b", ": name is 'a/b'; allowed are letters, digits, _, - and .; give --name arms "
         "for example"),
        ("{num_envs: 1, steps_per_env: 2}", ": an iteration has 2 steps for 4 minibatches; "
         "allowed is one step or more in each; raise --num-envs"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    told = refused(load_config, path)
    assert told == f"training file '{path}'{'' if reason[0] == ':' else ' '}{reason}"


def test_the_command_line_overrides_every_field() -> None:
    asked = parse_train([
        "arms_legs", "--seed", "3", "--ppo.learning-rate", "1e-4", "--residual", "--profile",
        "stock", "--network.hidden", "64", "32", "--reward.pose", "protect_front",
        "--reward.weights.pose", "0.5", "--ppo.no-symmetry",
    ])  # fmt: skip
    base = shipped("arms_legs")
    weights = replace(base.reward.weights, pose=0.5)
    assert asked.config == replace(
        base, seed=3, residual=True, profile="stock",
        ppo=replace(base.ppo, learning_rate=1e-4, symmetry=False),
        network=replace(base.network, hidden=(64, 32)),
        reward=replace(base.reward, pose="protect_front", weights=weights),
    )  # fmt: skip
    assert asked.resume is None and asked.command[:3] == ("op3-fall", "train", "arms_legs")


@pytest.mark.parametrize("joined", [False, True])
def test_a_file_of_ones_own_gives_the_defaults(tmp_path: Path, joined: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{task: roll, seed: 5, iterations: 9}")
    given = [f"--config={path}"] if joined else ["--config", str(path)]
    config = parse_train([*given, "--iterations", "11"]).config
    assert (config.task, config.seed, config.iterations) == ("roll", 5, 11)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "train is given 'nothing'; allowed are arms, arms_legs, roll, --config FILE and "
         "--resume RUN; begin with one of them"),
        (["legs"], "train is given 'legs'; allowed are arms, arms_legs, roll, --config FILE and "
         "--resume RUN; begin with one of them"),
        (["--config"], "--config names nothing; allowed is a file such as config/train/arms.yaml; "
         "give one after it"),
        (["--resume", "nowhere"], "'nowhere' is no training run; allowed is a folder that "
         "op3-fall train made; choose one in runs/"),
        (["arms", "--ppo.gamma", "2"], "gamma is 2; allowed is from 0 to 1; choose a value of "
         "gamma in that range"),
    ],
)  # fmt: skip
def test_commands_that_are_refused(argv: list[str], told: str) -> None:
    assert refused(parse_train, argv) == told


def test_help_names_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_train(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for name in (*descriptions(TrainConfig), *descriptions(PpoConfig)):
        assert name.replace("_", "-") in text, name
