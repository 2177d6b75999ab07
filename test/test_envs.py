# SPDX-License-Identifier: Apache-2.0
"""The environments by gymnasium's rules: one set of tests for every registered id."""

import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.vector import AutoresetMode, SyncVectorEnv  # noqa: E402

from op3_fall.action import CORRECTION_RAD, DELTA_RAD  # noqa: E402
from op3_fall.envs import (  # noqa: E402
    IDS,
    CurriculumManager,
    Op3FallControlArms,
    Op3FallControlArmsVector,
    Op3FallControlEnv,
    RewardWeights,
    act_joint,
    obs_fall_vel,
)
from op3_fall.envs.draws import draw_scenario  # noqa: E402
from op3_fall.envs.given import DIVERGENCE_COST  # noqa: E402
from op3_fall.envs.phase import Phase  # noqa: E402
from op3_fall.errors import BadInputError  # noqa: E402
from op3_fall.policy_codec import PolicyCodec  # noqa: E402
from op3_fall.robot import ARMS, JOINT_INDEX, POSES  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    # Gymnasium takes the version for that of a release.
    "ignore:.*The environment .* is out of date.*"
)


def make(id_: str, **settings: Any) -> Any:
    return gymnasium.make(id_, **settings)


def make_many(id_: str, n: int, **settings: Any) -> Any:
    return gymnasium.make_vec(id_, num_envs=n, **settings)


@pytest.fixture(params=IDS)
def id_(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def roll_out(env: Any, seed: int, steps: int) -> list[Any]:
    """Observations, rewards and flags under seeded actions."""
    env.action_space.seed(seed)
    seen: list[Any] = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, *rest, _ = env.step(env.action_space.sample())
        seen += [observation, *rest]
        if rest[1] or rest[2]:
            break
    return seen


def test_the_ids_stand_for_five_seconds_and_a_native_vector_environment(id_: str) -> None:
    spec = gymnasium.spec(id_)
    assert spec.max_episode_steps == 250
    env = make_many(id_, 2)
    assert type(env).__name__ == IDS[id_].__name__ + "Vector"
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.close()


def test_gymnasiums_check_passes_without_a_warning(id_: str) -> None:
    env = make(id_).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*out of date.*")
        check_env(env, skip_render_check=True)
        for settings in ({"control": "torque"}, {"profile": "stock"}, {"observation": "dict"}):
            if "observation" in settings:  # in SI units nothing bounds it, as gymnasium would like
                warnings.filterwarnings("ignore", message=".*Box observation space")
            check_env(make(id_, **settings).unwrapped, skip_render_check=True)
        passive = make(id_)
        passive.reset(seed=0)
        passive.step(passive.action_space.sample())


def test_stable_baselines3s_check_passes_without_a_warning(id_: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = make(id_).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*out of date.*")
        checker.check_env(env, skip_render_check=True)


@pytest.mark.parametrize("observation", ["vector", "dict"])
def test_the_same_seed_gives_the_same_episode(id_: str, observation: str) -> None:
    first, second, other = (
        roll_out(make(id_, observation=observation), seed, 60) for seed in (5, 5, 6)
    )
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_equal(a, b)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(first[-4], other[-4])


def test_later_episodes_follow_from_the_seed_and_differ() -> None:
    env = make("envs/Op3FallControl-v1")

    def starts() -> list[np.ndarray]:
        return [env.reset(seed=3)[0], env.reset()[0], env.reset()[0]]

    first, again = starts(), starts()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])


def test_a_pickled_environment_begins_as_it_did(id_: str) -> None:
    curriculum = CurriculumManager([Phase(), Phase(push_strong=True)])
    curriculum.set_phase(1)
    env = make(id_, curriculum=curriculum, profile="stock")
    copy = pickle.loads(pickle.dumps(env))
    assert copy.unwrapped.curriculum.phase == curriculum.phase
    for a, b in zip(roll_out(env, 1, 5), roll_out(copy, 1, 5), strict=True):
        np.testing.assert_equal(a, b)
    many = make_many(id_, 2, curriculum=curriculum, max_episode_steps=70)
    copy = pickle.loads(pickle.dumps(many))
    assert (copy.num_envs, copy.max_episode_steps) == (2, 70)
    np.testing.assert_array_equal(copy.reset(seed=1)[0], many.reset(seed=1)[0])


def test_robot_k_of_many_falls_as_the_single_environment_with_its_seed(id_: str) -> None:
    """Through resets in the middle of the others' episodes, and with what info tells.

    After an odd number of steps the driver of a robot that begins anew is ahead of that of a
    robot alone; from then on it is not compared.
    """
    n = 4
    curriculum = {"curriculum": CurriculumManager([Phase(push_strong=True, imu_errors=1.0)])}
    many = make_many(id_, n, **curriculum)
    alone = SyncVectorEnv(
        [lambda: make(id_, **curriculum) for _ in range(n)],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    rng = np.random.default_rng(0)
    one, other = many.reset(seed=9), alone.reset(seed=[9, 10, 11, 12])
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    alike, begun = np.ones(n, dtype=bool), 0
    for step in range(1, 200):
        # Who flails does not come to rest.
        actions = rng.uniform(-1, 1, many.action_space.shape) * (step < 60)
        one, other = many.step(actions), alone.step(actions)
        for a, b in zip(one[1:4], other[1:4], strict=True):
            np.testing.assert_array_equal(a[alike], b[alike])
        same_info(one[4], other[4], alike)
        alike &= ~(one[2] | one[3]) | (step % 2 == 0)
        np.testing.assert_array_equal(one[0][alike], other[0][alike])
        begun += int((one[2] | one[3])[alike].sum())
    assert begun >= 1, "the test is about resets"


def same_info(mine: dict[str, Any], theirs: dict[str, Any], which: np.ndarray) -> None:
    """Gymnasium's own vector environment says the same of `which` where masks say it counts."""
    for name, value in mine.items():
        if name.startswith("_"):
            np.testing.assert_array_equal(
                value[which], theirs.get(name, np.zeros_like(value))[which], name
            )
        elif isinstance(value, dict):
            same_info(value, theirs.get(name, {}), which & mine[f"_{name}"])
        else:
            for k in np.nonzero(mine[f"_{name}"] & which)[0]:
                np.testing.assert_array_equal(value[k], theirs[name][k])


def test_until_the_alarm_no_action_has_an_effect_and_then_it_has(id_: str) -> None:
    env = make(id_)
    n = env.action_space.shape[0]

    def run(value: float) -> tuple[list[np.ndarray], list[bool]]:
        seen, acting = [env.reset(seed=2)[0]], [False]
        for _ in range(60):
            observation, _, _, _, info = env.step(np.full(n, value, np.float32))
            seen.append(observation)
            acting.append(info["acting"])
        return seen, acting

    (up, acting), (down, again) = run(1.0), run(-1.0)
    first = acting.index(True)
    assert 20 < first < 50 and again.index(True) == first
    np.testing.assert_array_equal(up[: first + 1], down[: first + 1])
    assert not np.array_equal(up[first + 3], down[first + 3])


def test_a_policy_acts_as_the_codec_on_the_robot_would_have_it() -> None:
    """Commands of the environment are those of the deployed codec on the same signals."""
    env: Op3FallControlEnv = make("envs/Op3FallControl-v1").unwrapped
    codec = PolicyCodec(env.policy_spec)
    env.reset(seed=4)
    rng, compared, resets = np.random.default_rng(1), 0, 0
    batch = env.make_batch(1)
    batch.seeds[:] = 4
    batch.reset(np.array([0]))
    for _ in range(60):
        action = rng.uniform(-1, 1, (1, env.policy_spec.action_length))
        reading, fall, acting = batch.reading, batch.fall, batch._takeover.acting.copy()
        begins = bool(fall.falling[0] and not acting[0])
        if begins:
            expected = codec.reset(reading)
            resets += 1
        elif acting[0]:
            codec.observe(reading, fall)
            expected = codec.act(action, reading)
        batch.step(action)
        if begins or acting[0]:
            for name in ("position", "p_gain", "d_gain", "goal_pwm"):
                np.testing.assert_array_equal(
                    getattr(batch._takeover.command, name), getattr(expected, name)
                )
            compared += 1
    assert resets == 1 and compared > 10


def test_every_term_is_a_penalty_and_the_reward_is_their_sum(id_: str) -> None:
    env = make(id_)
    env.reset(seed=0)
    env.action_space.seed(0)
    worst: dict[str, float] = {}
    for _ in range(150):
        _, reward, terminated, _, info = env.step(env.action_space.sample())
        terms = info["reward_terms"]
        assert reward == pytest.approx(sum(terms.values()))
        assert all(value <= 0 for value in terms.values())
        worst = {name: min(value, worst.get(name, 0.0)) for name, value in terms.items()}
        if terminated:
            break
    assert set(worst) <= set(vars(RewardWeights())) | {"divergence"}
    assert worst["part_impact"] < 0 and worst["action_rate"] < 0
    assert info["impact"] and info["metrics"]["peak_floor_force_n"] > 50


def test_an_episode_ends_when_the_robot_lies_at_rest(id_: str) -> None:
    env = make(id_, curriculum=CurriculumManager([Phase(push_strong=True, push_weak=False)]))
    env.reset(seed=0)
    still = np.zeros(env.action_space.shape, np.float32)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        _, _, terminated, truncated, info = env.step(still)
        steps += 1
    assert terminated and 50 < steps < 250 and not info["diverged"]


def test_who_does_not_fall_is_truncated_after_five_seconds() -> None:
    nobody_pushes = CurriculumManager([Phase(push_front=False)])
    env = make("envs/Op3FallControl-v0", curriculum=nobody_pushes)
    env.reset(seed=0)
    for step in range(1, 251):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward == 0 and not info["acting"] and not terminated
        assert truncated == (step == 250)


def test_a_simulation_that_diverges_ends_its_episode_and_no_other() -> None:
    many = make_many("envs/Op3FallControl-v0", 3)
    many.reset(seed=0)
    still = np.zeros(many.action_space.shape)
    for _ in range(10):
        many.step(still)
    many.batch.simulation.physics.qvel[1, 0] = np.inf
    observation, reward, terminated, truncated, info = many.step(still)
    assert terminated.tolist() == [False, True, False] and not truncated.any()
    assert info["final_info"]["diverged"].tolist() == [False, True, False]
    assert not info["diverged"].any(), "it begins anew"
    assert reward[1] == -DIVERGENCE_COST, "breaking the physics must not pay"
    assert np.isfinite(observation).all() and np.isfinite(reward).all()
    assert np.isfinite(info["final_obs"]).all()
    for _ in range(20):
        observation, _, terminated, _, _ = many.step(still)
        assert np.isfinite(observation).all() and not terminated.any()


def test_a_phase_change_reaches_running_environments_at_their_next_reset() -> None:
    curriculum = CurriculumManager([Phase(), Phase(mass_arms=0.4)])
    many = make_many("envs/Op3FallControl-v0", 2, curriculum=curriculum)
    many.reset(seed=0)
    mass = many.batch.simulation.batch.expand("body_mass")
    nominal = many.batch.simulation.model.mj.body_mass
    curriculum.to_next_phase()
    many.step(np.zeros(many.action_space.shape))
    np.testing.assert_array_equal(mass, [nominal] * 2)
    many.reset()
    assert not np.array_equal(mass[0], nominal) and not np.array_equal(mass[0], mass[1])
    assert many.step(np.zeros(many.action_space.shape))[4]["curriculum_phase"].tolist() == [1, 1]


def test_randomisation_does_not_accumulate_over_resets() -> None:
    curriculum = CurriculumManager(
        [Phase(mass_arms=0.4, mass_legs=0.4, mass_torso=0.4, mass_head=0.4, friction_low=0.3,
               friction_high=1.5, servo_strength=0.4, joint_offset_rad=0.05, slope_rad=0.1),
         Phase()]
    )  # fmt: skip
    many = make_many("envs/Op3FallControl-v1", 16, curriculum=curriculum)
    many.reset(seed=0)
    simulation = many.batch.simulation
    fields = {name: simulation.batch.expand(name)
              for name in ("body_mass", "body_inertia", "geom_friction", "gravity")}  # fmt: skip
    mj = simulation.model.mj
    for _ in range(30):
        many.reset()
    ratio = fields["body_mass"][:, 1:] / mj.body_mass[1:]
    assert 0.6 <= ratio.min() < 0.7 and 1.3 < ratio.max() <= 1.4
    assert np.allclose(np.linalg.norm(fields["gravity"], axis=-1), 9.81)
    curriculum.set_phase(1)
    many.reset()
    for name in ("body_mass", "body_inertia", "geom_friction"):
        np.testing.assert_array_equal(fields[name], np.tile(getattr(mj, name), (16, 1, 1))
                                      if name != "body_mass" else [mj.body_mass] * 16)  # fmt: skip
    np.testing.assert_array_equal(fields["gravity"], [mj.opt.gravity] * 16)


@pytest.mark.parametrize("control", ["velocity", "torque"])
def test_other_controls_move_the_joints_the_way_the_action_says(control: str) -> None:
    env = make("envs/Op3FallControl-v0", control=control, observation="dict")
    term = env.unwrapped.policy_spec.action[0].terms[0]
    assert (
        term.quantity == control and term.unit == {"velocity": "rad/s", "torque": "N m"}[control]
    )

    def elbow(value: float) -> float:
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape, np.float32)
        action[ARMS.index("l_el")] = value
        for _ in range(45):
            observation, *_, info = env.step(action)
        assert info["acting"]
        return float(observation["joints"][0, 4])

    assert elbow(-0.5) < elbow(0.0) < elbow(0.5)


def test_the_dictionary_is_the_simulations_truth() -> None:
    env = make("envs/Op3FallControl-v1", observation="dict")
    observation, _ = env.reset(seed=0)
    for _ in range(100):
        observation, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
    simulation = env.unwrapped._batch.simulation
    angles, _, torque = observation["joints"]
    np.testing.assert_allclose(angles, simulation.physics.joints[0][0], atol=1e-6)
    np.testing.assert_allclose(torque, simulation.physics.torque[0], atol=1e-5)
    position, _, (_, pitch, _), _ = observation["base"]
    assert abs(pitch) > 0.8 and position[2] < 0.2, "it lies"
    assert observation["contact_forces"].max() > 1
    weight = simulation.model.mj.body_mass.sum() * 9.81
    assert observation["contact_forces"].sum() < 5 * weight
    assert observation["end_effectors"][4, 0] > 0.1, "the head lies in front"


def test_pictures_have_the_size_asked_for(id_: str) -> None:
    pytest.importorskip("OpenGL")
    env = make(id_, render_mode="rgb_array", width=64, height=48)
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8 and frame.std() > 5
    again = env.unwrapped._render_frame()  # a software renderer may round otherwise
    assert np.abs(frame.astype(int) - again.astype(int)).mean() < 0.1
    env.close()
    env.close()


@pytest.mark.parametrize("name", ["envs/Op3FallControl-v0", "envs/Op3FallControl-v1"])
def test_corrections_of_zero_drive_to_the_protective_pose(name: str) -> None:
    env = make(name, residual=True)
    joints = env.unwrapped.policy_spec.action[0].joints
    index = [JOINT_INDEX[joint] for joint in joints]
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    action[len(index) :] = 1.0  # stiff
    for _ in range(60):
        *_, info = env.step(action)
    command = env.unwrapped._batch._takeover.command
    assert info["acting"]
    np.testing.assert_allclose(command.position[0, index], POSES["brace_front"][index])
    action[0] = 0.2
    env.step(action)
    moved = env.unwrapped._batch._takeover.command.position[0, index[0]]
    assert moved == pytest.approx(POSES["brace_front"][index[0]] + 0.2 * CORRECTION_RAD)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"residual": 1}, "residual is 1; allowed are true and false; give one of them"),
        ({"residual": True, "control": "torque"},
         "control is 'torque' with residual; allowed is position, since corrections are goal "
         "angles; leave one of the two out"),
        ({"observation": "pixels"},
         "observation 'pixels' is unknown; allowed are vector, dict; choose one of them"),
        ({"control": "voltage"},
         "control 'voltage' is unknown; allowed are position, velocity, torque; choose one of "
         "them"),
        ({"profile": "best"}, None),
        ({"curriculum": "no_such.yaml"}, None),
        ({"detectors": "no_such.yaml"}, None),
        ({"curriculum": [1]},
         "curriculum is [1]; allowed is a CurriculumManager or a file's path; give that"),
        ({"detectors": 3},
         "detectors is 3; allowed is a DetectorConfig or a file's path; give that"),
        ({"reward": {"pose": 1}},
         "reward is {'pose': 1}; allowed is an op3_fall.envs.RewardConfig; give that"),
        ({"width": 0}, "width is 0; allowed is a whole number from 1 to 8192; give one"),
        ({"history": 0}, None),
    ],
)  # fmt: skip
def test_settings_that_are_not_allowed(settings: dict[str, Any], message: str | None) -> None:
    for cls in (Op3FallControlArms, Op3FallControlArmsVector):
        with pytest.raises(BadInputError) as error:
            cls(**settings)
        assert message in (None, str(error.value))


def test_actions_that_are_not_allowed(id_: str) -> None:
    env, many = make(id_).unwrapped, make_many(id_, 2)
    n = env.action_space.shape[0]
    with pytest.raises(BadInputError, match="has no episode; allowed is reset first; call it"):
        env.step(np.zeros(n))
    with pytest.raises(BadInputError, match="has no episode; allowed is reset first; call it"):
        many.step(np.zeros((2, n)))
    two = {"scenario": draw_scenario(Phase(), [0, 1], [0, 0])}
    for refused, options in ((env, two), (many, {"scenario": two["scenario"].take([0])})):
        with pytest.raises(BadInputError, match="simulations; allowed is"):
            refused.reset(options=options)
        with pytest.raises(BadInputError, match="has no episode; allowed is reset first; call it"):
            refused.step(np.zeros((2, n))[: len(options["scenario"])])
    env.reset(seed=0)
    many.reset(seed=0)
    with pytest.raises(BadInputError) as error:
        env.step(np.zeros(3))
    assert str(error.value) == (
        f"action has shape (3,); allowed is ({n},) of numbers in [-1, 1]; see the environment's "
        "action_space"
    )
    with pytest.raises(BadInputError, match=rf"allowed is \({n},\)"):
        env.step("left")
    bad = np.zeros((2, n))
    bad[1, 2] = np.nan
    with pytest.raises(BadInputError) as error:
        many.step(bad)
    assert str(error.value) == (
        "action at (1, 2) is nan; allowed are finite numbers in [-1, 1]; look for the NaN in the "
        "policy or its observation"
    )


def test_a_subclass_says_what_is_seen_done_and_rewarded() -> None:
    class NoReward(Op3FallControlEnv):
        def observation_blocks(self) -> Any:
            return (obs_fall_vel(),)

        def action_blocks(self) -> Any:
            return (act_joint(ARMS),)

    class NoBlocks(Op3FallControlArms):
        def action_blocks(self) -> Any:
            return ()

        def observation_blocks(self) -> Any:
            return (obs_fall_vel(),)

    with pytest.raises(BadInputError) as error:
        NoReward()  # pyright: ignore[reportAbstractUsage]
    assert str(error.value) == (
        "NoReward has no compute_reward; allowed are subclasses of Op3FallControlEnv that define "
        "observation_blocks, action_blocks and compute_reward; define them"
    )
    with pytest.raises(BadInputError) as error:
        NoBlocks()
    assert str(error.value) == (
        "the action has no values; allowed is one or more; add blocks to it"
    )


def test_bumps_must_be_known_when_the_environment_is_made() -> None:
    curriculum = CurriculumManager()
    env = make("envs/Op3FallControl-v0", curriculum=curriculum)
    env.reset(seed=0)
    curriculum.change(bumps=True)
    with pytest.raises(BadInputError) as error:
        env.reset()
    assert str(error.value) == (
        "the episode has bumps, but no phase of the curriculum had when the environment was made; "
        "allowed is a floor as it was made; define such a phase first, then make the environment"
    )
    env = make("envs/Op3FallControl-v0", curriculum=curriculum)
    env.reset(seed=0)
    places = env.unwrapped._batch.simulation.batch.expand("geom_pos")
    assert (places[0, env.unwrapped._batch.simulation.model.bump_ids, 2] > -0.1).all()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda outcome: 1.0,
         "compute_reward's result is 1.0; allowed is a mapping of names to arrays (n,); give "
         "that"),
        (lambda outcome: {"pose": -outcome.position},
         "reward term 'pose' has shape (2, 20); allowed are finite numbers of shape (2,), one for "
         "each robot; correct compute_reward"),
        (lambda outcome: {"pose": np.full(2, np.nan)},
         "reward term 'pose' has shape (2,) and values that are not finite; allowed are finite "
         "numbers of shape (2,), one for each robot; correct compute_reward"),
    ],
)  # fmt: skip
def test_a_reward_that_is_none_is_refused_at_the_first_reset(result: Any, message: str) -> None:
    class Mine(Op3FallControlArms):
        def compute_reward(self, outcome: Any) -> Any:
            return result(outcome)

    class Many(Op3FallControlArmsVector):
        env_class = Mine

    with pytest.raises(BadInputError) as error:
        Many(2).reset(seed=0)
    assert str(error.value) == message


def test_falls_that_end_advance_the_curriculum_and_no_others() -> None:
    """Neither those broken off nor those of a scenario of one's own; single and many alike."""
    braced = CurriculumManager([Phase(), Phase()], advance_at=0.5, window=2)
    many = make_many("envs/Op3FallControl-v0", 2, curriculum=braced)
    task = many.task
    goal = task.reward.goal[[JOINT_INDEX[joint] for joint in ARMS]]

    def fall(steps: int) -> None:
        for _ in range(steps):
            angles = many.batch.reading.position[:, [JOINT_INDEX[joint] for joint in ARMS]]
            way = np.clip((goal - angles) / DELTA_RAD, -1, 1)
            many.step(np.hstack([way, np.ones_like(way)]))

    many.reset(seed=0)
    fall(70)
    assert many.batch.info()["impact"].all()
    many.reset(options={"scenario": draw_scenario(Phase(), [0, 1], [0, 0])})
    fall(110)
    assert braced.phase_id == 0 and braced.state()["window"] == []
    many.reset(seed=0)
    fall(110)
    assert braced.phase_id == 1
    alone = CurriculumManager()
    env = make("envs/Op3FallControl-v0", curriculum=alone)
    for steps, counted in ((90, 0), (250, 1)):
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(steps):
            env.step(env.action_space.sample())
        env.reset()
        assert len(alone.state()["window"]) == counted


def test_breaking_the_physics_costs_more_than_any_fall(id_: str) -> None:
    last = IDS[id_]().curriculum.phases
    curriculum = CurriculumManager([last[len(last) - 1]])
    many = make_many(id_, 24, curriculum=curriculum)
    many.reset(seed=0)
    many.action_space.seed(0)
    cost = np.zeros(24)
    for _ in range(120):
        cost += many.step(many.action_space.sample())[1]
    assert -DIVERGENCE_COST < cost.min() < -20


def test_a_history_is_the_last_observations_oldest_first() -> None:
    one, three = (make("envs/Op3FallControl-v0", history=k) for k in (1, 3))
    seen = [one.reset(seed=0)[0]]
    np.testing.assert_array_equal(three.reset(seed=0)[0], np.tile(seen[0], 3))
    for _ in range(3):
        action = one.action_space.sample()
        seen.append(one.step(action)[0])
        latest = three.step(action)[0]
    np.testing.assert_array_equal(latest, np.concatenate(seen[-3:]))
    assert three.unwrapped.policy_spec.history == 3


def test_a_history_is_that_of_its_robot_alone_when_others_begin_anew() -> None:
    alone = make("envs/Op3FallControl-v0", history=3)
    many = make_many("envs/Op3FallControl-v0", 3, history=3)
    first = many.reset(seed=0)[0]
    np.testing.assert_array_equal(first[0], alone.reset(seed=0)[0])
    many.episode_steps = np.array([0, 246, 243])
    for step in range(1, 12):
        action = alone.action_space.sample()
        latest, _, _, truncated, _ = many.step(np.tile(action, (3, 1)))
        np.testing.assert_array_equal(latest[0], alone.step(action)[0])
        assert truncated.tolist() == [False, step == 4, step == 7]
        for k in np.nonzero(truncated)[0]:
            np.testing.assert_array_equal(latest[k], np.tile(latest[k][: len(latest[k]) // 3], 3))


def test_the_spec_says_how_late_commands_are_in_training() -> None:
    assert make("envs/Op3FallControl-v1").unwrapped.policy_spec.latency_s == (0.0, 0.03)


def test_wrong_seeds_and_options() -> None:
    many = make_many("envs/Op3FallControl-v0", 3)
    for env in (many, make("envs/Op3FallControl-v0").unwrapped):
        with pytest.raises(BadInputError, match=r"seed is -1; allowed is a whole number from 0"):
            env.reset(seed=-1)
        with pytest.raises(
            BadInputError, match="reset options is \\['x'\\]; allowed is a mapping"
        ):
            env.reset(options=["x"])
    with pytest.raises(BadInputError, match=r"number of environments is 1\.5; allowed is a whole"):
        Op3FallControlArmsVector(1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInputError, match="seed has 2 numbers; allowed is one for each of the"):
        many.reset(seed=[1, 2])
    with pytest.raises(BadInputError, match="reset option 'push' is unknown; allowed are"):
        many.reset(options={"push": 3})
    with pytest.raises(BadInputError, match="render mode is 'human' with many robots"):
        make_many("envs/Op3FallControl-v0", 3, render_mode="human")


def test_a_robot_without_effort_readings_has_no_torque_in_its_observation(id_: str) -> None:
    stock, extended = make(id_, profile="stock"), make(id_)
    joints = len(stock.unwrapped.policy_spec.observation[0].joints)
    assert stock.observation_space.shape[0] == extended.observation_space.shape[0] - joints
    stock.reset(seed=0)


def test_importing_the_rest_of_the_package_needs_no_gymnasium() -> None:
    code = "import op3_fall.simulation, sys; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
