# SPDX-License-Identifier: Apache-2.0
"""The tolerances of the damage index as a file: config/tolerances.yaml, or a user's own."""

from dataclasses import fields
from pathlib import Path

from op3_fall.damage import Tolerances
from op3_fall.errors import BadInputError, check_choice
from op3_fall.resources import resource
from op3_fall.settings import descriptions
from op3_fall.yaml_files import read_yaml, setting_lines

__all__ = ["SHIPPED", "load_tolerances", "tolerances_yaml"]

SHIPPED = "config/tolerances.yaml"
"""What `resources.resource` finds: `tolerances_yaml` of the defaults."""
_HEAD = """\
# What an OP3's parts take once in a fall: the damage index of `op3-fall evaluate` is the largest
# of a fall's loads over these. No source says what an OP3 takes. Every number is a judgement, and
# its reason stands above it.
"""


def load_tolerances(path: Path | None) -> Tolerances:
    """The tolerances in a file; what it leaves out keeps its default.

    Args:
        path: of the file; None for the one that is shipped.

    Raises:
        BadInputError: the file is missing or broken, or holds something else than tolerances, one
            that is unknown, no number or out of range.
    """
    path = resource(SHIPPED) if path is None else path
    source, allowed = f"tolerance file '{path}'", f"'name: number' lines such as in {SHIPPED}"
    content = read_yaml(path, "tolerance file", allowed)
    if not isinstance(content, dict):
        raise BadInputError(f"{source} holds no mapping; allowed are {allowed}; write some")
    names = [f.name for f in fields(Tolerances)]
    try:
        for name in content:
            check_choice("tolerance", str(name), names, remedy="correct the name")
        return Tolerances(**content)
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None


def tolerances_yaml(tolerances: Tolerances) -> str:
    """A file of these tolerances, each with its reason and its range."""
    texts = descriptions(Tolerances)
    return _HEAD + "".join(
        setting_lines(f, getattr(tolerances, f.name), texts[f.name]) for f in fields(Tolerances)
    )
