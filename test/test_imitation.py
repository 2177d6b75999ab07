# SPDX-License-Identifier: Apache-2.0
"""A start by imitation: what the teacher wants, what the actor makes of it, and the critic."""

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
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from protective_samples import motions
from signal_samples import fall_estimate

from op3_fall import robot
from op3_fall.action import CORRECTION_RAD, DELTA_RAD, act_joint, act_kd, act_kp_rel
from op3_fall.blocks import Block
from op3_fall.envs import Op3FallControlArmsLegs
from op3_fall.errors import BadInputError
from op3_fall.observation import obs_joint
from op3_fall.policy_codec import PolicyCodec
from op3_fall.policy_spec import PolicySpec
from op3_fall.protective import ProtectiveMotions
from op3_fall.protective_file import load_motions, motions_yaml
from op3_fall.signals import FallEstimate, JointCommand, SensorReading
from op3_fall.training import check_up, checkpoints, learner
from op3_fall.training.config import (
    EvaluationConfig,
    ImitationConfig,
    NetworkConfig,
    PpoConfig,
    TrainConfig,
)
from op3_fall.training.imitation import imitate, wanted_action
from op3_fall.training.learner import Learner
from op3_fall.training.run_folder import Run
from op3_fall.training.train_command import Train, parse_train, run_train
from op3_fall.training.train_env import TrainEnv

Array = NDArray[np.float64]
SEEDS = st.integers(0, 2**32)
SHAPES = st.lists(st.integers(1, 3), max_size=2).map(tuple)
TASKS = {residual: Op3FallControlArmsLegs(residual=residual) for residual in (False, True)}
MOVED = np.isin(robot.JOINTS, Op3FallControlArmsLegs.joints)


def poses(position: Array) -> SensorReading:
    """Robots (...) that are still, with these joint angles."""
    shape, still = position.shape[:-1], np.zeros((*position.shape[:-1], 3))
    return SensorReading(
        np.zeros(shape), position, 0 * position, 0 * position, still, still,
        np.zeros((*shape, 4)),
    )  # fmt: skip


def falls(rng: np.random.Generator, shape: tuple[int, ...]) -> FallEstimate:
    """To all sides, at all tilts, in the fall and after the contact."""
    return fall_estimate(
        shape, fall_angle=rng.uniform(-np.pi, np.pi, shape), tilt=rng.uniform(0, 1.6, shape),
        phase=rng.integers(1, 3, shape),
    )  # fmt: skip


def decoded(spec: PolicySpec, action: Array, reading: SensorReading) -> JointCommand:
    """What the codec on the robot makes of it, right after the alarm."""
    codec = PolicyCodec(spec)
    codec.reset(reading)
    return codec.act(action, reading)


def near(goal: Array, protective: ProtectiveMotions, reach: float) -> ProtectiveMotions:
    """The motions, with poses no further than that from the goal."""
    low, high = goal - reach, goal + reach
    return ProtectiveMotions({
        name: replace(m, early=np.clip(m.early, low, high), landing=np.clip(m.landing, low, high))
        for name, m in protective.by_direction.items()
    })  # fmt: skip


@given(SEEDS, SHAPES, st.booleans())
def test_the_wanted_action_drives_where_the_motion_says(
    seed: int, shape: Any, residual: bool
) -> None:
    """Whatever is in reach: of the measured angles, or of the scripted pose."""
    task, rng = TASKS[residual], np.random.default_rng(seed)
    protective, fall = near(task.reward.goal, motions(seed), CORRECTION_RAD), falls(rng, shape)
    position, stiffness = protective.targets(fall)
    reading = poses(position + rng.uniform(-DELTA_RAD, DELTA_RAD, position.shape))
    action = wanted_action(task.policy_spec, protective, reading, fall)
    assert action.shape == (*shape, task.policy_spec.action_length)
    assert np.abs(action).max() <= 1
    command = decoded(task.policy_spec, action, reading)
    np.testing.assert_allclose(
        command.position[..., MOVED], position[..., MOVED], rtol=0, atol=1e-9
    )
    np.testing.assert_array_equal(command.position[..., ~MOVED], reading.position[..., ~MOVED])
    wanted = np.where(MOVED, robot.Servo().p_register(stiffness), 800)
    assert np.abs(command.p_gain - wanted).max() <= 1, "a half is rounded either way"


@given(SEEDS)
def test_what_is_out_of_reach_is_approached_as_far_as_it_goes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    protective, fall = motions(seed), falls(rng, (4,))
    position = protective.targets(fall)[0][:, MOVED]
    reading = poses(rng.uniform(robot.LOWER_LIMIT_RAD, robot.UPPER_LIMIT_RAD, (4, 20)))
    spec = TASKS[False].policy_spec
    command = decoded(spec, wanted_action(spec, protective, reading, fall), reading)
    measured = reading.position[:, MOVED]
    way = np.clip(position - measured, -DELTA_RAD, DELTA_RAD)
    np.testing.assert_allclose(command.position[:, MOVED], measured + way, rtol=0, atol=1e-9)


@given(SEEDS, SHAPES, st.booleans())
def test_the_mirrored_robot_gets_the_mirrored_action(
    seed: int, shape: Any, residual: bool
) -> None:
    task, rng = TASKS[residual], np.random.default_rng(seed)
    protective, fall = motions(seed), falls(rng, shape)
    angles = rng.uniform(-1, 1, (*shape, 20))
    action = wanted_action(task.policy_spec, protective, poses(angles), fall)
    mirrored = wanted_action(
        task.policy_spec, protective, poses(robot.mirror_joints(angles)),
        replace(fall, fall_angle=-fall.fall_angle),
    )  # fmt: skip
    _, mirror = task.mirror
    np.testing.assert_allclose(mirrored, mirror.sign * action[..., mirror.index], atol=1e-9)


@pytest.mark.parametrize(
    ("block", "quantity"), [(act_kp_rel(), "stiffness_change"), (act_kd(), "damping_scale")]
)
def test_actions_that_no_motion_tells_are_refused(block: Block, quantity: str) -> None:
    spec = PolicySpec((obs_joint(robot.ARMS),), (act_joint(robot.ARMS), block), "extended")
    with pytest.raises(BadInputError) as error:
        wanted_action(spec, motions(0), poses(np.zeros(20)), fall_estimate())
    assert str(error.value) == (
        f"the action has {quantity}, which no protective motion tells; allowed are delta, "
        "correction, stiffness_scale; give --imitation.rounds 0"
    )


SMALL = TrainConfig(
    task="arms_legs", num_envs=16, steps_per_env=40, episode_s=1.5, residual=True, start_phase=1,
    device="cpu", network=NetworkConfig(hidden=(64,)), ppo=PpoConfig(minibatches=2, epochs=2),
    imitation=ImitationConfig(rounds=2, epochs=10, critic_iterations=2),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Short warm-ups and evaluations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "_WARM_UP_STEPS", 40)
        patch.setattr(check_up, "MAX_EPISODE_STEPS", 70)
        yield


def taught(base: TrainConfig = SMALL, **changes: Any) -> Learner:
    """After a warm-up and what the settings say."""
    config = replace(base, imitation=replace(base.imitation, **changes))
    made = Learner(config, "cpu")
    made.warm_up()
    imitate(made, config.imitation, load_motions(config.motions_file))
    return made


def parameters(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    assert a.keys() == b.keys() and len(a) >= 4
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture(scope="module")
def actor_alone() -> Learner:
    return taught(critic_iterations=0)


@pytest.fixture(scope="module")
def both() -> Learner:
    return taught()


def error(actor: Callable[..., torch.Tensor]) -> float:
    """Mean square of what the actor lacks to the teacher, on robots that the actor moves."""
    env, protective = TrainEnv(SMALL.make_envs(16), run_seed=7), load_motions(None)
    batch, spec, squares = env.env.batch, env.env.task.policy_spec, []
    for _ in range(100):
        wanted = wanted_action(spec, protective, batch.reading, batch.fall)
        acting = env.acting.numpy()
        with torch.inference_mode():
            given = actor({"policy": env.get_observations()["policy"]})
            squares.append((given.numpy()[acting] - wanted[acting]) ** 2)
            env.step(given)
    return float(np.concatenate(squares).mean())


def test_the_actor_comes_near_to_the_teacher(actor_alone: Learner) -> None:
    """On falls that it has not seen, where it gets by its own actions."""
    new = Learner(SMALL, "cpu")
    before, after = (error(one.ppo.actor) for one in (new, actor_alone))
    assert after < 0.4 * before


def test_a_seed_gives_the_same_actor_and_the_critics_turn_leaves_it(
    actor_alone: Learner, both: Learner
) -> None:
    assert same(parameters(both.ppo.actor), parameters(actor_alone.ppo.actor))
    assert not same(parameters(both.ppo.critic), parameters(actor_alone.ppo.critic))


def test_imitation_leaves_the_critic(actor_alone: Learner) -> None:
    new = Learner(SMALL, "cpu")
    assert same(parameters(actor_alone.ppo.critic), parameters(new.ppo.critic))
    assert not same(parameters(actor_alone.ppo.actor), parameters(new.ppo.actor))


def test_afterwards_the_actor_learns_as_ever(both: Learner) -> None:
    before = parameters(both.ppo.actor)
    assert (both.ppo.schedule, both.ppo.learning_rate) == ("adaptive", 1e-3)
    assert both.iterate().values["Loss/value"] > 0
    assert not same(parameters(both.ppo.actor), before)


TINY = TrainConfig(
    task="arms_legs", name="tiny", iterations=2, num_envs=4, steps_per_env=40, episode_s=1.5,
    save_interval=1, device="cpu", network=NetworkConfig(hidden=(16,)),
    ppo=PpoConfig(minibatches=2, epochs=2), evaluation=EvaluationConfig(every=0),
    imitation=ImitationConfig(rounds=1, epochs=1, critic_iterations=1),
)  # fmt: skip


def train(folder: Path, config: TrainConfig = TINY) -> Run:
    config = replace(config, runs=folder)
    assert run_train(Train(config, None, ("op3-fall", "train"))) == 0
    return Run.load(config.folder)


def networks(run: Run, name: str) -> dict[str, torch.Tensor]:
    saved = checkpoints.load(run.checkpoints / f"{name}.pt")["networks"]
    return {
        f"{net}.{key}": value
        for net, state in saved.items() if net != "optimizer_state_dict"
        for key, value in state.items()
    }  # fmt: skip


def test_a_run_that_imitated_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """It does not imitate once more."""
    at_once = train(tmp_path / "a")
    parts = train(tmp_path / "b", replace(TINY, iterations=1))
    torch.manual_seed(99)  # whatever happened in between
    assert run_train(parse_train(["--resume", str(parts.path), "--iterations", "2"])) == 0
    assert same(networks(parts, "last"), networks(at_once, "last"))
    without = train(tmp_path / "c", replace(TINY, imitation=ImitationConfig(), iterations=1))
    assert not same(networks(without, "000000"), networks(at_once, "000000"))


def test_the_motions_of_a_file_are_imitated(tmp_path: Path) -> None:
    path = tmp_path / "motions.yaml"
    with pytest.raises(BadInputError) as error:
        taught(TINY, motions=str(path))
    assert str(error.value).startswith(f"motion file '{path}' cannot be read (")
    path.write_text(motions_yaml(motions(5)))
    shipped, ours = (taught(TINY, critic_iterations=0, motions=file) for file in ("", str(path)))
    assert not same(parameters(ours.ppo.actor), parameters(shipped.ppo.actor))


def test_motions_that_cannot_be_used_are_told_before_there_is_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(BadInputError) as error:
        train(tmp_path, replace(TINY, imitation=ImitationConfig(rounds=1, motions=str(path))))
    assert str(error.value).startswith(f"motion file '{path}' cannot be read (")
    assert not list(tmp_path.iterdir())
