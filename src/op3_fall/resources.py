# SPDX-License-Identifier: Apache-2.0
"""Where the files beside the code are: in a checkout, and once installed by pip or colcon."""

from pathlib import Path

from op3_fall.errors import BadInputError, Op3FallError

__all__ = ["POLICIES", "policy_path", "resource"]

POLICIES = ("arms", "arms_legs", "roll")
"""Shipped, by name."""


def policy_path(name: str | Path) -> Path:
    """Path of a shipped policy, given by its name, or of any other file.

    Raises:
        BadInputError: a plain word that is no shipped policy, and no file either.
        Op3FallError: the installation lacks the policy.
    """
    path = Path(name)
    if str(path) in POLICIES:
        return resource(f"models/policies/{path}.onnx")
    if str(path).isidentifier() and not path.exists():
        raise BadInputError(
            f"policy is '{path}'; allowed are {', '.join(POLICIES)} and ONNX files; correct the "
            "name or the path"
        )
    return path


def resource(name: str) -> Path:
    """Path of a shipped file such as `models/scene.xml`.

    Raises:
        Op3FallError: the installation lacks it.
    """
    for folder in Path(__file__).resolve().parents:
        for candidate in (folder / name, folder / "share" / "op3_fall" / name):
            if candidate.is_file():
                return candidate
    raise Op3FallError(
        f"{name} is missing from this installation; reinstall with: pip install -e '.[sim]'"
    )
