# SPDX-License-Identifier: Apache-2.0
"""Files that are written at once or not at all."""

from pathlib import Path

import pytest

from op3_fall.whole_file import whole_file


def test_what_is_written_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with whole_file(path) as file:
        assert file.suffix == ".csv"  # many writers go by it
        file.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as file:
        file.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "no" / "a.txt") as file:
        file.write_text("x")
    with pytest.raises(OSError, match=r"directory|busy"), whole_file(tmp_path) as file:
        file.write_text("x")
    assert not [*tmp_path.parent.glob(".*.unfinished*")]
