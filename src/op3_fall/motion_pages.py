# SPDX-License-Identifier: Apache-2.0
"""The pages of ROBOTIS' action file that the simulated driver can play.

Source: op3_action_module/data/motion_4095.bin in ROBOTIS-GIT/ROBOTIS-OP3 `jazzy-devel`
(Apache-2.0), decoded. Angles are counts from the centre, pi/2048 rad each, in driver order; times
are driver cycles of 8 ms (the file's units times speed/32, as the module computes them).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAGES", "PageStep"]


class PageStep(NamedTuple):
    """One step of a page."""

    cycles: int
    """Duration of the motion."""
    pause_cycles: int
    """Wait after it."""
    goal: NDArray[np.float64]
    """Angles that it ends in, rad, (20,)."""


def _step(cycles: int, pause_cycles: int, *counts: int) -> PageStep:
    return PageStep(cycles, pause_cycles, np.array(counts) * (math.pi / 2048))


_GET_UP_END = _step(130, 0, 15, -227, 336, -15, -513, -281, -10, 0, 545, -58, 512, -341, 16, 510,
                    283, 19, -1, -543, 57, -515)  # fmt: skip

PAGES: dict[int, tuple[PageStep, ...]] = {
    # standup
    1: (
        _step(180, 0, 97, -4, 102, -15, -515, -106, -30, -1, 151, -58, 517, -103, 14, 514, 105,
              29, 0, -152, 57, -518),
    ),
    # walkready
    9: (
        _step(187, 0, 28, 0, 416, -27, -516, -362, -25, 0, 694, -57, 516, -417, 26, 514, 362, 29,
              0, -690, 56, -519),
    ),
    # f_get_up: from lying on the front
    122: (
        _step(40, 0, 15, -227, 340, -17, -1649, 165, -20, 0, 542, 82, -576, -341, 16, 1648, -166,
              19, -1, -543, -83, 575),
        _step(50, 0, 0, 103, 1146, -78, -1632, -1260, -21, 2, 1267, -1056, -389, -1147, 77, 1631,
              1259, 20, -3, -1268, 1055, 388),
        _step(80, 80, 0, 103, 698, -78, -56, -1260, -21, 2, 1602, -587, 975, -699, 77, 55, 1259,
              20, -3, -1603, 586, -976),
        _GET_UP_END,
    ),
    # b_get_up: from lying on the back
    123: (
        _step(70, 0, 1, 102, 12, -41, -1677, 293, -25, 7, 978, 1194, -822, -13, 40, 1676, -294,
              24, -8, -979, -1195, 821),
        _step(70, 0, 1, 102, 12, -41, -1676, 293, -25, 7, 978, 1394, -127, -13, 40, 1675, -294,
              24, -8, -979, -1395, 126),
        _step(100, 80, 1, 103, 1178, -4, -81, 319, -26, 4, 1429, 937, 917, -1179, 3, 80, -320,
              25, -5, -1430, -938, -918),
        _GET_UP_END,
    ),
}  # fmt: skip
