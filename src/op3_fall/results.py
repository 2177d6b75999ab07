# SPDX-License-Identifier: Apache-2.0
"""What a command leaves in its folder: CSV, summary.json and the table made from it."""

import csv
import json
import math
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from op3_fall import robot
from op3_fall.errors import BadInputError
from op3_fall.resources import resource
from op3_fall.whole_file import whole_file

__all__ = ["open_folder", "print_table", "provenance", "write_csv", "write_json"]

_PER_COLUMN = {20: robot.JOINTS, len(robot.PARTS): robot.PARTS}


def open_folder(out: Path) -> Path:
    """Make the folder and see that it can be written.

    Raises:
        BadInputError: it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".op3_fall_write_test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInputError(
            f"output folder '{out}' cannot be written ({error.strerror}); allowed is a folder "
            "you may write to; give another with --out DIR"
        ) from error
    return out


def provenance(settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What a reader needs to run it again: settings, seed, versions, commit."""
    here = Path(__file__).resolve().parent
    commit = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False,
    ).stdout.strip() if _in_checkout(here) else ""  # fmt: skip
    return {
        "settings": dict(settings),
        "seed": seed,
        "commit": commit or "unknown",
        "versions": {name: _version(name) for name in ("op3_fall", "mujoco", "mjbatch", "numpy")},
    }


def _version(name: str) -> str:
    """Of an installed package; colcon installs ours without Python's metadata."""
    try:
        return version(name)
    except PackageNotFoundError:
        found = ElementTree.parse(resource("package.xml")).findtext("version")
        return found if name == "op3_fall" and found else "unknown"


def _in_checkout(here: Path) -> bool:
    return (here.parents[1] / ".git").exists()


def _clean(value: Any) -> Any:
    """JSON has no NaN: a value that does not exist is null."""
    if isinstance(value, Mapping):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _clean(value.tolist())
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, np.generic):
        return _clean(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write at once or not at all."""
    with whole_file(path) as file:
        file.write_text(json.dumps(_clean(content), indent=2) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write at once or not at all."""
    with whole_file(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def log_table(log: Mapping[str, NDArray[np.float64]], k: int) -> tuple[list[str], list[list[str]]]:
    """One fall's log as a table: header and rows, a column a joint or part; no other vectors."""
    header: list[str] = []
    columns: list[NDArray[np.float64]] = []
    for name, values in log.items():
        fall = values[:, k].reshape(len(values), -1)
        wide = _PER_COLUMN.get(fall.shape[1])
        if wide is None and fall.shape[1] > 1:
            continue
        header += [name] if wide is None else [f"{name}.{column}" for column in wide]
        columns.append(fall)
    return header, [[f"{v:.6g}" for v in row] for row in np.concatenate(columns, axis=1)]


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on the screen: first column to the left, numbers to the right."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(header):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i > 0)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
