# SPDX-License-Identifier: Apache-2.0
"""One policy, many robots: a task's environment, n at once, as gymnasium's VectorEnv."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from op3_fall.envs import spaces
from op3_fall.envs.op3_fall_control import MAX_EPISODE_STEPS, MAX_SEED, Op3FallControlEnv
from op3_fall.errors import BadInputError, check_whole
from op3_fall.mirror import Mirror
from op3_fall.rows import Rows
from op3_fall.scenarios import Scenario

__all__ = ["Op3FallControlVectorEnv"]

Flags = NDArray[np.bool_]


class Op3FallControlVectorEnv(VectorEnv[Any, Any, Any], EzPickle):
    """N robots of one task; robot i with seed s + i falls as the single environment with it.

    The drivers of all robots have their cycles together, so an episode that begins after an odd
    number of steps has its first one after 4 ms, not 8.

    A robot whose episode ends is reset in the same step: its observation and info are then those
    of the new episode, and `info["final_obs"]` (num_envs, observations), `info["final_info"]` have
    those of the old where `info["_final_obs"]` (num_envs,) says so.
    """

    metadata: ClassVar[dict[str, Any]] = {
        **Op3FallControlEnv.metadata, "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }  # fmt: skip
    env_class: ClassVar[type[Op3FallControlEnv]]
    """The task; set by subclasses."""

    def __init__(
        self, num_envs: int = 1, *, max_episode_steps: int = MAX_EPISODE_STEPS, **settings: Any
    ) -> None:
        """Make the simulation of all robots.

        Args:
            num_envs: robots.
            max_episode_steps: control steps after which an episode is truncated.
            settings: of the task, as for the single environment; `human` is for one robot only.

        Raises:
            BadInputError: a setting that is not allowed.
        """
        EzPickle.__init__(self, num_envs, max_episode_steps=max_episode_steps, **settings)
        check_whole("number of environments", num_envs, 1, 1_000_000)
        check_whole("max_episode_steps", max_episode_steps, 1, 1_000_000)
        if not hasattr(self, "env_class"):
            raise BadInputError(
                f"{type(self).__name__} has no env_class; allowed are subclasses that name their "
                "task; define it, such as env_class = Op3FallControlArms"
            )
        self.task = self.env_class(**settings)
        if self.task.render_mode == "human":
            raise BadInputError(
                "render mode is 'human' with many robots; allowed are None and 'rgb_array'; watch "
                "one with the single environment"
            )
        self.num_envs, self.render_mode = num_envs, self.task.render_mode
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.batch = self.task.make_batch(num_envs)
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._started = False
        self._all = np.ones(num_envs, dtype=bool)

    @property
    def episode_steps(self) -> NDArray[np.int64]:
        """Control steps of each robot's episode so far, (num_envs,)."""
        return self._steps.copy()

    @episode_steps.setter
    def episode_steps(self, steps: NDArray[np.int64]) -> None:
        self._steps[:] = steps

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of every robot.

        Args:
            seed: robot i gets `seed + i`, or the i-th of a sequence; None goes on.
            options: `scenario`, a `Scenario` of all robots, in place of drawn ones.

        Raises:
            BadInputError: seeds or scenario of another number of robots, or another option.
        """
        if seed is not None or not self._started:
            self.batch.seeds[:] = self._seeds(seed)
            self.batch.episodes[:] = 0
        scenario = spaces.scenario_of(options)
        observation = self._begin(np.arange(self.num_envs), scenario)
        self._started = True
        return observation, spaces.masked(self.batch.info(), self._all)

    def _begin(self, rows: Rows, scenario: Scenario | None = None) -> Any:
        """New episodes at `rows` (k,); the observations of all."""
        vector = self.batch.reset(rows, scenario)
        self._steps[rows] = 0
        return self.task.observe(self.batch, vector)

    def _seeds(self, seed: int | Sequence[int] | None) -> NDArray[np.int64]:
        if seed is None:
            return self.np_random.integers(2**62, size=self.num_envs)
        if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str):
            if len(seed) != self.num_envs:
                raise BadInputError(
                    f"seed has {len(seed)} numbers; allowed is one for each of the "
                    f"{self.num_envs} robots, or a single one; give as many"
                )
            for number in seed:
                check_whole("seed", number, 0, MAX_SEED)
            return np.array(seed, dtype=np.int64)
        check_whole("seed", seed, 0, MAX_SEED - self.num_envs)
        super().reset(seed=int(seed))
        return int(seed) + np.arange(self.num_envs)

    @property
    def mirror(self) -> tuple[Mirror, Mirror]:
        """Left-right mirror of observations and of actions (..., n)."""
        return self.task.mirror

    def step(self, actions: Any) -> tuple[Any, Any, Flags, Flags, dict[str, Any]]:
        """One control step of 20 ms of every robot.

        Args:
            actions: (num_envs, actions) in [-1, 1]; beyond it they end there.

        Raises:
            BadInputError: called before `reset`, or actions of another shape or not finite.
        """
        if not self._started:
            raise BadInputError("the environment has no episode; allowed is reset first; call it")
        shape = (self.num_envs, self.task.policy_spec.action_length)
        moment = self.batch.step(spaces.check_action(actions, shape))
        self._steps += 1
        truncated = self._steps >= self.max_episode_steps
        done = moment.terminated | truncated
        observation = self.task.observe(self.batch, moment.observation)
        info = spaces.masked(moment.info, self._all)
        if done.any():
            final = {"final_obs": observation, "final_info": spaces.masked(moment.info, done)}
            rows = np.nonzero(done)[0]
            verdict = self.batch.verdict(rows)
            observation = self._begin(rows)
            self.task.curriculum.record(*verdict)
            info = spaces.masked(self.batch.info(), self._all)
            info |= final | {f"_{name}": done.copy() for name in final}
        return observation, moment.reward, moment.terminated, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture (height, width, 3) of each robot in mode `rgb_array`.

        Raises:
            BadInputError: OpenGL is missing.
        """
        if self.render_mode is None:
            return None
        paint = self.task.frames.paint
        simulation = self.batch.simulation
        return tuple(paint(simulation.model.mj, qpos) for qpos in simulation.state[0])

    def close_extras(self, **kwargs: Any) -> None:
        """Close what rendering opened."""
        self.task.close()
