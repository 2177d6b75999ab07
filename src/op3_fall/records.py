# SPDX-License-Identifier: Apache-2.0
"""Dataclasses to JSON and back, exact to the last bit, and refusing what does not fit the types.

Floats keep every digit; in arrays `null` stands for NaN, which JSON lacks.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from op3_fall.errors import BadInputError

__all__ = ["parse", "to_json", "typed"]

T = TypeVar("T")
# By kind of an array's dtype: types that JSON gives, the largest value, and both in words.
_LEAVES: dict[str, tuple[tuple[type, ...], float, str]] = {
    "f": ((int, float, type(None)), sys.float_info.max, "a finite number or null"),
    "i": ((int,), 2**62, "a whole number"),
    "b": ((bool,), 1, "true or false"),
}


def to_json(record: Any, source: str) -> str:
    """The record as JSON.

    Raises:
        BadInputError: a value that JSON cannot hold.
    """
    try:
        return json.dumps(_plain(record), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInputError(
            f"{source} holds a value that JSON lacks ({error}); allowed are finite numbers, text, "
            "true, false, null, lists and mappings; leave it out"
        ) from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain_array(value.tolist())
    return value


def _plain_array(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_array(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def parse(text: str, source: str) -> dict[str, Any]:
    """The mapping that JSON text holds.

    Raises:
        BadInputError: no JSON, or none of a mapping.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            f"{source} is no JSON ({error}); allowed is what this package writes; export it again"
        ) from error
    return _typed(dict, data, source)


def typed(kind: type[T], data: Mapping[str, Any], source: str) -> T:
    """The record of class `kind` that `to_json` wrote, from its parsed JSON.

    Raises:
        BadInputError: a field too many or missing, or a value of another type.
    """
    try:
        return _typed(kind, data, source)
    except RecursionError as error:
        raise _refuse(source, "nested without end", "what this package writes") from error


def _refuse(where: str, given: Any, allowed: str) -> BadInputError:
    text = f"{given!r:.60}"
    return BadInputError(f"{where} is {text}; allowed is {allowed}; export it again")


def _typed(kind: Any, data: Any, where: str) -> Any:
    origin = get_origin(kind) or kind
    if is_dataclass(kind):
        return _record(kind, data, where)
    if origin is tuple:
        return _tuple(get_args(kind), data, where)
    if origin is np.ndarray:
        return _array(np.dtype(get_args(get_args(kind)[1])[0]), data, where)
    if origin is float:
        if type(data) in (int, float) and abs(data) <= sys.float_info.max:
            return float(data)
        raise _refuse(where, data, "a finite number")
    if origin is Mapping:
        origin = dict
    if type(data) is not origin:
        words = {int: "a whole number", str: "text", dict: "a mapping"}
        raise _refuse(where, data, words[origin])
    return data


def _record(kind: Any, data: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    if type(data) is not dict or data.keys() != hints.keys():
        given = sorted(data) if type(data) is dict else data
        raise BadInputError(
            f"{where} has {f'{given!r:.200}'}; allowed are exactly {', '.join(sorted(hints))}; "
            "export it again"
        )
    return kind(**{n: _typed(hints[n], data[n], f"{where}: {n}") for n in hints})


def _tuple(kinds: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    open_end = kinds[-1] is Ellipsis
    if type(data) is not list or not (open_end or len(data) == len(kinds)):
        raise _refuse(where, data, "a list" if open_end else f"a list of {len(kinds)}")
    kinds = kinds[:1] * len(data) if open_end else kinds
    return tuple(
        _typed(kind, item, f"{where} {i}")
        for i, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _array(dtype: np.dtype[Any], data: Any, where: str) -> np.ndarray:
    types, largest, words = _LEAVES[dtype.kind]
    for leaf in _leaves(data):
        if type(leaf) not in types or (leaf is not None and not abs(leaf) <= largest):
            raise _refuse(where, leaf, words)
    try:
        return np.array(data, dtype=dtype)
    except ValueError as error:
        raise _refuse(where, data, "a list of rows of equal length") from error


def _leaves(data: Any) -> Any:
    if type(data) is not list:
        yield data
        return
    for item in data:
        yield from _leaves(item)
