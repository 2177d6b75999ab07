"""Settings: one field gives the check, the error and the description."""

from dataclasses import dataclass

import pytest

from op3_fall.errors import BadInputError
from op3_fall.settings import Settings, choice, descriptions, setting


@dataclass(frozen=True)
class Example(Settings):
    """A configuration."""

    speed_rad_s: float = setting(1.0, 0.0, 2.0, unit="rad/s")
    """How fast, rad/s."""
    count: int = setting(2, 1, 5, label="number of things")
    """How many
    there are."""
    kind: str = choice("a", "a", "b")
    """Which one."""
    free: str = ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"speed_rad_s": 2.5},
         "speed rad s is 2.5 rad/s; allowed is from 0 to 2 rad/s; choose a value of speed rad s "
         "in that range"),
        ({"speed_rad_s": float("nan")},
         "speed rad s is nan rad/s; allowed is from 0 to 2 rad/s; choose a value of speed rad s "
         "in that range"),
        ({"count": 0},
         "number of things is 0; allowed is from 1 to 5; choose a value of number of things in "
         "that range"),
        ({"count": "3"}, "number of things is '3'; allowed is a number; give one"),
        ({"count": True}, "number of things is True; allowed is a number; give one"),
        ({"kind": "c"}, "kind 'c' is unknown; allowed are a, b; choose one of them"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_in_one_line(changes: dict[str, object], text: str) -> None:
    with pytest.raises(BadInputError) as error:
        Example(**changes)  # type: ignore[arg-type]
    assert str(error.value) == text


def test_bounds_are_allowed() -> None:
    assert Example(speed_rad_s=2.0, count=1).speed_rad_s == 2.0


def test_the_sentence_below_a_field_is_its_description() -> None:
    assert descriptions(Example) == {
        "speed_rad_s": "How fast, rad/s.",
        "count": "How many there are.",
        "kind": "Which one.",
    }
