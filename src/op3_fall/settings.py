# SPDX-License-Identifier: Apache-2.0
"""Settings of the configuration dataclasses: default, range and unit in one place.

The command line, the checks and the ROS parameters (with description and range) all come from
the same fields.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import Field, field, fields
from functools import cache
from typing import Any

from op3_fall.errors import BadInputError, check_choice, check_range

__all__ = ["Settings", "choice", "descriptions", "setting"]


def setting(
    default: float, low: float, high: float, *, unit: str = "", label: str = ""
) -> Any:  # fmt: skip
    """A number in [low, high]; `label` names it in errors, else its own name does."""
    return field(default=default, metadata={"range": (low, high), "unit": unit, "label": label})


def choice(default: str, *allowed: str) -> Any:
    """A string, one of `allowed`."""
    return field(default=default, metadata={"choices": allowed})


class Settings:
    """Base of the configuration dataclasses: what their fields do not allow is refused."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            BadInputError: the first value of the wrong kind, outside its range or choices.
        """
        for f in fields(self):  # type: ignore[arg-type]
            _check(f, getattr(self, f.name))


def _check(f: Field[Any], value: Any) -> None:
    name = f.metadata.get("label") or f.name.replace("_", " ")
    if "choices" in f.metadata:
        check_choice(name, value, f.metadata["choices"], remedy="choose one of them")
    if "range" in f.metadata:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadInputError(f"{name} is {value!r}; allowed is a number; give one")
        check_range(name, value, *f.metadata["range"], unit=f.metadata["unit"])


@cache
def descriptions(config_type: type) -> Mapping[str, str]:
    """The sentence below each field in the source of a dataclass, by field name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(config_type))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(str(after.value.value).split())
    return found
