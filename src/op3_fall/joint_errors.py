# SPDX-License-Identifier: Apache-2.0
"""What n robots' encoders get wrong: their zero and their noise."""

import numpy as np
from numpy.typing import NDArray

from op3_fall import robot
from op3_fall.noise import normal
from op3_fall.rows import Rows
from op3_fall.scenarios import Scenario

__all__ = ["JointErrors"]

Array = NDArray[np.float64]


class JointErrors:
    """Errors of each simulation's encoders; a robot without any is never touched.

    Not even by adding 0, as in `ImuErrors`.
    """

    def __init__(self, n: int) -> None:
        """Encoders without errors."""
        self._offset, self._noise = np.zeros((n, robot.NUM_JOINTS)), np.zeros(n)
        self._seed = np.zeros(n, dtype=np.int64)
        self._wrong = np.zeros(n, dtype=bool)
        self._any_offset = self._any_wrong = False

    def reset(self, scenario: Scenario, rows: Rows) -> None:
        """Give the encoders of `rows` (k,) the scenario's errors."""
        self._offset[rows] = scenario.joint_offset
        self._noise[rows], self._seed[rows] = scenario.joint_noise, scenario.noise_seed
        self._wrong[rows] = scenario.joint_offset.any(axis=-1) | (scenario.joint_noise != 0)
        self._any_offset, self._any_wrong = bool(self._offset.any()), bool(self._wrong.any())

    def true(self, measured: Array, rows: Rows | slice) -> Array:
        """The angles (k, 20) at which the encoders of `rows` say `measured` on average."""
        return measured - self._offset[rows] if self._any_offset else measured

    def measure(self, true: Array, rows: Rows, cycle: NDArray[np.int64]) -> Array:
        """What the encoders at `rows` (k,) say of `true` (k, 20) in driver cycle `cycle` (k,)."""
        if not self._any_wrong:
            return true
        # The inertial chips count the cycles upwards: below 0 the stream is all the joints' own.
        draws = normal(self._seed[rows], -1 - cycle, robot.NUM_JOINTS)
        wrong = true + self._offset[rows] + self._noise[rows, None] * draws
        return np.where(self._wrong[rows, None], wrong, true)
