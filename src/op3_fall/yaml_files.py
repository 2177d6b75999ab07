# SPDX-License-Identifier: Apache-2.0
"""Read YAML files that a user wrote."""

import textwrap
from dataclasses import Field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from op3_fall.errors import BadInputError

__all__ = ["read_yaml", "setting_lines"]


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


def setting_lines(f: Field[Any], value: float, text: str, indent: str = "") -> str:
    """A field made by `settings.setting`, its meaning above it and its range beside it."""
    low, high = f.metadata["range"]
    unit = f" {f.metadata['unit']}" if f.metadata["unit"] else ""
    meaning = textwrap.indent(textwrap.fill(text, 97 - len(indent)), f"{indent}# ")
    return f"{meaning}\n{indent}{f.name}: {value!r}  # {low:g} to {high:g}{unit}\n"
