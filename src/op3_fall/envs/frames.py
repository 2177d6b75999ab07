# SPDX-License-Identifier: Apache-2.0
"""Pictures and a window of robots, opened when they are first needed."""

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from op3_fall.simulation import CONTROL_PERIOD_S

if TYPE_CHECKING:
    from op3_fall.rendering import Painter
    from op3_fall.viewer import Viewer

__all__ = ["Frames"]

_LOWER, _FARTHER = 0.6, 1.5


class Frames:
    """Shows configurations of one model, seen by the scene's free camera."""

    def __init__(self, width: int, height: int) -> None:
        """Size of the pictures in pixels."""
        self._size = width, height
        self._painter: Painter | None = None
        self._free: Callable[[], object] = lambda: None
        self._viewer: Viewer | None = None
        self._due_s = 0.0

    def paint(self, mj: mujoco.MjModel, qpos: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The picture (height, width, 3) of a configuration (nq,).

        Raises:
            BadInputError: OpenGL is missing.
        """
        # Training never draws, and matplotlib's fonts take a second to import.
        from op3_fall.rendering import Painter

        if self._painter is None:
            self._painter = Painter(mj, *self._size)
            # Who forgets to close must not see OpenGL's complaints when Python ends.
            self._free = weakref.finalize(self, self._painter.__exit__, None, None, None)
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(mj, camera)
        # It frames a robot that stands; one that falls, to any side, must stay in the picture.
        camera.lookat[2] *= _LOWER
        camera.distance *= _FARTHER
        return np.ascontiguousarray(self._painter.paint(qpos, camera))

    def show(self, mj: mujoco.MjModel, qpos: NDArray[np.float64]) -> None:
        """Show a configuration (nq,) in a window, a control period after the last one.

        Raises:
            BadInputError: there is no screen.
        """
        from op3_fall.viewer import Viewer

        self._viewer = self._viewer or Viewer(mj)
        time.sleep(max(0.0, min(self._due_s - time.monotonic(), CONTROL_PERIOD_S)))
        self._due_s = time.monotonic() + CONTROL_PERIOD_S
        self._viewer.show(qpos)

    def close(self) -> None:
        """Close what is open."""
        self._free()
        if self._viewer is not None:
            self._viewer.close()
        self._painter = self._viewer = None
