# SPDX-License-Identifier: Apache-2.0
"""Where the files beside the code are: in a checkout, and once installed by pip or colcon."""

from pathlib import Path

from op3_fall.errors import Op3FallError

__all__ = ["resource"]


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
