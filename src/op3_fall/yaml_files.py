# SPDX-License-Identifier: Apache-2.0
"""Read YAML files that a user wrote."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from op3_fall.errors import BadInputError

__all__ = ["read_yaml"]


def read_yaml(path: Path, kind: str, allowed: str) -> Any:
    """What a YAML or JSON file holds, as plain Python values.

    Args:
        path: of the file.
        kind: what it is, for the error text.
        allowed: what it should hold, for the error text.

    Raises:
        BadInputError: the file is missing, or no YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BadInputError(
            f"{kind} '{path}' cannot be read ({reason}); allowed is {allowed}; check the path and "
            "the file"
        ) from error
