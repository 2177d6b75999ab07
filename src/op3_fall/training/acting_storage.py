# SPDX-License-Identifier: Apache-2.0
"""The steps that are learned from: those in which the policy acts."""

from collections.abc import Generator
from typing import Any

import torch
from rsl_rl.storage import RolloutStorage

__all__ = ["ActingStorage"]


class ActingStorage(RolloutStorage):
    """Leaves out the steps in which actions have no effect, those before the alarm.

    What follows such a step is chance, of which the actor must not learn; and there are many.
    """

    acting: torch.Tensor
    """Which steps count, (steps, num_envs), on the storage's device; set before learning."""

    def standardise_advantages(self) -> None:
        """Let the advantages of the steps that count have mean 0 and standard deviation 1."""
        advantages = self.returns - self.values
        kept = advantages[self.acting]
        self.advantages = (advantages - kept.mean()) / (kept.std(correction=0) + 1e-8)

    def mini_batch_generator(
        self, num_mini_batches: int, num_epochs: int = 8
    ) -> Generator[RolloutStorage.Batch, None, None]:
        """Parts of the steps that count, in one random order for all epochs."""
        kept = self.acting.flatten().nonzero().squeeze(-1)
        order = kept[torch.randperm(len(kept), device=kept.device)]
        size = len(kept) // num_mini_batches
        flat = {
            "observations": self.observations, "actions": self.actions, "values": self.values,
            "advantages": self.advantages, "returns": self.returns,
            "old_actions_log_prob": self.actions_log_prob,
        }  # fmt: skip
        flat = {name: values.flatten(0, 1) for name, values in flat.items()}
        old = [values.flatten(0, 1) for values in self.distribution_params or ()]
        for _ in range(num_epochs):
            for part in order[: size * num_mini_batches].split(size):
                batch: Any = {name: values[part] for name, values in flat.items()}
                yield RolloutStorage.Batch(
                    **batch, old_distribution_params=tuple(values[part] for values in old)
                )
