# SPDX-License-Identifier: Apache-2.0
"""Actor and critic as rsl_rl has them, and what mirrors their observations and actions."""

from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.models import MLPModel
from tensordict import TensorDict

from op3_fall.envs import Op3FallControlEnv
from op3_fall.training import privileged
from op3_fall.training.config import NetworkConfig, TrainConfig
from op3_fall.training.train_env import TrainEnv

__all__ = ["GROUPS", "make_actor", "make_mirror", "make_ppo"]

GROUPS = {"actor": ["policy"], "critic": ["policy", "privileged"]}
"""What of `TrainEnv`'s observations each of them sees."""

_FIRST_WEIGHTS = 0.01
"""Of the actor's last layer, as a multiple of the usual ones."""
Augment = Callable[..., tuple[TensorDict | None, torch.Tensor | None]]


def make_ppo(env: TrainEnv, config: TrainConfig, device: str) -> PPO:
    """The algorithm with new networks, from torch's random state."""
    ppo = config.ppo
    algorithm = {
        "class_name": PPO,
        "num_learning_epochs": ppo.epochs, "num_mini_batches": ppo.minibatches,
        "clip_param": ppo.clip, "gamma": ppo.gamma, "lam": ppo.lam,
        "value_loss_coef": ppo.value_loss, "use_clipped_value_loss": ppo.clip_value_loss,
        "entropy_coef": ppo.entropy, "learning_rate": ppo.learning_rate,
        "max_grad_norm": ppo.max_grad_norm, "schedule": ppo.schedule,
        "desired_kl": ppo.desired_kl,
    }  # fmt: skip
    settings = {
        "algorithm": algorithm, "actor": _actor(config), "critic": _network(config),
        "obs_groups": dict(GROUPS), "num_steps_per_env": config.steps_per_env, "multi_gpu": None,
    }  # fmt: skip
    made = PPO.construct_algorithm(env.get_observations().to(device), env, settings, device)
    _start_at_zero(made.actor)
    _spread(made.actor, env.env.task, config.network)
    return made


def _spread(actor: MLPModel, task: Op3FallControlEnv, network: NetworkConfig) -> None:
    """Give each action the spread that its kind starts with."""
    blocks = task.policy_spec.action
    stds = [
        network.gain_init_std if block.name.startswith("act_k") else network.init_std
        for block in blocks for _ in block.names
    ]  # fmt: skip
    distribution: Any = actor.distribution
    with torch.no_grad():
        distribution.log_std_param.copy_(torch.tensor(stds).log())


def _start_at_zero(actor: MLPModel) -> None:
    """Let the mean actions be about zero at first.

    So the policy begins as its own mirror image.
    """
    last = [layer for layer in actor.mlp if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(_FIRST_WEIGHTS)
        last.bias.zero_()


def make_actor(config: TrainConfig, task: Op3FallControlEnv) -> MLPModel:
    """An actor for that task, to be filled from a checkpoint."""
    spec = task.policy_spec
    like = TensorDict({"policy": torch.zeros(1, spec.observation_length)}, batch_size=[1])
    settings = {name: value for name, value in _actor(config).items() if name != "class_name"}
    return MLPModel(like, GROUPS, "actor", spec.action_length, **settings)


def _network(config: TrainConfig) -> dict[str, Any]:
    network = config.network
    return {
        "class_name": MLPModel, "hidden_dims": list(network.hidden),
        "activation": network.activation, "obs_normalization": True,
    }  # fmt: skip


def _actor(config: TrainConfig) -> dict[str, Any]:
    distribution = {
        "class_name": "GaussianDistribution", "init_std": config.network.init_std,
        "std_type": "log",
    }  # fmt: skip
    return _network(config) | {"distribution_cfg": distribution}


def make_mirror(task: Op3FallControlEnv, device: str) -> Augment:
    """What turns steps into steps and their mirror images, as rsl_rl has it."""
    of_policy, of_action = task.mirror
    rules = {
        name: (torch.as_tensor(index, device=device),
               torch.as_tensor(sign, dtype=torch.float32, device=device))
        for name, index, sign in (
            ("policy", of_policy.index, of_policy.sign),
            ("privileged", privileged.INDEX, privileged.SIGN),
            ("action", of_action.index, of_action.sign),
        )
    }  # fmt: skip

    def both(name: str, values: torch.Tensor) -> torch.Tensor:
        index, sign = rules[name]
        return torch.cat([values, sign * values[:, index]])

    def augment(
        env: Any, obs: TensorDict | None, actions: torch.Tensor | None
    ) -> tuple[TensorDict | None, torch.Tensor | None]:
        """Observations (2 n, ...) and actions (2 n, actions): n as given, then mirrored."""
        if obs is not None:
            groups = {name: both(name, obs[name]) for name in GROUPS["critic"] if name in obs}
            obs = TensorDict(groups, batch_size=[2 * obs.batch_size[0]])
        return obs, None if actions is None else both("action", actions)

    return augment
