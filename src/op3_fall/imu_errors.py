# SPDX-License-Identifier: Apache-2.0
"""What n inertial chips get wrong: how they sit in the torso, their bias and their noise."""

import numpy as np
from numpy.typing import NDArray

from op3_fall.noise import normal
from op3_fall.rotations import rotate_inverse
from op3_fall.rows import Rows
from op3_fall.scenarios import Scenario

__all__ = [
    "ACCELEROMETER_BIAS_M_S2",
    "ACCELEROMETER_NOISE_M_S2",
    "GYRO_BIAS_RAD_S",
    "GYRO_NOISE_RAD_S",
    "MOUNTING_DEG",
    "NOISE_FACTORS",
    "ImuErrors",
]

Array = NDArray[np.float64]

# What an IMU of this class gets wrong (docs/detection.md says why); bias and mounting: at most.
GYRO_BIAS_RAD_S, ACCELEROMETER_BIAS_M_S2 = 0.02, 0.15
GYRO_NOISE_RAD_S, ACCELEROMETER_NOISE_M_S2 = 0.005, 0.05
NOISE_FACTORS = 0.5, 2.0
"""Robots differ in their noise by factors between these."""
MOUNTING_DEG = 1.2


class ImuErrors:
    """Errors of each simulation's chip; a chip without any is never touched.

    Not even by adding 0, which would turn -0 into +0: so a simulation's readings are the same
    whatever else is in the batch.
    """

    def __init__(self, n: int) -> None:
        """Chips without errors."""
        self._mounting = np.tile([1.0, 0.0, 0.0, 0.0], (n, 1))
        self._bias, self._noise = np.zeros((n, 6)), np.zeros((n, 6))
        self._seed = np.zeros(n, dtype=np.int64)
        self._turned, self._disturbed = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self._any_turned = self._any_disturbed = False

    def reset(self, scenario: Scenario, rows: Rows) -> None:
        """Give the chips of `rows` (k,) the scenario's errors."""
        noise = scenario.accelerometer_noise[:, None], scenario.gyro_noise[:, None]
        self._mounting[rows] = scenario.imu_mounting
        self._bias[rows] = np.hstack([scenario.accelerometer_bias, scenario.gyro_bias])
        self._noise[rows] = np.repeat(np.hstack(noise), 3, axis=-1)
        self._seed[rows] = scenario.noise_seed
        self._turned[rows] = scenario.imu_mounting[:, 1:].any(axis=-1)
        self._disturbed[rows] = (self._bias[rows] != 0).any(axis=-1) | self._noise[rows].any(-1)
        self._any_turned = bool(self._turned.any())
        self._any_disturbed = bool(self._disturbed.any())

    def turn(self, imu: Array) -> Array:
        """Specific force and angular velocity (n, 6) in the torso's axes, in the chips' axes."""
        if not self._any_turned:
            return imu
        rows, turned = np.nonzero(self._turned)[0], imu.copy()
        vectors = imu[rows].reshape(-1, 2, 3)
        turned[rows] = rotate_inverse(self._mounting[rows, None], vectors).reshape(-1, 6)
        return turned

    def bias(self, imu: Array, rows: Rows) -> Array:
        """What chips at `rows` (k,) say on average where `imu` (k, 6) would be right."""
        return np.where(self._disturbed[rows, None], imu + self._bias[rows], imu)

    def disturb(self, imu: Array, rows: Rows, counter: NDArray[np.int64]) -> Array:
        """What the chips at `rows` (k,) say in driver cycle `counter` (k,), bias included."""
        if not self._any_disturbed:
            return imu
        noise = self._noise[rows] * normal(self._seed[rows], counter, 6)
        return np.where(self._disturbed[rows, None], imu + self._bias[rows] + noise, imu)
