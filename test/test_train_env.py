# SPDX-License-Identifier: Apache-2.0
"""What networks are trained on: privileged truth, mirror images, beginnings, advantages."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("torch")
pytest.importorskip("rsl_rl")

import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from op3_fall import robot
from op3_fall.envs import CurriculumManager, Op3FallControlArmsLegsVector, Phase, Scenario
from op3_fall.errors import Op3FallError
from op3_fall.training import privileged
from op3_fall.training.acting_storage import ActingStorage
from op3_fall.training.config import TASKS, PpoConfig, TrainConfig
from op3_fall.training.learner import Learner
from op3_fall.training.network import make_actor, make_mirror
from op3_fall.training.train_env import TrainEnv, robot_seeds

SMALL = TrainConfig(num_envs=4, steps_per_env=12, episode_s=1.2, ppo=PpoConfig(minibatches=2))


@pytest.fixture(scope="module")
def env() -> TrainEnv:
    return TrainEnv(SMALL.make_envs(8), run_seed=3)


def roll(env: TrainEnv, steps: int) -> list[TensorDict]:
    """Observations after each step under a fixed sequence of actions."""
    rng, seen = np.random.default_rng(0), [env.get_observations().clone()]
    for _ in range(steps):
        actions = rng.uniform(-0.5, 0.5, (env.num_envs, env.num_actions)).astype(np.float32)
        seen.append(env.step(torch.from_numpy(actions))[0].clone())
    return seen


def same(a: list[TensorDict], b: list[TensorDict]) -> bool:
    return all(
        torch.equal(x[name], y[name]) for x, y in zip(a, b, strict=True)
        for name in ("policy", "privileged")
    )  # fmt: skip


@given(st.integers(0, 2**16 - 1), st.integers(0, 9_999), st.integers(1, 400))
def test_robots_of_a_run_have_seeds_of_their_own(run: int, beginning: int, n: int) -> None:
    now, later = robot_seeds(run, beginning, n), robot_seeds(run, beginning + 1, n)
    assert len({*now, *later, *robot_seeds(run + 1, beginning, n)}) == 3 * n
    assert now.min() >= 0 and robot_seeds(2**16 - 1, beginning, n).max() < 2**40


def test_what_follows_a_beginning_is_a_matter_of_its_number_alone(env: TrainEnv) -> None:
    env.begin(5)
    fifth = roll(env, 70)
    env.begin(6)
    sixth = roll(env, 70)
    other = TrainEnv(SMALL.make_envs(8), run_seed=3)
    other.begin(6)
    assert same(roll(other, 70), sixth)
    assert not same(fifth, sixth)


def test_robots_get_out_of_step_at_once(env: TrainEnv) -> None:
    env.begin(1)
    ends = []
    for step in range(60):
        done = env.step(torch.zeros(8, env.num_actions))[2]
        ends += [(step, int(i)) for i in done.nonzero()]
    # 8 robots over the 60 control steps of an episode, one after the other.
    assert ends[:8] == [(60 * i // 8, i) for i in range(8)]


def test_broken_off_beginnings_count_nowhere() -> None:
    curriculum = CurriculumManager([Phase()], advance_at=0.5, window=100)
    env = TrainEnv(Op3FallControlArmsLegsVector(8, max_episode_steps=75, curriculum=curriculum), 0)
    counted = [0]
    for _ in range(150):
        extras = env.step(torch.zeros(8, env.num_actions))[3]
        if "log" in extras:
            log = extras["log"]
            lengths = {len(log[f"Reward/{name}"]) for name in ("pose", "gear_load")}
            assert lengths == {len(log["Episode/success"])}
            counted.append(len(log["Episode/success"]))
    assert max(counted) == 1, "one after the other"
    # Each robot has one beginning that is broken off, then whole falls of 75 steps.
    assert 8 <= sum(counted) <= 16
    assert len(curriculum.state()["window"]) == sum(counted)


def test_acting_is_whose_next_action_takes_effect(env: TrainEnv) -> None:
    env.begin(0)
    assert not env.acting.any()
    column = _column("acting")
    both = []
    for _ in range(55):
        seen = env.step(torch.zeros(8, env.num_actions))[0]
        assert torch.equal(seen["privileged"][:, column].squeeze(-1) > 0, env.acting)
        both.append(env.acting.clone())
    shares = torch.stack(both).float().mean(dim=0)
    assert shares.max() > 0.1 and shares.min() == 0.0


def _column(name: str) -> slice:
    start = 0
    for other, (index, _) in privileged._MIRRORS.items():
        if other == name:
            return slice(start, start + len(index))
        start += len(index)
    raise KeyError(name)


def test_the_critics_mirror_undoes_itself() -> None:
    assert sorted(privileged.INDEX) == list(range(privileged.LENGTH))
    twice = privileged.INDEX[privileged.INDEX]
    np.testing.assert_array_equal(twice, np.arange(privileged.LENGTH))
    np.testing.assert_array_equal(privileged.SIGN * privileged.SIGN[privileged.INDEX], 1.0)


def test_a_fall_to_the_left_is_one_to_the_right_in_the_mirror() -> None:
    """Two robots are pushed to opposite sides; head and torso are not quite symmetric."""
    envs = TASKS["arms_legs"](2)
    pushes = replace(
        Scenario.standing(2), push_force=np.array([[0.0, 20.0, 0.0], [0.0, -20.0, 0.0]]),
        push_start_s=np.full(2, 0.5), push_duration_s=np.full(2, 0.1),
    )  # fmt: skip
    envs.reset(seed=0, options={"scenario": pushes})
    info = {}
    for _ in range(42):
        *_, info = envs.step(np.zeros((2, envs.task.policy_spec.action_length)))
    left, right = privileged.privileged(envs.batch, info["acting"])
    assert envs.batch.simulation.torso_velocity[0, 1] > 0.3, "in the midst of the fall"
    mirrored = privileged.SIGN * left[privileged.INDEX]
    for name in ("angle", "gravity", "floor_normal", "height", "acting", "hit", "time"):
        c = _column(name)
        np.testing.assert_allclose(mirrored[c], right[c], atol=0.02, err_msg=name)
    for name in ("torso_velocity", "torso_angular_velocity", "head_speed"):
        c = _column(name)
        np.testing.assert_allclose(mirrored[c], right[c], atol=0.1, err_msg=name)
    assert np.abs(left - right).max() > 0.3, "the fall itself is no mirror image of itself"


def test_the_critic_sees_ground_truth(env: TrainEnv) -> None:
    env.begin(2)
    seen = roll(env, 58)[-1]["privileged"].numpy()
    simulation, truth = env.env.batch.simulation, env.env.batch.truth
    assert seen.shape == (8, privileged.LENGTH) and np.isfinite(seen).all()
    np.testing.assert_allclose(seen[:, _column("angle")], simulation.true_joints, atol=1e-6)
    np.testing.assert_allclose(seen[:, _column("height")][:, 0], simulation.torso_position[:, 2],
                               atol=1e-6)  # fmt: skip
    force = 10 * np.expm1(seen[:, _column("floor_force")])
    np.testing.assert_allclose(force, simulation.floor_forces, rtol=1e-4, atol=1e-2)
    assert force.sum() > 8 * 20, "all bear some of their weight of 31 N"
    np.testing.assert_array_equal(seen[:, _column("hit")][:, 0] > 0, truth.hit)


def test_a_robot_whose_physics_broke_down_is_seen_as_numbers(env: TrainEnv) -> None:
    env.begin(2)
    env.env.batch.simulation.physics.qvel[1] = np.nan
    env.env.batch.simulation.physics.qvel[2] = 1e12
    seen = privileged.privileged(env.env.batch, np.zeros(8, dtype=bool))
    assert np.isfinite(seen).all() and np.abs(seen).max() <= 100


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_every_step_is_learned_from_with_its_mirror_image(task: str, residual: bool) -> None:
    one = TrainConfig(task=task, residual=residual, history=2).make_task()  # type: ignore[arg-type]
    augment = make_mirror(one, "cpu")
    spec, rng = one.policy_spec, np.random.default_rng(0)
    actions = torch.from_numpy(rng.normal(size=(3, spec.action_length)).astype(np.float32))
    groups = {
        "policy": torch.from_numpy(rng.normal(size=(3, spec.observation_length))).float(),
        "privileged": torch.from_numpy(rng.normal(size=(3, privileged.LENGTH))).float(),
    }
    seen, acted = augment(env=None, obs=TensorDict(groups, batch_size=[3]), actions=actions)
    assert seen is not None and acted is not None and seen.batch_size == torch.Size([6])
    assert torch.equal(acted[:3], actions) and torch.equal(seen["policy"][:3], groups["policy"])
    again, back = augment(env=None, obs=seen[3:], actions=acted[3:])
    assert again is not None and back is not None
    assert torch.equal(back[3:], actions)
    for name, values in groups.items():
        assert torch.equal(again[name][3:], values) and not torch.equal(seen[name][3:], values)
    joints = [label for block in spec.action[:1] for term in block.terms for label in term.labels]
    full = np.zeros((3, robot.NUM_JOINTS))
    places = [robot.JOINT_INDEX[joint] for joint in joints]
    full[:, places] = actions[:, : len(joints)]
    if not residual:  # corrections are of a pose that is symmetric, deltas of angles
        expected = robot.mirror_joints(full)[:, places]
        np.testing.assert_allclose(acted[3:, : len(joints)], expected, atol=1e-6)


@pytest.fixture(scope="module")
def learner() -> Learner:
    learner = Learner(SMALL, "cpu")
    learner.warm_up()
    return learner


def test_the_critic_sees_more_than_the_actor(learner: Learner) -> None:
    actor, critic = learner.ppo.actor, learner.ppo.critic
    length = learner.env.env.task.policy_spec.observation_length
    assert (actor.obs_dim, critic.obs_dim) == (length, length + privileged.LENGTH)
    alone = make_actor(SMALL, SMALL.make_task())
    assert [*alone.state_dict()] == [*actor.state_dict()]


def test_warm_normalisers_know_the_spread_of_whole_falls(learner: Learner) -> None:
    """A fall's phase, constant while all stand, has a spread."""
    normaliser: Any = learner.ppo.actor.obs_normalizer
    assert int(normaliser.count) >= 200 * SMALL.num_envs
    blocks = learner.env.env.task.policy_spec.observation
    names = [name for block in blocks for name in block.names]
    assert normaliser.std[names.index("phase/falling")] > 0.1


def collected(learner: Learner) -> tuple[ActingStorage, torch.Tensor]:
    """Steps of falls, and in which of them the policy acted."""
    learner.env.begin(0)
    storage, acting = learner.storage, learner._acting
    acting[:] = False
    while not (0.3 < acting.float().mean() < 0.9):
        storage.clear()
        learner._collect()
    storage.acting = acting
    storage.standardise_advantages()
    return storage, acting


def test_only_steps_in_which_the_policy_acts_are_learned_from(learner: Learner) -> None:
    storage, acting = collected(learner)
    storage.keep(None, learner.ppo.actor)
    kept = storage.advantages[acting]
    assert kept.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert kept.std(correction=0).item() == pytest.approx(1.0, abs=1e-3)
    batches: list[Any] = list(storage.mini_batch_generator(2, num_epochs=3))
    assert len(batches) == 6
    for name, of in (("actions", storage.actions), ("returns", storage.returns),
                     ("values", storage.values), ("advantages", storage.advantages),
                     ("old_actions_log_prob", storage.actions_log_prob)):  # fmt: skip
        seen = torch.cat([getattr(batch, name)[:, 0] for batch in batches[:2]])
        expected = of[..., 0][acting]
        assert len(seen) == len(expected) // 2 * 2
        assert set(seen.tolist()) <= set(expected.tolist()), name
    (mean, std), critic = batches[0].old_distribution_params, batches[0].observations["privileged"]
    assert mean.shape == std.shape == batches[0].actions.shape
    column = _column("acting")
    assert (critic[:, column] == 1).all(), "observation and action are of the same step"
    storage.clear()


def test_mirror_images_are_as_likely_as_the_actor_finds_them(learner: Learner) -> None:
    """Also under an actor that is not symmetric: PPO's ratios begin at 1 for all steps."""
    actor = learner.ppo.actor
    last: Any = [layer for layer in actor.mlp if isinstance(layer, torch.nn.Linear)][-1]
    before = last.bias.detach().clone()
    with torch.no_grad():
        last.bias += torch.linspace(-0.5, 0.5, len(last.bias))
    storage, acting = collected(learner)
    storage.keep(make_mirror(learner.env.env.task, "cpu"), actor)
    batch: Any = next(iter(storage.mini_batch_generator(1, num_epochs=1)))
    assert len(batch.actions) == 2 * acting.sum()
    actor(batch.observations, stochastic_output=True)
    likely = actor.get_output_log_prob(batch.actions)
    torch.testing.assert_close(likely, batch.old_actions_log_prob[:, 0], rtol=0, atol=1e-3)
    mean, _ = batch.old_distribution_params
    torch.testing.assert_close(mean, actor.output_mean.detach(), rtol=0, atol=1e-5)
    noise, n = storage._kept["actions"] - storage._old[0], int(acting.sum())
    both: Any = make_mirror(learner.env.env.task, "cpu")(None, None, noise[:n])[1]
    torch.testing.assert_close(noise[n:], both[n:], rtol=0, atol=1e-5)
    with torch.no_grad():
        last.bias.copy_(before)
    storage.clear()


def test_an_iteration_without_falls_learns_nothing(learner: Learner) -> None:
    learner.env.begin(0)
    before = [p.clone() for p in learner.ppo.actor.parameters()]
    assert "Loss/value" not in learner.iterate().values, "12 steps: all still stand"
    after = learner.ppo.actor.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_iteration_tells_where_its_time_went(learner: Learner) -> None:
    figures = [learner.iterate() for _ in range(6)]
    for f in figures:
        assert f.steps == 48 and 0 < f.physics_s < f.collect_s and f.learn_s > 0
    assert sum(f.falls for f in figures) > 0
    last = next(f.values for f in reversed(figures) if "Episode/return" in f.values)
    terms = [value for name, value in last.items() if name.startswith("Reward/")]
    assert last["Episode/return"] == pytest.approx(sum(terms)) and len(terms) > 5


def test_networks_that_are_no_numbers_end_the_training() -> None:
    learner = Learner(SMALL, "cpu")
    learner.warm_up()
    learner.env.begin(0)
    for _ in range(4):
        learner.iterate()
    learner.ppo.update = lambda: {"value": float("nan"), "b": 0.5}  # type: ignore[method-assign]
    with pytest.raises(Op3FallError, match=r"^training diverged: losses value nan, b 0.5$"):
        learner.iterate()
    with torch.no_grad():
        next(learner.ppo.critic.parameters())[0] = float("inf")
    learner.ppo.update = lambda: {"value": 1.0}  # type: ignore[method-assign]
    with pytest.raises(Op3FallError, match=r"^training diverged: losses value 1$"):
        learner._learn()


def test_an_untrained_policy_is_its_own_mirror_image_and_does_nothing() -> None:
    fresh = Learner(SMALL, "cpu")
    seen = fresh.env.get_observations()
    augment = make_mirror(fresh.env.env.task, "cpu")
    with torch.no_grad():
        mean = fresh.ppo.actor(augment(env=None, obs=seen, actions=None)[0])
    mirrored = augment(env=None, obs=None, actions=mean[:4])[1]
    assert mirrored is not None and mean.abs().max() > 0
    # A mirrored step is about as likely as the one that was taken, in all its 12 actions.
    assert mean.abs().max() < 0.05 * SMALL.network.init_std
    assert (mirrored[4:] - mean[4:]).abs().max() < 0.1 * SMALL.network.init_std
