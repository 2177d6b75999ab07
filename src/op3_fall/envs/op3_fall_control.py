# SPDX-License-Identifier: Apache-2.0
"""The Gymnasium environment of a falling OP3; tasks add what is seen, done and rewarded."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from op3_fall.action import as_residual, in_control
from op3_fall.blocks import Block
from op3_fall.detectors import DetectorConfig
from op3_fall.envs import given, spaces
from op3_fall.envs.batch import FallBatch
from op3_fall.envs.curriculum import CurriculumManager
from op3_fall.envs.frames import Frames
from op3_fall.envs.outcome import Outcome
from op3_fall.envs.rewards import RewardConfig
from op3_fall.errors import BadInputError, check_choice, check_kind, check_whole
from op3_fall.mirror import Mirror
from op3_fall.model import Op3Model, load_model
from op3_fall.policy_spec import PolicySpec
from op3_fall.sensors import find_profile
from op3_fall.simulation import CONTROL_PERIOD_S

__all__ = ["MAX_EPISODE_STEPS", "MAX_SEED", "Op3FallControlEnv"]

Array = NDArray[np.float64]
_ALL = np.array([0])
MAX_SEED = 2**62
MAX_EPISODE_STEPS = 250
"""5 s at 20 ms."""


class Op3FallControlEnv(gymnasium.Env, EzPickle, ABC):
    """One OP3 that falls; a subclass says what a policy sees and does, and what is a good fall.

    The same subclass makes the vector environment (`vector.Op3FallControlVectorEnv`), so its
    methods work on n robots at once.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["human", "rgb_array"], "render_fps": round(1 / CONTROL_PERIOD_S)
    }  # fmt: skip
    curriculum_file: ClassVar[str] = ""
    """Shipped curriculum that is used if none is given; empty: weak pushes to the front."""

    default_reward: ClassVar[RewardConfig] = RewardConfig()
    """Protective pose and weights that are used if none are given."""

    def __new__(cls, *args: object, **settings: object) -> "Op3FallControlEnv":
        """Refuse a class that lacks what a task must say.

        Raises:
            BadInputError: naming it.
        """
        missing = ", ".join(sorted(cls.__abstractmethods__))
        if missing:
            raise BadInputError(
                f"{cls.__name__} has no {missing}; allowed are subclasses of Op3FallControlEnv "
                "that define observation_blocks, action_blocks and compute_reward; define them"
            )
        return super().__new__(cls)

    def __getattribute__(self, name: str) -> Any:
        """Keep `compute_reward` to the class.

        Stable-Baselines3 takes any environment on which it finds that name for a goal-conditioned
        one, and its check fails. `super().compute_reward(outcome)` works as ever.
        """
        if name == "compute_reward":
            raise AttributeError("ask the class: type(env).compute_reward(env, outcome)")
        return super().__getattribute__(name)

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        observation: str = "vector",
        control: str = "position",
        residual: bool = False,
        curriculum: CurriculumManager | str | Path | None = None,
        profile: str = "extended",
        model: str = "",
        reward: RewardConfig | None = None,
        detectors: DetectorConfig | str | Path | None = None,
        history: int = 1,
        width: int = 480,
        height: int = 480,
    ) -> None:
        """Check the settings; the simulation is made by the first `reset`.

        Args:
            render_mode: `human`, `rgb_array` or None.
            observation: `vector` (what deploys) or `dict` (ground truth, for simulators only).
            control: `position`, or `velocity` or `torque`, which no OP3 can run.
            residual: the joint action corrects the reward's protective pose; otherwise it starts
                from the measured angles.
            curriculum: how episodes begin, or a YAML file of one; the task's own if None.
            profile: `extended`, `stock` or `ideal` sensing.
            model: MJCF file; empty for this package's own.
            reward: protective pose and weights of the reward's terms; the task's own if None.
            detectors: when a fall is noticed and an impact felt, or a parameter file of it such
                as config/detector.yaml.
            history: how many observations the vector has, oldest first.
            width: of rendered pictures, pixels.
            height: of rendered pictures, pixels.

        Raises:
            BadInputError: a setting that is not allowed, or blocks that do not fit together.
        """
        EzPickle.__init__(
            self, render_mode=render_mode, observation=observation, control=control,
            residual=residual, curriculum=curriculum, profile=profile, model=model, reward=reward,
            detectors=detectors, history=history, width=width, height=height,
        )  # fmt: skip
        if render_mode is not None:
            check_choice("render mode", render_mode, self.metadata["render_modes"],
                         remedy="choose one of them, or None")  # fmt: skip
        check_choice("observation", observation, ("vector", "dict"), remedy="choose one of them")
        given.check_residual(residual, control)
        check_kind("reward", reward, (RewardConfig, type(None)), "an op3_fall.envs.RewardConfig")
        for name, pixels in (("width", width), ("height", height)):
            check_whole(name, pixels, 1, 8192)
        self.render_mode, self.profile, self.control = render_mode, profile, control
        self.reward, self._residual = reward or self.default_reward, residual
        self.curriculum = given.curriculum(curriculum, self.curriculum_file)
        self.policy_spec = PolicySpec(
            observation=given.blocks("observation_blocks", self.observation_blocks()),
            action=self.actions,
            sensor_profile=find_profile(profile).name,
            history=history,
            latency_s=(0.0, max(p.latency_s for p in self.curriculum.phases.values())),
        )
        """What stands between the signals and a policy; goes into the contract of its file."""
        self._model, self._detectors = model, given.detectors(detectors)
        self._as_dict = observation == "dict"
        self.observation_space = spaces.observation_space(self.policy_spec, as_dict=self._as_dict)
        self.action_space = spaces.box(self.policy_spec.action_length)
        self.frames = Frames(width, height)
        self._batch: FallBatch | None = None
        self._observation: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._over, self._steps = False, 0

    @abstractmethod
    def observation_blocks(self) -> tuple[Block, ...]:
        """What a policy sees, in order."""

    @abstractmethod
    def action_blocks(self) -> tuple[Block, ...]:
        """What a policy does, in order, by goal angles; `actions` heeds `control`."""

    @abstractmethod
    def compute_reward(self, outcome: Outcome) -> Mapping[str, Array]:
        """Terms of the reward of n robots by name, (n,) each; the reward is their sum."""

    @property
    def actions(self) -> tuple[Block, ...]:
        """`action_blocks` as `control` and `residual` have them."""
        blocks = given.blocks("action_blocks", self.action_blocks())
        if self._residual:
            return as_residual(blocks, self.reward.goal)
        return in_control(blocks, self.control)

    @property
    def effort(self) -> bool:
        """Whether the profile reads the joints' load, so that `obs_joint` may have it."""
        return find_profile(self.profile).joint_load

    @property
    def mirror(self) -> tuple[Mirror, Mirror]:
        """Left-right mirror of observations and of actions (..., n)."""
        spec = self.policy_spec
        return Mirror(spec.observation, spec.history), Mirror(spec.action)

    def make_batch(self, n: int) -> FallBatch:
        """N robots for this task, which share its curriculum.

        Raises:
            BadInputError: n < 1, or a model that cannot be loaded.
        """
        compute_reward = partial(type(self).compute_reward, self)
        return FallBatch(
            n, self.policy_spec, compute_reward, self.curriculum, self.load_model(),
            self._detectors,
        )  # fmt: skip

    def load_model(self) -> Op3Model:
        """The robot's model, with bumps on the floor if a phase of the curriculum has some."""
        bumps = any(phase.bumps for phase in self.curriculum.phases.values())
        return load_model(self._model, bumps=bumps)

    def observe(self, batch: FallBatch, vector: NDArray[np.float32]) -> Any:
        """What n robots see: their vectors (n, observations), or the dictionary."""
        return spaces.dict_observation(batch.simulation) if self._as_dict else vector

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: of this and all later episodes; None goes on with the last one.
            options: `scenario`, a `Scenario` of one robot, in place of a drawn one.

        Raises:
            BadInputError: another option, or a scenario of another length.
        """
        if seed is not None:
            check_whole("seed", seed, 0, MAX_SEED)
        super().reset(seed=seed)
        new = self._batch is None
        batch = self._batch or self.make_batch(1)
        if seed is not None or new:
            batch.seeds[:] = int(self.np_random.integers(2**62)) if seed is None else seed
            batch.episodes[:] = 0
        verdict = batch.verdict(_ALL) if self._over else None
        self._observation = batch.reset(_ALL, scenario=spaces.scenario_of(options))
        self._batch, self._over, self._steps = batch, False, 0
        if verdict is not None:
            self.curriculum.record(*verdict)
        if self.render_mode == "human":
            self.render()
        return self._get_obs(), self._get_info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One control step of 20 ms.

        Args:
            action: (actions,) in [-1, 1]; beyond it ends there.

        Raises:
            BadInputError: called before `reset`, or an action of another shape or not finite.
        """
        batch = self._started()
        values = spaces.check_action(action, (self.policy_spec.action_length,))
        moment = batch.step(values[None])
        self._observation = moment.observation
        self._steps += 1
        # Who truncates does not tell; an episode that is broken off says nothing.
        self._over = bool(moment.terminated[0]) or self._steps >= MAX_EPISODE_STEPS
        if self.render_mode == "human":
            self.render()
        reward, terminated = float(moment.reward[0]), bool(moment.terminated[0])
        return self._get_obs(), reward, terminated, False, self._get_info()

    def _started(self) -> FallBatch:
        if self._batch is None:
            raise BadInputError("the environment has no episode; allowed is reset first; call it")
        return self._batch

    def _get_obs(self) -> Any:
        """The observation now: (observations,), or the dictionary."""
        return spaces.of_one(self.observe(self._started(), self._observation))

    def _get_info(self) -> dict[str, Any]:
        """Terms of the reward, metrics of the fall so far, flags: plain numbers."""
        return spaces.plain(self._started().info())

    def render(self) -> NDArray[np.uint8] | None:
        """The picture (height, width, 3) in mode `rgb_array`; shows it in mode `human`.

        Raises:
            BadInputError: no OpenGL, no screen, or called before `reset`.
        """
        simulation = self._started().simulation
        if self.render_mode == "human":
            self.frames.show(simulation.model.mj, simulation.state[0][0])
        elif self.render_mode == "rgb_array":
            return self._render_frame()
        return None

    def _render_frame(self) -> NDArray[np.uint8]:
        """The picture (height, width, 3) of the robot now."""
        simulation = self._started().simulation
        return self.frames.paint(simulation.model.mj, simulation.state[0][0])

    def close(self) -> None:
        """Close the window; may be called twice."""
        self.frames.close()
