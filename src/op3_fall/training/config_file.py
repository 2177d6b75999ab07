# SPDX-License-Identifier: Apache-2.0
"""Configurations of training as YAML files: what a file leaves out keeps its default."""

import io
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML

from op3_fall.errors import BadInputError
from op3_fall.resources import resource
from op3_fall.training.config import TrainConfig, default_config
from op3_fall.whole_file import whole_file
from op3_fall.yaml_files import read_yaml

__all__ = ["load_config", "save_config", "shipped"]


def shipped(task: str) -> TrainConfig:
    """The configuration of a task's shipped policy.

    Raises:
        BadInputError: no such task.
    """
    default_config(task)  # refuses other names
    return load_config(resource(f"config/train/{task}.yaml"))


def load_config(path: Path) -> TrainConfig:
    """The configuration in a file.

    Raises:
        BadInputError: the file is missing or broken, or has an entry that is unknown, of the
            wrong kind or not allowed.
    """
    content = read_yaml(path, "training file", "a mapping such as config/train/arms.yaml")
    source = f"training file '{path}'"
    if not isinstance(content, dict):
        raise BadInputError(
            f"{source} holds no mapping; allowed are 'name: value' lines; see "
            "config/train/arms.yaml"
        )
    try:
        task = content.get("task", "arms")
        base = default_config(task if isinstance(task, str) else repr(task))
        return _changed(base, content, "")
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None


def save_config(path: Path, config: TrainConfig) -> None:
    """Write every field, at once or not at all."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(_plain(config), text)
    with whole_file(path) as file:
        file.write_text(text.getvalue())


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _changed(config: Any, values: Mapping[Any, Any], prefix: str) -> Any:
    """The dataclass with these values in place of its own.

    Raises:
        BadInputError: naming the entry.
    """
    kinds = get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            close = get_close_matches(str(name), kinds, n=1)
            raise BadInputError(
                f"entry '{prefix}{name}' is unknown; allowed are {', '.join(kinds)}; "
                f"{f'write {close[0]}' if close else 'leave it out'}"
            )
        old = getattr(config, name)
        if is_dataclass(old):
            if not isinstance(value, dict):
                raise _wrong(prefix + name, value, "a mapping of its entries")
            changes[name] = _changed(old, value, f"{prefix}{name}.")
        else:
            changes[name] = _read(kinds[name], value, prefix + name)
    return replace(config, **changes)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text",
          Path: "a path"}  # fmt: skip


def _read(kind: Any, value: Any, name: str) -> Any:
    """The value as that kind of field has it.

    Raises:
        BadInputError: it is of another kind.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):  # a text or a mapping of joints and angles
        is_map = isinstance(value, dict)
        return _read(next(k for k in get_args(kind) if _is_map(k) == is_map), value, name)
    if origin is Literal:
        kind = str  # the field itself knows its choices
    if _is_map(kind):
        if not all(isinstance(entry, str) for entry in value):
            raise _wrong(name, value, "a mapping by name")
        of = get_args(kind)[1]
        return {entry: _read(of, v, f"{name}.{entry}") for entry, v in value.items()}
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(name, value, "a list")
        return tuple(_read(get_args(kind)[0], entry, name) for entry in value)
    accepted = {float: (int, float), Path: (str,)}.get(kind, (kind,))
    if type(value) not in accepted:
        raise _wrong(name, value, _WORDS[kind])
    return kind(value)


def _is_map(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _wrong(name: str, value: Any, allowed: str) -> BadInputError:
    return BadInputError(f"{name} is {value!r:.60}; allowed is {allowed}; give that")
