# SPDX-License-Identifier: Apache-2.0
"""White noise by counting: each number follows from its seed, counter and channel alone.

So n simulations have a stream each, without a generator each, and a simulation draws the same
numbers alone and in any batch. The mixing function and the golden gamma are those of SplitMix64:
Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the mixing
constants are Stafford's variant 13). Box and Muller make normal numbers of uniform ones.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["normal", "uniform"]

Words = NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_UNIFORM_FROM = np.uint64(2**32)  # a channel that no normal numbers reach
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def normal(seed: ArrayLike, counter: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Standard normal numbers, independent of each other over all three arguments.

    Args:
        seed: one stream each, (...), integers.
        counter: how far the stream has come, (...), integers.
        channels: numbers for each seed and counter.

    Returns:
        (..., channels).
    """
    pairs = (channels + 1) // 2
    even = _uniform(seed, counter, np.arange(1, 2 * pairs + 1, dtype=np.uint64))
    # Contiguous copies: numpy may round sin, cos and log differently over strided memory.
    radius = np.sqrt(-2 * np.log(np.ascontiguousarray(even[..., :pairs])))
    angle = 2 * math.pi * np.ascontiguousarray(even[..., pairs:])
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)[
        ..., :channels
    ]


def uniform(seed: ArrayLike, counter: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Even numbers in (0, 1], independent of each other and of `normal` with the same arguments.

    Args:
        seed: one stream each, (...), integers.
        counter: how far the stream has come, (...), integers.
        channels: numbers for each seed and counter.

    Returns:
        (..., channels).
    """
    return _uniform(seed, counter, _UNIFORM_FROM + np.arange(1, channels + 1, dtype=np.uint64))


def _words(values: ArrayLike) -> Words:
    """(...) integers as 64-bit words (..., 1)."""
    return np.asarray(values, dtype=np.int64)[..., None].astype(np.uint64)


def _mix(word: Words) -> Words:
    """Stafford's variant 13 of the finaliser of MurmurHash3."""
    word = (word ^ (word >> np.uint64(30))) * _MULTIPLIERS[0]
    word = (word ^ (word >> np.uint64(27))) * _MULTIPLIERS[1]
    return word ^ (word >> np.uint64(31))


def _uniform(seed: ArrayLike, counter: ArrayLike, channel: Words) -> NDArray[np.float64]:
    """The number of each `channel` (k,) in (0, 1], as the logarithm of 0 is none, (..., k)."""
    stream = _mix(_words(seed) + _GAMMA)
    start = _mix(stream + (_words(counter) + np.uint64(1)) * _GAMMA)
    word = _mix(start + channel * _GAMMA)
    # The upper 53 bits: all that a float holds.
    return ((word >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53
