# SPDX-License-Identifier: Apache-2.0
"""Read an MJCF: this package's own, a file, or MuJoCo Menagerie's OP3."""

from pathlib import Path

import mujoco

from op3_fall.errors import BadInputError
from op3_fall.resources import resource

__all__ = ["read_spec"]


def read_spec(path: str) -> mujoco.MjSpec:
    """Parse an MJCF file, `""` for our own, `menagerie` for MuJoCo Menagerie's OP3."""
    if path == "menagerie":
        path = _menagerie_path()
    file = Path(path) if path else resource("models/scene.xml")
    if not file.is_file():
        raise BadInputError(
            f"model file '{file}' does not exist; allowed is an MJCF file with the OP3's joint "
            "names, or 'menagerie'; check the path"
        )
    try:
        return mujoco.MjSpec.from_file(str(file))
    except (ValueError, mujoco.FatalError) as error:
        reason = " ".join(str(error).split())
        raise BadInputError(
            f"model file '{file}' cannot be read ({reason}); allowed is a valid MJCF file; "
            "repair it or give another"
        ) from error


def _menagerie_path() -> str:
    try:
        import mujoco_menagerie  # type: ignore[import-not-found]
    except ImportError as error:
        raise BadInputError(
            "model 'menagerie' needs the package mujoco-menagerie, which is not installed; "
            "install it with: pip install mujoco-menagerie"
        ) from error
    try:
        return str(mujoco_menagerie.get("robotis_op3").xml())
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BadInputError(
            f"model 'menagerie' cannot be fetched ({reason}); it is downloaded on first use; "
            "connect to the network, or give the path of a local copy with --model PATH"
        ) from error
