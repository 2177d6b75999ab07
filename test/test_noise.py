# SPDX-License-Identifier: Apache-2.0
"""White noise by counting: its distribution, its independence, and that it can be counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from op3_fall.noise import normal, uniform

words = st.integers(-(2**63), 2**63 - 1)
CHANNELS = 6
SEEDS, COUNTERS = np.meshgrid(np.arange(200), np.arange(200), indexing="ij")


@pytest.fixture(scope="module")
def grid() -> NDArray[np.float64]:
    """240,000 numbers of neighbouring seeds, counters and channels, (200, 200, 6)."""
    return normal(SEEDS, COUNTERS, CHANNELS)


def test_the_numbers_are_standard_normal(grid: NDArray[np.float64]) -> None:
    # Bounds are five standard errors of 240,000 independent numbers.
    error = 1 / np.sqrt(grid.size)
    assert abs(grid.mean()) < 5 * error
    assert abs(grid.var() - 1) < 5 * error * np.sqrt(2)
    assert abs((grid**3).mean()) < 5 * error * np.sqrt(15)
    assert abs((grid**4).mean() - 3) < 5 * error * np.sqrt(96)
    for limit, share in ((1.0, 0.158655), (2.0, 0.0227501), (3.0, 0.00134990)):
        for tail in (grid > limit, grid < -limit):
            assert abs(tail.mean() - share) < 5 * error * np.sqrt(share)
    for per_channel in np.moveaxis(grid, -1, 0):
        assert abs(per_channel.mean()) < 5 / 200
        assert abs(per_channel.var() - 1) < 5 * np.sqrt(2) / 200


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["seeds", "counters", "channels"])
@pytest.mark.parametrize("distance", [1, 2, 3])
def test_neighbours_are_not_correlated(
    grid: NDArray[np.float64], axis: int, distance: int
) -> None:
    moved = np.moveaxis(grid, axis, 0)
    for power in (1, 2):  # of Box and Muller's pairs the squares could hang together
        left, right = moved[:-distance] ** power, moved[distance:] ** power
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 5 / np.sqrt(left.size)


def test_a_seed_is_no_shifted_counter() -> None:
    """Streams that only began at other places would repeat each other's numbers."""
    assert len(np.unique(normal(SEEDS, COUNTERS, 1))) == SEEDS.size


@given(st.lists(st.tuples(words, words), min_size=1, max_size=9), st.integers(1, 8))
def test_a_simulation_draws_the_same_alone_and_in_a_batch(
    pairs: list[tuple[int, int]], channels: int
) -> None:
    seeds, counters = np.array(pairs, dtype=np.int64).T
    batch = normal(seeds, counters, channels)
    assert batch.shape == (len(pairs), channels)
    assert np.isfinite(batch).all()
    for k, (seed, counter) in enumerate(pairs):
        assert batch[k].tobytes() == normal(seed, counter, channels).tobytes()
        assert batch[k].tobytes() == normal([seed], [counter], channels)[0].tobytes()


def test_a_large_batch_draws_what_each_draws_alone(grid: NDArray[np.float64]) -> None:
    for seed, counter in ((0, 0), (3, 199), (117, 42), (199, 199)):
        assert grid[seed, counter].tobytes() == normal([seed], [counter], 6).tobytes()


def test_the_numbers_never_change() -> None:
    """By hand, with Python's integers: SplitMix64 of the seed, of the counter, of the channel."""
    mask, gamma = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(word: int) -> int:
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & mask
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
        return word ^ (word >> 31)

    # The first output of SplitMix64 seeded with 0, as its authors' programs print it.
    assert mix(gamma) == 0xE220A8397B1DCDAF
    start = mix((mix((7 + gamma) & mask) + 4 * gamma) & mask)
    first, second = (((mix((start + k * gamma) & mask) >> 11) + 1) / 2**53 for k in (1, 2))
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    expected = [[radius * np.cos(angle), radius * np.sin(angle)]]
    np.testing.assert_allclose(normal([7], [3], 2), expected, rtol=1e-14)


def test_even_numbers_are_even_and_no_part_of_the_normal_ones(grid: NDArray[np.float64]) -> None:
    even = uniform(SEEDS, COUNTERS, CHANNELS)
    assert even.min() > 0 and even.max() <= 1
    # Five standard errors: the shares of ten bins, and correlations.
    shares = np.histogram(even, bins=10, range=(0, 1))[0] / even.size
    np.testing.assert_allclose(shares, 0.1, atol=5 * np.sqrt(0.09 / even.size))
    for axis in range(3):
        moved = np.moveaxis(even, axis, 0)
        assert abs(np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]) < 5 / np.sqrt(
            moved[1:].size
        )
    # Box and Muller's radius falls with one even number, its angle turns with the other.
    size, side = np.hypot(grid[..., :3], grid[..., 3:]), np.sign(grid[..., 3:])
    for theirs in (size, side, grid[..., :3]):
        for k in range(3):
            mine = even[..., k : k + 3]
            assert abs(np.corrcoef(mine.ravel(), theirs.ravel())[0, 1]) < 5 / np.sqrt(mine.size)


@given(words, words, st.integers(1, 8))
def test_an_even_number_is_that_of_its_seed_counter_and_channel(
    seed: int, counter: int, channels: int
) -> None:
    alone = uniform(seed, counter, channels)
    assert alone.shape == (channels,)
    batch = uniform([[seed, seed]], [[counter, 0]], channels + 1)
    assert batch.shape == (1, 2, channels + 1)
    assert batch[0, 0, :channels].tobytes() == alone.tobytes()
