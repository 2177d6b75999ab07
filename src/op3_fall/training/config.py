# SPDX-License-Identifier: Apache-2.0
"""Settings of a training run; config/train/ has those of the shipped policies."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from op3_fall.envs import (
    CurriculumManager,
    Op3FallControlArmsLegsVector,
    Op3FallControlArmsVector,
    Op3FallControlEnv,
    Op3FallControlRollVector,
    Op3FallControlVectorEnv,
    RewardConfig,
)
from op3_fall.errors import BadInputError, check_choice, check_whole
from op3_fall.protective_file import ARMS_ONLY, SHIPPED
from op3_fall.resources import resource
from op3_fall.settings import Settings, choice, setting
from op3_fall.simulation import CONTROL_PERIOD_S

__all__ = [
    "TASKS", "EvaluationConfig", "ImitationConfig", "NetworkConfig", "PpoConfig", "TrainConfig",
    "default_config",
]  # fmt: skip

TASKS: dict[str, type[Op3FallControlVectorEnv]] = {
    "arms": Op3FallControlArmsVector,
    "arms_legs": Op3FallControlArmsLegsVector,
    "roll": Op3FallControlRollVector,
}
"""What can be trained, by name."""

MAX_RUN_SEED = 2**16 - 1
"""Each run has 2**24 seeds of robots to itself, all below 2**40 (`train_env`)."""


@dataclass(frozen=True)
class NetworkConfig(Settings):
    """Actor and critic: MLPs with a normaliser of the observations inside."""

    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers."""
    activation: Literal["elu", "relu", "tanh"] = choice("elu", "elu", "relu", "tanh")
    """Between the layers."""
    init_std: float = setting(0.25, 0.01, 2.0)
    """Standard deviation of the joints' actions at the start, of a range from -1 to 1; noise costs
    torque, and from 0.5 on it hides what the mean is worth."""
    gain_init_std: float = setting(0.15, 0.01, 2.0)
    """The same of the gains' actions, whose noise costs next to nothing."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            BadInputError: no layer, or one of a width that is not allowed.
        """
        super().__post_init__()
        for width in self.hidden or (0,):
            check_whole("width of a hidden layer", width, 1, 4096)


@dataclass(frozen=True)
class PpoConfig(Settings):
    """Proximal policy optimisation, as rsl_rl has it."""

    learning_rate: float = setting(1e-3, 1e-6, 1.0)
    """At the start."""
    schedule: Literal["adaptive", "fixed"] = choice("adaptive", "adaptive", "fixed")
    """Adaptive: the learning rate follows `desired_kl`."""
    desired_kl: float = setting(0.02, 1e-5, 1.0)
    """Divergence of the new policy from the old one that is aimed at."""
    reward_scale: float = setting(0.1, 1e-6, 1e6)
    """What rewards are multiplied by, so that returns are of the order of 1: a critic that has far
    to go lags behind the actor."""
    gamma: float = setting(0.99, 0.0, 1.0)
    """Discount of a control step."""
    lam: float = setting(0.95, 0.0, 1.0)
    """Of the generalised advantage estimate."""
    clip: float = setting(0.2, 0.01, 1.0)
    """Ratio of probabilities beyond which a change gains nothing more."""
    clip_value_loss: bool = False
    """Clip the critic's change likewise, in units of the return."""
    value_loss: float = setting(1.0, 0.0, 100.0)
    """Weight of the critic's loss."""
    entropy: float = setting(0.001, 0.0, 1.0)
    """Weight of the entropy bonus."""
    epochs: int = setting(5, 1, 100)
    """Passes over the steps of an iteration."""
    minibatches: int = setting(4, 1, 1000)
    """Parts of a pass."""
    max_grad_norm: float = setting(1.0, 1e-3, 1000.0)
    """Longer gradients are shortened to this."""
    symmetry: bool = True
    """Learn from every step's mirror image too."""


@dataclass(frozen=True)
class ImitationConfig(Settings):
    """What the actor imitates before it learns by itself."""

    rounds: int = setting(0, 0, 1000)
    """Rounds of falling and imitating; 0 for none."""
    motions: str = ""
    """YAML file of protective motions; empty for the task's own."""
    epochs: int = setting(20, 1, 10_000)
    """Passes over the steps of all rounds so far, in each round."""
    critic_iterations: int = setting(10, 0, 10_000)
    """Iterations after that in which only the critic learns."""


@dataclass(frozen=True)
class EvaluationConfig(Settings):
    """Falls of the curriculum's last phase under the mean action, the same each time."""

    every: int = setting(1, 0, 1000)
    """Save points between two evaluations; 0 for none."""
    falls: int = setting(128, 1, 100_000)
    """Falls of an evaluation."""
    patience: int = setting(12, 0, 10_000)
    """Evaluations without a lower damage index after which training stops; 0 for never."""


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Train a policy: PPO on many falling robots."""

    task: Literal["arms", "arms_legs", "roll"] = choice("arms", *TASKS)
    """What the policy moves and is rewarded for."""
    name: str = ""
    """Of the run's folder; empty for task and seed."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    seed: int = setting(0, 0, MAX_RUN_SEED)
    """Of network, exploration and falls."""
    iterations: int = setting(600, 1, 1_000_000)
    """Of collecting steps and learning from them."""
    num_envs: int = setting(256, 1, 1_000_000)
    """Robots that fall at once."""
    steps_per_env: int = setting(48, 1, 10_000)
    """Control steps of each robot in an iteration."""
    episode_s: float = setting(2.0, 0.5, 60.0, unit="s")
    """An episode is broken off after this, s: who explores does not come to rest, and most of what
    a fall costs comes before."""
    profile: Literal["stock", "extended"] = choice("extended", "stock", "extended")
    """Sensing."""
    residual: bool = False
    """Actions correct the protective pose instead of the measured angles."""
    history: int = setting(1, 1, 100)
    """Observations that the actor sees, the latest and those before it."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Protective pose and weights of the reward."""
    curriculum: str = ""
    """YAML file of the phases; empty for the task's own."""
    start_phase: int = setting(0, 0, 1000)
    """Of the curriculum."""
    save_interval: int = setting(25, 1, 100_000)
    """Iterations between two save points. At each all robots begin new episodes, so that a run
    that is resumed goes on exactly as it would have."""
    time_limit_minutes: float = setting(0.0, 0.0, 1e6, unit="min")
    """Stop at the next save point after this time, min; 0 for no limit."""
    device: Literal["auto", "cpu", "cuda"] = choice("auto", "auto", "cpu", "cuda")
    """Where the network is; auto: CUDA if there is one."""
    threads: int = setting(1, 1, 1024)
    """Of torch on the CPU; beside anything else more than one only slows it down."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Actor and critic."""
    ppo: PpoConfig = field(default_factory=PpoConfig)
    """How they learn."""
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    """How it starts."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How well they do."""

    def __post_init__(self) -> None:
        """Check every field, and what must fit together.

        Raises:
            BadInputError: a value that is not allowed, or fewer steps than minibatches.
        """
        super().__post_init__()
        if not re.fullmatch(r"[\w.-]*", self.name) or self.name.startswith("."):
            raise BadInputError(
                f"name is {self.name!r:.60}; allowed are letters, digits, _, - and .; give --name "
                f"{self.task} for example"
            )
        steps = self.num_envs * self.steps_per_env
        if steps < self.ppo.minibatches:
            raise BadInputError(
                f"an iteration has {steps} steps for {self.ppo.minibatches} minibatches; allowed "
                "is one step or more in each; raise --num-envs"
            )

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.runs / (self.name or f"{self.task}_{self.seed}")

    @property
    def motions_file(self) -> Path:
        """Of the motions to imitate."""
        shipped = ARMS_ONLY if self.task == "arms" else SHIPPED
        return Path(self.imitation.motions) if self.imitation.motions else resource(shipped)

    @property
    def episode_steps(self) -> int:
        """Control steps of the longest episode."""
        return math.ceil(self.episode_s / CONTROL_PERIOD_S - 1e-9)

    @property
    def task_settings(self) -> dict[str, Any]:
        """What the task's environments are made with."""
        return {
            "profile": self.profile, "residual": self.residual, "history": self.history,
            "reward": self.reward, "curriculum": self.curriculum or None,
        }  # fmt: skip

    def make_task(self, curriculum: CurriculumManager | None = None) -> Op3FallControlEnv:
        """The task's environment of one robot.

        Args:
            curriculum: in place of the configured one.

        Raises:
            BadInputError: a curriculum that cannot be used.
        """
        settings = self.task_settings
        if curriculum is not None:
            settings["curriculum"] = curriculum
        return TASKS[self.task].env_class(**settings)

    def make_envs(self, num_envs: int) -> Op3FallControlVectorEnv:
        """Robots to train on, in the phase to start with.

        Raises:
            BadInputError: a curriculum that cannot be used, or without that phase.
        """
        envs = TASKS[self.task](
            num_envs, max_episode_steps=self.episode_steps, **self.task_settings
        )
        envs.task.curriculum.set_phase(self.start_phase)
        return envs


def default_config(task: str) -> TrainConfig:
    """What a configuration of that task starts from.

    Raises:
        BadInputError: no such task.
    """
    check_choice("task", task, TASKS, remedy="choose one of them")
    return TrainConfig(task=task, reward=TASKS[task].env_class.default_reward)  # type: ignore[arg-type]
