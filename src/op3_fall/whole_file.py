# SPDX-License-Identifier: Apache-2.0
"""Files that are written at once or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, of the same suffix, that takes its place once it is written.

    After an error nothing is left of it, and what was at `path` is still there.
    """
    unfinished = path.parent / f".{path.stem}.unfinished{path.suffix}"
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
