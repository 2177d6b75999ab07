# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run: configuration, provenance, checkpoints, figures."""

import json
import platform
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch

from op3_fall.envs import Op3FallControlEnv
from op3_fall.errors import BadInputError
from op3_fall.protective_file import load_motions, motions_yaml
from op3_fall.resources import resource
from op3_fall.results import open_folder, provenance, write_json
from op3_fall.training import checkpoints
from op3_fall.training.config import TASKS, TrainConfig
from op3_fall.training.config_file import load_config, save_config
from op3_fall.training.network import make_actor

__all__ = ["Run"]

_CONFIG, _PROVENANCE = "config.yaml", "provenance.json"
_CURRICULUM, _MOTIONS = "curriculum.yaml", "motions.yaml"
_LIBRARIES = ("torch", "rsl-rl-lib", "gymnasium")


@dataclass(frozen=True)
class Run:
    """What a training run left in its folder."""

    path: Path
    """The folder."""
    config: TrainConfig
    """As it was resolved; its curriculum and its motions are the copies in the folder."""
    provenance: dict[str, Any]
    """Commit, versions, seed, command."""

    @classmethod
    def create(cls, config: TrainConfig, command: Sequence[str]) -> Self:
        """Make the folder of a new run; `config` as resolved, `command` as typed.

        Raises:
            BadInputError: the folder has a run already, or cannot be written.
        """
        path = config.folder
        if (path / _CONFIG).exists():
            raise BadInputError(
                f"run '{path}' exists; allowed is a new one; choose another --name, or go on with "
                f"op3-fall train --resume {path}"
            )
        config.make_task().curriculum.set_phase(config.start_phase)  # before there is a folder
        motions = motions_yaml(load_motions(config.motions_file))
        open_folder(path)
        (path / "checkpoints").mkdir(exist_ok=True)
        shipped = f"config/curriculum/{TASKS[config.task].env_class.curriculum_file}"
        shutil.copyfile(config.curriculum or resource(shipped), path / _CURRICULUM)
        (path / _MOTIONS).write_text(motions)
        write_json(path / _PROVENANCE, _provenance(config.seed, command))
        save_config(path / _CONFIG, config)
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The run in a folder.

        Raises:
            BadInputError: there is none, or its files are broken.
        """
        path = Path(path)
        if not (path / _CONFIG).is_file():
            raise BadInputError(
                f"'{path}' is no training run; allowed is a folder that op3-fall train made; "
                "choose one in runs/"
            )
        config = load_config(path / _CONFIG)
        try:
            told = json.loads((path / _PROVENANCE).read_text())
        except (OSError, ValueError) as error:
            raise BadInputError(
                f"provenance of run '{path}' cannot be read ({error}); allowed is what op3-fall "
                "train wrote; restore the file"
            ) from error
        imitation = replace(config.imitation, motions=str(path / _MOTIONS))
        config = replace(config, imitation=imitation, curriculum=str(path / _CURRICULUM))
        return cls(path, config, told)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def make_task(self) -> Op3FallControlEnv:
        """The task's environment of one robot; its `policy_spec` is what deploys.

        Raises:
            BadInputError: the curriculum in the folder is broken.
        """
        return self.config.make_task()

    def actor(self, checkpoint: str = "best") -> torch.nn.Module:
        """The policy: observations (n, observations) float32 to mean actions (n, actions).

        It has its normaliser inside, is in evaluation mode, and keeps no gradients.

        Args:
            checkpoint: `best`, `last` or the number of an iteration.

        Raises:
            BadInputError: there is no such checkpoint, or it does not fit the configuration.
        """
        path = self.checkpoints / f"{checkpoint}.pt"
        if checkpoint.isdigit():
            path = checkpoints.numbered(self.checkpoints, int(checkpoint))
        content = checkpoints.load(path)
        actor = make_actor(self.config, self.make_task())
        checkpoints.restore_actor(actor, content, path)
        return actor.as_jit().eval().requires_grad_(False)


def _provenance(seed: int, command: Sequence[str]) -> dict[str, Any]:
    told = provenance({}, seed)
    del told["settings"]  # config.yaml has them
    libraries = {name: version(name) for name in _LIBRARIES}
    return told | {
        "versions": told["versions"] | libraries, "python": platform.python_version(),
        "command": shlex.join(command),
    }  # fmt: skip
