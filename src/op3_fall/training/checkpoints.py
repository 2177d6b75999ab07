# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written at once or not at all, read without executing anything."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from op3_fall.errors import BadInputError
from op3_fall.whole_file import whole_file

__all__ = ["LAYOUT", "latest", "load", "numbered", "restore_learner", "save", "snapshot"]

LAYOUT = 1
"""Of the mapping in the file."""
_KEYS = (
    "layout", "iteration", "networks", "random", "random_cuda", "curriculum", "monitor",
)  # fmt: skip


def numbered(folder: Path, iteration: int) -> Path:
    """The file of a save point in a folder of checkpoints."""
    return folder / f"{iteration:06d}.pt"


def latest(folder: Path) -> Path | None:
    """The last save point, None if there is none."""
    return max(folder.glob("[0-9]*.pt"), default=None)


def snapshot(learner: Any, iteration: int, monitor: Mapping[str, Any]) -> dict[str, Any]:
    """What training depends on, at a save point: before the robots begin anew.

    Args:
        learner: a `learner.Learner`.
        iteration: those done so far.
        monitor: state of the early stop.
    """
    cuda = learner.device == "cuda"
    return {
        "layout": LAYOUT,
        "iteration": iteration,
        "networks": learner.ppo.save(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if cuda else None,
        "curriculum": learner.curriculum.state(),
        "monitor": dict(monitor),
    }


def restore_learner(learner: Any, content: Mapping[str, Any], path: Path) -> None:
    """Put a learner of the same configuration where it was at a save point.

    Raises:
        BadInputError: the networks of the file at `path` are others.
    """
    try:
        learner.ppo.load(content["networks"], None, strict=True)
        learner.curriculum.restore(content["curriculum"])
        torch.set_rng_state(content["random"].cpu())
        if learner.device == "cuda" and content["random_cuda"] is not None:
            torch.cuda.set_rng_state(content["random_cuda"].cpu())
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _misfit(path, error) from error


def restore_actor(actor: torch.nn.Module, content: Mapping[str, Any], path: Path) -> None:
    """Fill an actor of the same configuration.

    Raises:
        BadInputError: the network of the file at `path` is another.
    """
    try:
        actor.load_state_dict(content["networks"]["actor_state_dict"])
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise _misfit(path, error) from error


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write at once or not at all."""
    with whole_file(path) as file:
        torch.save(dict(content), file)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, onto the CPU.

    Raises:
        BadInputError: the file is missing, broken, or no such checkpoint. Nothing in it is
            executed.
    """
    try:
        if not zipfile.is_zipfile(path):  # torch would read its old format, a bare pickle, too
            reason = "it is no file of torch.save" if path.is_file() else "there is no such file"
            raise _refused(path, reason)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError,
            pickle.UnpicklingError, zipfile.BadZipFile) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise _refused(path, reason) from error
    if not isinstance(content, dict) or content.get("layout") != LAYOUT:
        raise _refused(path, "it holds something else")
    missing = [name for name in _KEYS if name not in content]
    if missing:
        raise _refused(path, f"it lacks {', '.join(missing)}")
    return content


def _refused(path: Path, reason: str) -> BadInputError:
    return BadInputError(
        f"checkpoint '{path}' cannot be used ({reason}); allowed is one that op3-fall train "
        "wrote; choose one in runs/NAME/checkpoints"
    )


def _misfit(path: Path, error: Exception) -> BadInputError:
    reason = " ".join(str(error).split())[:80]
    return BadInputError(
        f"checkpoint '{path}' does not fit the configuration beside it ({reason}); allowed is one "
        "of the same run; restore its config.yaml"
    )
