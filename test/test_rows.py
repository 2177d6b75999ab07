# SPDX-License-Identifier: Apache-2.0
"""Some robots of a batch: copies, overwriting, choosing robot by robot."""

from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from test_attitude import reading

from op3_fall.rows import assign, choose, faster, take
from op3_fall.signals import SensorReading


def batch(n: int, value: float = 0.0) -> SensorReading:
    """`n` writable readings at `value` and the seconds after it."""
    made = reading(np.arange(n) + value, np.zeros((n, 3)))
    return take(replace(made, effort=np.full((n, 20), value)), slice(None))


def test_take_copies_the_rows_of_every_array() -> None:
    whole = batch(4)
    some = take(whole, np.array([3, 1]))
    assert some.time_s.tolist() == [3, 1]
    for f in fields(some):
        assert len(getattr(some, f.name)) == 2
    some.position[:] = 9
    assert (whole.position < 9).all()
    everyone = take(whole, slice(None))
    everyone.position[:] = 9
    assert (whole.position < 9).all()


def test_assign_overwrites_those_rows_alone() -> None:
    whole = batch(4)
    assign(whole, np.array([0, 2]), batch(2, value=10.0))
    assert whole.time_s.tolist() == [10, 1, 11, 3]
    assert whole.effort[:, 0].tolist() == [10, 0, 10, 0]


class _Pair(NamedTuple):
    a: NDArray[np.float64]
    b: NDArray[np.int64]


class _Inner(NamedTuple):
    value: NDArray[np.float64]


class _Outer(NamedTuple):
    inner: _Inner
    pair: _Pair
    plain: tuple[NDArray[np.float64], ...]


def _outer(start: float, shape: tuple[int, ...] = (3,)) -> _Outer:
    size = int(np.prod(shape))
    values = (start + np.arange(size, dtype=float)).reshape(shape)
    return _Outer(_Inner(values), _Pair(np.stack([values, -values]), values.astype(np.int64)),
                  (values, 2 * values))  # fmt: skip


def test_choose_goes_into_named_and_nested_tuples() -> None:
    found = choose(np.array([True, False, True]), _outer(0.0), _outer(10.0))
    assert isinstance(found, _Outer) and isinstance(found.pair, _Pair)
    assert found.inner.value.tolist() == [0, 11, 2]
    assert found.pair.a.tolist() == [[0, 11, 2], [0, -11, -2]]
    assert found.pair.b.tolist() == [0, 11, 2] and found.pair.b.dtype == np.int64
    assert [p.tolist() for p in found.plain] == [[0, 11, 2], [0, 22, 4]]


@pytest.mark.parametrize("which", [True, False])
def test_choose_works_for_one_robot_and_for_a_grid(which: bool) -> None:
    yes, no = _outer(0.0, ()), _outer(10.0, ())
    assert choose(np.array(which), yes, no).inner.value == (0 if which else 10)
    grid = np.array([[which, not which, which]] * 2)
    found = choose(grid, _outer(0.0, (2, 3)), _outer(10.0, (2, 3))).inner.value
    np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3) + 10 * ~grid)


def test_all_rows_are_a_slice() -> None:
    assert faster(np.arange(3), 3) == slice(None)
    np.testing.assert_array_equal(faster(np.array([0, 2]), 3), [0, 2])
