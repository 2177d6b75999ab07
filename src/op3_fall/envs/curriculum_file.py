# SPDX-License-Identifier: Apache-2.0
"""A curriculum as a YAML file: {advance_at: ..., window: ..., phases: [{field: value}, ...]}."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from op3_fall.envs.phase import Phase, changed
from op3_fall.errors import BadInputError, check_choice
from op3_fall.yaml_files import read_yaml

__all__ = ["read_curriculum"]

_KEYS = ("advance_at", "window", "phases")


def read_curriculum(path: Path) -> tuple[list[Phase], dict[str, Any]]:
    """The phases in a file, and `advance_at` and `window` as they stand there.

    What a phase leaves out keeps its default.

    Raises:
        BadInputError: the file is missing or broken, has other entries, or a phase with fields
            or values that `Phase` refuses.
    """
    content = read_yaml(path, "curriculum file", f"a mapping of {', '.join(_KEYS)}")
    source = f"curriculum file '{path}'"
    if not isinstance(content, dict) or not _is_list_of_mappings(content.get("phases")):
        raise BadInputError(
            f"{source} is laid out differently; allowed is a mapping of {', '.join(_KEYS)} with "
            "phases: [{field: value, ...}, ...]; see config/curriculum/arms.yaml"
        )
    for name in content:
        check_choice(f"{source}: entry", name, _KEYS, remedy="correct the name")
    phases = [_phase(source, i, values) for i, values in enumerate(content.pop("phases"))]
    return phases, content


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _phase(source: str, phase_id: int, values: Mapping[Any, Any]) -> Phase:
    try:
        return changed(Phase(), values)
    except BadInputError as error:
        raise BadInputError(f"{source}: phase {phase_id}: {error}") from None
