# SPDX-License-Identifier: Apache-2.0
"""A start for the actor: it imitates the protective motions before it learns by itself.

Noise that is new in each control step never bends the hips far enough for the seat to land first,
so PPO alone does not find out that this helps. The method is DAgger (Ross, Gordon and Bagnell,
2011): robots fall under the learner, the teacher says what it would have done.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from rsl_rl.algorithms import PPO
from tensordict import TensorDict

from op3_fall.blocks import Scaling
from op3_fall.errors import BadInputError
from op3_fall.policy_spec import PolicySpec
from op3_fall.protective import ProtectiveMotions
from op3_fall.robot import JOINT_INDEX
from op3_fall.signals import FallEstimate, SensorReading
from op3_fall.training.config import ImitationConfig
from op3_fall.training.learner import Learner
from op3_fall.training.network import make_mirror

__all__ = ["imitate", "wanted_action"]

_STEPS = 100
"""Control steps of each robot in a round: about an episode."""
_BATCH = 512
_LEARNING_RATE = 1e-3


def wanted_action(
    spec: PolicySpec, motions: ProtectiveMotions, reading: SensorReading, fall: FallEstimate
) -> NDArray[np.float64]:
    """The actions (..., actions) with which a policy moves as the motions say.

    Raises:
        BadInputError: the policy gives something else than goal angles and stiffness scales.
    """
    position, stiffness = motions.targets(fall)
    values = {
        "delta": position - reading.position, "correction": position, "stiffness_scale": stiffness
    }  # fmt: skip
    columns = []
    for term in (term for block in spec.action for term in block.terms):
        if term.quantity not in values:
            raise BadInputError(
                f"the action has {term.quantity}, which no protective motion tells; allowed are "
                f"{', '.join(values)}; give --imitation.rounds 0"
            )
        columns.append(values[term.quantity][..., [JOINT_INDEX[label] for label in term.labels]])
    return Scaling(spec.action).normalise(np.concatenate(columns, axis=-1))


def imitate(
    learner: Learner, config: ImitationConfig, motions: ProtectiveMotions,
    tell: Callable[[str], None] = lambda text: None,
) -> None:  # fmt: skip
    """Teach the actor the motions; then let the critic see what they are worth.

    Args:
        learner: after its warm-up.
        config: how long.
        motions: what the actor shall do.
        tell: called with a line after each round.

    Raises:
        BadInputError: actions that motions do not tell.
    """
    seen: list[torch.Tensor] = []
    wanted: list[torch.Tensor] = []
    optimizer = torch.optim.Adam(learner.ppo.actor.parameters(), lr=_LEARNING_RATE)
    for number in range(config.rounds):
        _collect(learner, motions, seen, wanted, by_teacher=number == 0)
        error = _fit(learner, optimizer, torch.cat(seen), torch.cat(wanted), config.epochs)
        tell(
            f"imitation {number + 1}/{config.rounds}: actions are {error:.3f} beside the motions'"
        )
    _teach_critic(learner, config.critic_iterations)


def _collect(
    learner: Learner, motions: ProtectiveMotions, seen: list[torch.Tensor],
    wanted: list[torch.Tensor], *, by_teacher: bool,
) -> None:  # fmt: skip
    """Observations, and actions that the teacher wants then, of robots that a policy moves."""
    env, ppo = learner.env, learner.ppo
    batch, spec = env.env.batch, env.env.task.policy_spec
    observations = env.get_observations().to(learner.device)
    for _ in range(_STEPS):
        action = wanted_action(spec, motions, batch.reading, batch.fall)
        right = torch.from_numpy(np.nan_to_num(action)).float().to(learner.device)
        acting = env.acting.to(learner.device)
        seen.append(observations["policy"][acting])
        wanted.append(right[acting])
        with torch.inference_mode():
            given = right if by_teacher else ppo.actor(observations, stochastic_output=True)
            observations, *_ = env.step(given)
        observations = observations.to(learner.device)
        ppo.actor.update_normalization(observations)
        ppo.critic.update_normalization(observations)


def _fit(
    learner: Learner, optimizer: torch.optim.Optimizer, seen: torch.Tensor, wanted: torch.Tensor,
    epochs: int,
) -> float:  # fmt: skip
    """Least squares over all steps so far and their mirror images; returns the error's RMS."""
    mirror = make_mirror(learner.env.env.task, learner.device)
    actor = learner.ppo.actor
    losses: list[float] = []
    for _ in range(epochs):
        losses.clear()
        for rows in torch.randperm(len(seen)).split(_BATCH):
            inputs = TensorDict({"policy": seen[rows]}, batch_size=[len(rows)])
            inputs, targets = mirror(None, inputs, wanted[rows])
            loss = ((actor(inputs) - targets) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return math.sqrt(math.fsum(losses) / len(losses))


def _teach_critic(learner: Learner, iterations: int) -> None:
    """A critic that knows nothing yet would have the actor unlearn what it just learned."""
    ppo = learner.ppo
    schedule, ppo.schedule = ppo.schedule, "fixed"
    ppo.actor.requires_grad_(False)
    _set_rate(ppo, _LEARNING_RATE)
    for _ in range(iterations):
        learner.iterate()
    _set_rate(ppo, ppo.learning_rate)
    ppo.actor.requires_grad_(True)
    ppo.schedule = schedule


def _set_rate(ppo: PPO, rate: float) -> None:
    for group in ppo.optimizer.param_groups:
        group["lr"] = rate
