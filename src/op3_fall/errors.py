# SPDX-License-Identifier: Apache-2.0
"""The errors that a user can cause, each told in one line: given, allowed, remedy."""

import math
from collections.abc import Iterable

__all__ = ["BadInputError", "Op3FallError", "check_choice", "check_range"]


class Op3FallError(Exception):
    """Base of every error that this package raises on purpose."""


class BadInputError(Op3FallError):
    """What the caller gave cannot be used; the command line turns it into exit status 2."""


def check_range(
    name: str, value: float, low: float, high: float, *, unit: str = "", remedy: str = ""
) -> None:
    """Refuse `value` unless it is finite and in [low, high].

    Raises:
        BadInputError: with what was given, what is allowed and what to do.
    """
    if math.isfinite(value) and low <= value <= high:
        return
    allowed = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
    tail = f" {unit}" if unit else ""
    raise BadInputError(
        f"{name} is {value:g}{tail}; allowed is {allowed}{tail}; "
        f"{remedy or f'choose a value of {name} in that range'}"
    )


def check_choice(name: str, value: str, allowed: Iterable[str], *, remedy: str) -> None:
    """Refuse `value` unless it is one of `allowed`.

    Raises:
        BadInputError: with what was given, the names allowed and what to do.
    """
    names = list(allowed)
    if value not in names:
        raise BadInputError(
            f"{name} '{value}' is unknown; allowed are {', '.join(names)}; {remedy}"
        )
