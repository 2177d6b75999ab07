# SPDX-License-Identifier: Apache-2.0
"""Falls of an earlier evaluation: taken over if they would come out the same, else simulated."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from op3_fall.errors import BadInputError
from op3_fall.evaluation import evaluate as module
from op3_fall.evaluation.cells import Cell, first_falls, join, same
from op3_fall.evaluation.controllers import BASELINES, Controller
from op3_fall.evaluation.evaluate import Plan, evaluate
from op3_fall.evaluation.kept_cells import load_cell, save_cell
from op3_fall.scenarios import Scenario
from op3_fall.simulation import Simulation


def cell_of(n: int) -> Cell:
    """Any cell, with a NaN."""
    values = np.random.default_rng(0).normal(size=(n, 4))
    values[0, 0] = np.nan
    return Cell(
        {"rest_s": values[:, 0]}, {"gear_load": values[:, 1]}, {"damage": np.arange(n)},
        values[:, 2] > 0, values[:, 2:].astype(np.float32),
    )  # fmt: skip


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    save_cell(tmp_path, "front", "freeze", cell_of(5))
    found = load_cell(tmp_path, "front", "freeze")
    assert found is not None and same(found, cell_of(5))
    assert {name: a.dtype for name, a in found.arrays.items()} == {
        name: a.dtype for name, a in cell_of(5).arrays.items()
    }
    assert load_cell(tmp_path, "front", "limp") is None
    assert [path.name for path in (tmp_path / "falls").iterdir()] == ["front.freeze.npz"]


def test_falls_are_joined_and_cut_in_their_order() -> None:
    whole = cell_of(5)
    rest = Cell.of({name: values[2:] for name, values in whole.arrays.items()})
    assert same(join([first_falls(whole, 2), rest]), whole)
    assert not same(first_falls(whole, 4), whole)


Counted = dict[str, list[int]]


def counting(drive: Callable[[Scenario, Simulation], Controller], seen: Counted) -> Plan:
    """Two falls under a controller; how many are simulated at a time is kept."""

    def make(scenario: Scenario, simulation: Simulation) -> Controller:
        seen.setdefault("falls", []).append(len(scenario))
        return drive(scenario, simulation)

    return Plan({"freeze": make}, ("front",), 3)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    plan = Plan({"freeze": BASELINES["freeze"]}, ("front",), 4)
    evaluate(plan, keep=partial(save_cell, tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("drive", "simulated"),
    [("freeze", [1]), ("limp", [1, 3])],
    ids=["the same: one fall is tried", "another: all are simulated"],
)
def test_falls_are_taken_over_if_they_come_out_the_same(
    kept: Path, monkeypatch: pytest.MonkeyPatch, drive: str, simulated: list[int]
) -> None:
    monkeypatch.setattr(module, "_TRIED", 1)
    seen: Counted = {}
    plan = counting(BASELINES[drive], seen)
    found = evaluate(plan, earlier=partial(load_cell, kept))["front"]["freeze"]
    assert seen["falls"] == simulated
    assert same(found, evaluate(plan)["front"]["freeze"])


def test_too_few_falls_are_not_taken_over(kept: Path) -> None:
    seen: Counted = {}
    save_cell(kept, "front", "freeze", cell_of(2))
    evaluate(counting(BASELINES["freeze"], seen), earlier=partial(load_cell, kept))
    assert seen["falls"] == [3]


def refused(out: Path) -> str:
    with pytest.raises(BadInputError) as error:
        load_cell(out, "front", "freeze")
    return str(error.value)


def test_a_folder_that_is_none_of_an_evaluation_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "x") == (
        f"reuse is '{tmp_path / 'x'}', which holds no falls; allowed is a folder that op3-fall "
        "evaluate wrote (its --out); correct the path"
    )


def pickled(path: Path) -> None:
    np.savez(path, allow_pickle=True, x=np.array([{}], dtype=object))


def foreign(path: Path) -> None:
    np.savez(path, x=np.zeros(2))


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(path.read_bytes()[:-40]),
              lambda path: path.write_text("x"), pickled, foreign],
    ids=["cut off", "text", "pickle", "foreign"],
)  # fmt: skip
def test_a_broken_file_is_refused(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    save_cell(tmp_path, "front", "freeze", cell_of(2))
    path = tmp_path / "falls" / "front.freeze.npz"
    spoil(path)
    assert refused(tmp_path) == (
        f"'{path}' holds no falls that can be read; allowed are files that op3-fall evaluate "
        "wrote; remove it, and it is simulated again"
    )
