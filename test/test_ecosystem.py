# SPDX-License-Identifier: Apache-2.0
"""The environments with gymnasium's wrappers, Stable-Baselines3 and rsl_rl; the examples."""

import importlib.util
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")
torch = pytest.importorskip("torch")
pytest.importorskip("rsl_rl")
sb3 = pytest.importorskip("stable_baselines3")

import imageio_ffmpeg  # noqa: E402
from gymnasium.wrappers import (  # noqa: E402
    NormalizeObservation,
    RecordEpisodeStatistics,
    RecordVideo,
)
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordMany  # noqa: E402
from rsl_rl.runners import OnPolicyRunner  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from op3_fall.envs import IDS, CurriculumManager, Op3FallControlArmsVector  # noqa: E402
from op3_fall.envs.given import DIVERGENCE_COST  # noqa: E402
from op3_fall.envs.phase import Phase  # noqa: E402
from op3_fall.errors import BadInputError  # noqa: E402
from op3_fall.training.rsl_rl_env import RslRlEnv  # noqa: E402

torch.set_num_threads(1)  # networks so small only lose by more
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.filterwarnings(
    # Gymnasium takes the version for that of a release.
    "ignore:.*The environment .* is out of date.*"
)


@pytest.fixture(params=IDS)
def id_(request: pytest.FixtureRequest) -> str:
    return request.param


def example(name: str) -> ModuleType:
    """Its module, whose constants a test may change before it calls `main`."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def under(prefix: str, log: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in log.items() if name.startswith(prefix)}


def test_a_video_has_a_frame_a_step_in_real_time(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    pytest.importorskip("OpenGL")
    env = gymnasium.make("envs/Op3FallControl-v1", render_mode="rgb_array", width=64, height=48)
    env = RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    for _ in range(7):
        env.step(env.action_space.sample())
    env.close()
    (path,) = tmp_path.glob("videos/*.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames in (8, 9), "moviepy 1 may repeat the last one"
    assert seconds == pytest.approx(frames * 0.02)


def test_normalised_observations_have_the_statistics_of_the_raw_ones(id_: str) -> None:
    raw, normalised = gymnasium.make(id_), NormalizeObservation(gymnasium.make(id_))
    seen = [raw.reset(seed=0)[0]]
    latest, _ = normalised.reset(seed=0)
    raw.action_space.seed(0)
    for _ in range(60):
        action = raw.action_space.sample()
        seen.append(raw.step(action)[0])
        latest = normalised.step(action)[0]
    statistics = normalised.obs_rms
    np.testing.assert_allclose(statistics.mean, np.mean(seen, axis=0), atol=1e-4)
    np.testing.assert_allclose(statistics.var, np.var(seen, axis=0), atol=1e-3)
    expected = (seen[-1] - statistics.mean) / np.sqrt(statistics.var + 1e-8)
    np.testing.assert_allclose(latest, expected, atol=1e-4)
    assert latest.shape == normalised.observation_space.shape


def test_statistics_of_an_episode_are_its_sums(id_: str) -> None:
    env = RecordEpisodeStatistics(gymnasium.make(id_, max_episode_steps=70))
    env.reset(seed=0)
    env.action_space.seed(0)
    total, truncated = 0.0, False
    while not truncated:
        _, reward, _, truncated, info = env.step(env.action_space.sample())
        total += float(reward)
    assert info["episode"]["l"] == 70
    assert info["episode"]["r"] == pytest.approx(total) and total < 0


def test_statistics_of_many_are_their_sums(id_: str) -> None:
    """Robots whose episodes end at different times, by rest and by length."""
    strong = CurriculumManager([Phase(push_strong=True)])
    many: Any = RecordMany(
        gymnasium.make_vec(id_, num_envs=4, max_episode_steps=110, curriculum=strong)
    )
    many.reset(seed=0)
    many.unwrapped.episode_steps = np.array([0, 30, 60, 0])
    total, length, ended, rested = np.zeros(4), np.zeros(4, dtype=int), 0, 0
    for _ in range(130):
        _, reward, terminated, truncated, info = many.step(np.zeros(many.action_space.shape))
        total, length, done = total + reward, length + 1, terminated | truncated
        if done.any():
            np.testing.assert_array_equal(info["_episode"], done)
            np.testing.assert_allclose(info["episode"]["r"][done], total[done])
            np.testing.assert_array_equal(info["episode"]["l"][done], length[done])
            ended, rested = ended + done.sum(), rested + terminated.sum()
            total[done], length[done] = 0.0, 0
    assert ended >= 4 and 0 < rested < ended


def test_stable_baselines3_trains_as_the_example_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = example("train_sb3")
    path = tmp_path / "models" / "arms.zip"
    for name, value in {"STEPS": 2000, "STEPS_PER_UPDATE": 128, "FALLS": 4, "MODEL": path}.items():
        monkeypatch.setattr(training, name, value)
    training.main()
    model = sb3.PPO.load(path, device="cpu")
    assert model.num_timesteps == 2048 and model._n_updates == 4 * model.n_epochs
    env = gymnasium.make(training.ID)
    untrained = sb3.PPO("MlpPolicy", env, seed=0, device="cpu").policy.state_dict()
    for name, value in model.policy.state_dict().items():
        assert torch.isfinite(value).all()
        assert not torch.equal(value, untrained[name]), name
    action, _ = model.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(action)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["mean", "before", "after", "training"]


def test_the_other_examples_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(EXAMPLES / "falls.py"), run_name="__main__")
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(printed["peak_floor_force_n"]) > 50
    custom = example("custom_task")
    monkeypatch.setattr(custom, "ROBOTS", 8)
    custom.main()
    printed = dict(line.split(" mean reward ") for line in capsys.readouterr().out.splitlines())
    assert float(printed["stiff "]) < float(printed["soft  "]) < 0


def config() -> dict[str, Any]:
    model = {"class_name": "MLPModel", "hidden_dims": [32, 32], "obs_normalization": True}
    return {
        "num_steps_per_env": 24,
        "save_interval": 100,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "algorithm": {"class_name": "PPO"},
        "actor": {**model, "distribution_cfg": {"class_name": "GaussianDistribution"}},
        "critic": dict(model),
    }


def test_rsl_rl_trains_and_logs(id_: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    many = gymnasium.make_vec(id_, num_envs=32, max_episode_steps=70)
    runner = OnPolicyRunner(RslRlEnv(many, seed=0), config(), log_dir=str(tmp_path))
    before = {name: value.clone() for name, value in runner.alg.actor.state_dict().items()}
    runner.learn(3, init_at_random_ep_len=True)  # 3 x 24 x 32 = 2,304 steps
    for name, value in runner.alg.actor.state_dict().items():
        assert torch.isfinite(value).all()
        assert not torch.equal(value, before[name]), name
    logged = EventAccumulator(str(tmp_path)).Reload()
    tags = set(logged.Tags()["scalars"])
    terms = many.step(np.zeros(many.action_space.shape))[4]["reward_terms"]
    expected = {f"Reward/{name}" for name in terms if not name.startswith("_")}
    assert expected | {"Curriculum/phase", "Metrics/head_contact_share"} <= tags
    for tag in tags:
        assert np.isfinite([event.value for event in logged.Scalars(tag)]).all(), tag


def test_only_who_ran_out_of_time_is_a_time_out() -> None:
    env = RslRlEnv(Op3FallControlArmsVector(4), seed=0)
    assert env.episode_length_buf.tolist() == [0, 0, 0, 0]
    assert env.episode_length_buf.dtype == torch.long
    env.episode_length_buf = torch.tensor([249, 7, 249, 7])
    env.env.batch.simulation.physics.qvel[2:, 0] = np.inf  # which ends their episodes
    _, rewards, dones, extras = env.step(torch.zeros(4, env.num_actions))
    assert dones.tolist() == [True, False, True, True]
    assert extras["time_outs"].tolist() == [True, False, False, False]
    assert env.episode_length_buf.tolist() == [0, 8, 0, 0]
    assert rewards.tolist() == [0, 0, -DIVERGENCE_COST, -DIVERGENCE_COST]
    assert rewards.dtype == torch.float32
    assert extras["log"]["Reward/divergence"].tolist() == [0, -DIVERGENCE_COST, -DIVERGENCE_COST]
    assert not under("Metrics/", extras["log"]), "nobody has fallen"
    assert "log" not in env.step(torch.zeros(4, env.num_actions))[3]


def test_the_log_has_the_returns_of_the_episodes_that_ended() -> None:
    curriculum = CurriculumManager([Phase(), Phase(push_normal=True)])
    curriculum.to_next_phase()
    env = RslRlEnv(Op3FallControlArmsVector(3, max_episode_steps=70, curriculum=curriculum), 0)
    env.episode_length_buf = torch.tensor([0, 30, 0])
    generator = torch.Generator().manual_seed(0)
    total, ended = torch.zeros(3), []
    for _ in range(145):
        actions = torch.rand((3, env.num_actions), generator=generator) - 0.5
        _, rewards, dones, extras = env.step(actions)
        total += rewards
        if dones.any():
            log = extras["log"]
            logged = torch.stack(list(under("Reward/", log).values())).sum(dim=0)
            torch.testing.assert_close(logged.float(), total[dones])
            assert log["Curriculum/phase"] == 1
            ended += dones.nonzero().ravel().tolist()
            total[dones] = 0.0
    assert ended == [1, 0, 2, 1, 0, 2]
    assert log["Metrics/head_contact_share"].shape == (2,)


def test_an_observation_stays_as_the_policy_saw_it() -> None:
    """rsl_rl stores it after the step that it led to."""
    env = RslRlEnv(Op3FallControlArmsVector(2), seed=0)
    for _ in range(3):
        seen = env.get_observations()
        kept = seen.clone()
        assert seen["policy"].shape == (2, env.env.task.policy_spec.observation_length)
        latest = env.step(torch.ones(2, env.num_actions))[0]
        assert latest is env.get_observations() and (seen == kept).all()
        assert not (latest == kept).all()


def test_actions_beyond_their_range_end_there_and_no_number_is_refused() -> None:
    far, near = (RslRlEnv(Op3FallControlArmsVector(1), seed=0) for _ in range(2))
    for _ in range(45):  # until after the alarm, when actions count
        a = far.step(torch.full((1, far.num_actions), 7.0, requires_grad=True))
        b = near.step(torch.ones(1, near.num_actions))
    assert (a[0] == b[0]).all() and torch.equal(a[1], b[1])
    with pytest.raises(BadInputError, match=r"action at \(0, 0\) is nan; allowed are finite"):
        far.step(torch.full((1, far.num_actions), torch.nan))


def test_rsl_rl_takes_vectors() -> None:
    with pytest.raises(BadInputError) as error:
        RslRlEnv(Op3FallControlArmsVector(1, observation="dict"))
    assert str(error.value) == (
        "observation is 'dict'; allowed is 'vector', which deploys; make the environment with it"
    )
