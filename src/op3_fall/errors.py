# SPDX-License-Identifier: Apache-2.0
"""The errors that a user can cause, each told in one line: given, allowed, remedy."""

import math
from collections.abc import Iterable
from numbers import Integral

__all__ = [
    "BadInputError", "Op3FallError", "check_choice", "check_kind", "check_range", "check_whole",
]  # fmt: skip


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


def check_kind(name: str, value: object, kind: type | tuple[type, ...], allowed: str) -> None:
    """Refuse a value that is not of that class.

    Raises:
        BadInputError: with what was given and `allowed` in words.
    """
    if not isinstance(value, kind):
        raise BadInputError(f"{name} is {value!r:.60}; allowed is {allowed}; give that")


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no whole number in [low, high].

    Raises:
        BadInputError: with what was given, what is allowed and what to do.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and low <= value <= high):  # type: ignore[operator]
        raise BadInputError(
            f"{name} is {value!r:.60}; allowed is a whole number from {low} to {high}; give one"
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
