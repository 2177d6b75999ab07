# SPDX-License-Identifier: Apache-2.0
"""The steps that are learned from: those in which the policy acts, and their mirror images."""

from collections.abc import Callable, Generator
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage

__all__ = ["ActingStorage"]


class ActingStorage(RolloutStorage):
    """Leaves out the steps in which actions have no effect, those before the alarm and at rest.

    What follows such a step is chance, of which the actor must not learn; and there are many.
    """

    acting: torch.Tensor
    """Which steps count, (steps, num_envs), on the storage's device; set before learning."""
    _kept: dict[str, Any]
    _old: list[torch.Tensor]

    def standardise_advantages(self) -> None:
        """Let the advantages of the steps that count have mean 0 and standard deviation 1."""
        advantages = self.returns - self.values
        kept = advantages[self.acting]
        self.advantages = (advantages - kept.mean()) / (kept.std(correction=0) + 1e-8)

    def keep(self, mirror: Callable[..., Any] | None, actor: MLPModel) -> None:
        """Take the steps that count, and with `mirror` their mirror images.

        What is mirrored of an action is how far it is from the mean: the mirrored state has a
        mean of its own. rsl_rl's own augmentation mirrors the action itself and takes it to be as
        likely as it was, which is true of an exactly symmetric actor only: with 36 narrow
        distributions, a mean that is a quarter of a standard deviation off makes it e times as
        likely or a third, and that drowns what there is to learn.
        """
        kept = self.acting.flatten().nonzero().squeeze(-1)
        flat = {
            "observations": self.observations, "actions": self.actions, "values": self.values,
            "advantages": self.advantages, "returns": self.returns,
            "old_actions_log_prob": self.actions_log_prob,
        }  # fmt: skip
        flat = {name: values.flatten(0, 1)[kept] for name, values in flat.items()}
        old = [values.flatten(0, 1)[kept] for values in self.distribution_params or ()]
        if mirror is not None:
            n = len(kept)
            seen, noise = mirror(None, flat["observations"], flat["actions"] - old[0])
            with torch.no_grad():
                actor(seen[n:], stochastic_output=True)
                actions = torch.cat([flat["actions"], actor.output_mean + noise[n:]])
                likely = actor.get_output_log_prob(actions[n:])
            flat = {name: torch.cat([values, values]) for name, values in flat.items()}
            flat["observations"], flat["actions"] = seen, actions
            flat["old_actions_log_prob"][n:] = likely.reshape(-1, 1)
            old = [
                torch.cat(pair) for pair in zip(old, actor.output_distribution_params, strict=True)
            ]
        self._kept, self._old = flat, [values.detach() for values in old]

    def mini_batch_generator(
        self, num_mini_batches: int, num_epochs: int = 8
    ) -> Generator[RolloutStorage.Batch, None, None]:
        """Parts of the steps that were kept, in one random order for all epochs."""
        n = len(self._kept["actions"])
        order = torch.randperm(n, device=self._kept["actions"].device)
        size = n // num_mini_batches
        for _ in range(num_epochs):
            for part in order[: size * num_mini_batches].split(size):
                batch: Any = {name: values[part] for name, values in self._kept.items()}
                yield RolloutStorage.Batch(
                    **batch, old_distribution_params=tuple(values[part] for values in self._old)
                )
