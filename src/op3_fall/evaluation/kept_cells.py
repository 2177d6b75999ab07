# SPDX-License-Identifier: Apache-2.0
"""Falls of an evaluation as files, so that the next one need not simulate the baselines again."""

import zipfile
from pathlib import Path

import numpy as np

from op3_fall.errors import BadInputError
from op3_fall.evaluation.cells import Cell
from op3_fall.whole_file import whole_file

__all__ = ["FOLDER", "load_cell", "save_cell"]

FOLDER = "falls"
"""Of the files, in the folder of an evaluation."""


def save_cell(out: Path, situation: str, controller: str, cell: Cell) -> None:
    """Write the falls of one controller in one situation into the folder of an evaluation."""
    path = _path(out, situation, controller)
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as file:
        np.savez_compressed(file, **cell.arrays)  # type: ignore[arg-type]


def load_cell(out: Path, situation: str, controller: str) -> Cell | None:
    """The falls of one controller in one situation; None if there are none.

    Raises:
        BadInputError: the folder is none of an evaluation, or a file in it is broken.
    """
    if not (out / FOLDER).is_dir():
        raise BadInputError(
            f"reuse is '{out}', which holds no falls; allowed is a folder that op3-fall evaluate "
            "wrote (its --out); correct the path"
        )
    path = _path(out, situation, controller)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Cell.of(arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(
            f"'{path}' holds no falls that can be read; allowed are files that op3-fall evaluate "
            "wrote; remove it, and it is simulated again"
        ) from error


def _path(out: Path, situation: str, controller: str) -> Path:
    return out / FOLDER / f"{situation}.{controller}.npz"
