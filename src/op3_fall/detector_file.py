# SPDX-License-Identifier: Apache-2.0
"""The detectors' settings as a ROS 2 parameter file: one file for the node and everything else.

The parameters of `fall_detector` are the fields of the detectors' dataclasses, by their own names:
no two of them share one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from op3_fall.detectors import DetectorConfig
from op3_fall.errors import BadInputError
from op3_fall.resources import resource
from op3_fall.settings import Settings, descriptions
from op3_fall.yaml_files import read_yaml, setting_lines

__all__ = ["SHIPPED", "detector_yaml", "load_detector"]

S = TypeVar("S", bound=Settings)

NODE = "fall_detector"
SHIPPED = "config/detector.yaml"
"""What `resources.resource` finds: `detector_yaml` of the defaults."""
_HEAD = """\
# When a robot falls, and when a blow is an impact: the node fall_detector, `op3-fall experiment`
# and `op3-fall sweep` read this file. docs/detection.md tells where the values come from.
"""
_INDENT = "    "


def load_detector(path: Path | None) -> DetectorConfig:
    """The settings in a parameter file; what it leaves out keeps its default.

    Args:
        path: of the file; None for the one that is shipped.

    Raises:
        BadInputError: the file is missing or broken, holds something else than parameters of
            `fall_detector`, or one that is unknown, of the wrong type or out of range.
    """
    path = resource(SHIPPED) if path is None else path
    source = f"detector file '{path}'"
    content = read_yaml(path, "detector file", f"a ROS 2 parameter file such as {SHIPPED}")
    values = _parameters(content, source)
    config = DetectorConfig()
    defaults = {f.name: value for f, value, _ in _flat(config)}
    for name, value in values.items():
        _check(source, name, value, defaults)
    try:
        return _with(config, values)
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None


def detector_yaml(config: DetectorConfig) -> str:
    """A parameter file of these settings, each with its meaning and its range."""
    lines = [_HEAD, f"{NODE}:\n  ros__parameters:\n"]
    for f, value, text in _flat(config):
        lines.append(setting_lines(f, value, text, _INDENT))
    return "".join(lines)


def _parameters(content: Any, source: str) -> Mapping[Any, Any]:
    """The mapping below `fall_detector: ros__parameters:`, which is all that may be there."""
    match content:
        case {"fall_detector": {"ros__parameters": dict(values), **more}, **others}:
            if not more and not others:
                return values
    raise BadInputError(
        f"{source} is laid out differently; allowed is only '{NODE}: ros__parameters: name: "
        f"value'; see {SHIPPED}"
    )


def _check(source: str, name: Any, value: Any, defaults: Mapping[str, Any]) -> None:
    """Refuse what the node would refuse too: other names, and whole numbers for others."""
    if name not in defaults:
        close = get_close_matches(str(name), defaults, n=1)
        remedy = f"write {close[0]}" if close else "leave it out"
        raise BadInputError(
            f"{source}: parameter '{name}' is unknown; allowed are {', '.join(defaults)}; {remedy}"
        )
    if type(value) is int and isinstance(defaults[name], float):
        raise BadInputError(
            f"{source}: {name} is {value}, an integer to ROS; allowed is a number with a decimal "
            f"point; write {value}.0"
        )


def _flat(config: Settings) -> Iterator[tuple[Field[Any], Any, str]]:
    """Field, value and description of each parameter, in the order of the dataclasses."""
    texts = descriptions(type(config))
    for f in fields(config):  # type: ignore[arg-type]
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from _flat(value)  # type: ignore[arg-type]
        else:
            yield f, value, texts[f.name]


def _with(config: S, values: Mapping[str, Any]) -> S:
    """The settings with these values in place of their own."""
    changes: dict[str, Any] = {}
    for f in fields(config):  # type: ignore[arg-type]
        old = getattr(config, f.name)
        if is_dataclass(old):
            changes[f.name] = _with(old, values)  # type: ignore[type-var]
        elif f.name in values:
            changes[f.name] = values[f.name]
    return replace(config, **changes)  # type: ignore[type-var]
