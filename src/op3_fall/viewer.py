# SPDX-License-Identifier: Apache-2.0
"""MuJoCo's own viewer, showing a robot that is simulated elsewhere."""

import os
import sys
import time

import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall.errors import BadInputError

__all__ = ["Viewer"]

_PERIOD_S = 1 / 60


class Viewer:
    """A window; what happens in it does not act on the simulation."""

    def __init__(self, mj: mujoco.MjModel) -> None:
        """Open it.

        Raises:
            BadInputError: there is no screen.
        """
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise BadInputError(
                "a window was asked for, but there is no screen (DISPLAY is not set); allowed is "
                "a machine with one; go on without the window (viewer false, render_mode None)"
            )
        from mujoco import viewer

        self._mj, self._data = mj, mujoco.MjData(mj)
        self._window = viewer.launch_passive(
            mj, self._data, show_left_ui=False, show_right_ui=False
        )
        mujoco.mjv_defaultFreeCamera(mj, self._window.cam)
        self._next_s = 0.0

    def show(self, qpos: NDArray[np.float64]) -> None:
        """Draw the configuration (nq,), 60 times a second at most."""
        if time.monotonic() < self._next_s or not self._window.is_running():
            return
        self._next_s = time.monotonic() + _PERIOD_S
        with self._window.lock():
            self._data.qpos[:] = qpos
            mujoco.mj_kinematics(self._mj, self._data)
        self._window.sync()

    def close(self) -> None:
        """Close it."""
        self._window.close()
